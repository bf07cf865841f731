package sanitize

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// Fold derives evidence from a journal. It is a pure function: whoever has the journal gets the
// same evidence. It claims nothing that the records do not add up to; a journal that is not one
// job's is an error.
func Fold(p journal.Parsed) (Evidence, error) {
	s, err := resume(p.Records)
	if err != nil {
		return Evidence{}, err
	}
	if s.opened == nil {
		return Evidence{}, fmt.Errorf("the journal has no plan: it has %d records", len(p.Records))
	}
	e := Evidence{
		Job: s.opened.Job, PlanDigest: s.opened.PlanDigest, Policy: s.opened.Policy, Request: s.opened.Request,
		Simulated: s.opened.Simulated, Drive: s.opened.Drive,
		Attempts: s.attempts, Interruptions: max(0, s.attempts-1), Started: s.started, Finished: s.ended,
		JournalSHA256: p.Head, JournalRecords: int64(len(p.Records)),
	}
	if s.intent != nil {
		e.IntentIndex, e.IntentLeaf = s.intent.Index, s.intent.Leaf
	}
	for _, pass := range s.passes {
		e.Passes = append(e.Passes, PassEvidence{
			Pass: pass.begun.Pass, Pattern: pass.begun.Pattern, KeySHA256: pass.begun.KeySHA256,
			Started: pass.started, Finished: pass.ended, Bytes: pass.done.Bytes(), Complete: pass.complete,
		})
		e.BytesWritten += pass.done.Bytes()
	}
	if err := e.verification(s); err != nil {
		return Evidence{}, err
	}
	e.exceptions(s)
	e.Outcome, e.Reason = outcome(s, e)
	return e, nil
}

// verification recomputes what had to be read and compares it with what was.
func (e *Evidence) verification(s *state) error {
	block := int64(s.opened.Drive.LogicalBlock)
	v := &e.Verification
	v.Mode, v.Result = s.opened.Drive.Verification, "none"
	v.Mismatches, v.ReadErrors = s.mismatch.Bytes()/block, s.unread.Bytes()/block
	if s.verify == nil {
		if v.Mismatches > 0 {
			v.Result = "failed"
		} else if v.Mode != VerifyStatus {
			v.Result = "incomplete"
		}
		return nil
	}
	want, samples, err := s.toVerify()
	if err != nil {
		return err
	}
	v.Mode, v.Seed, v.PRNG = s.verify.begun.Mode, s.verify.begun.Seed, s.verify.begun.PRNG
	v.Expected = expected(s.passes[len(s.passes)-1].begun)
	v.Samples = samples
	read := s.verify.done.Intersect(want)
	v.Bytes = read.Bytes()
	v.Coverage = millionths(v.Bytes, s.opened.Drive.SizeBytes)
	left := want.Without(read).Without(s.unread).Bytes()
	switch {
	case v.Mismatches > 0, v.ReadErrors > 0 && v.Mode == VerifySampled:
		v.Result = "failed"
	case s.verify.end == nil, !s.verify.end.Complete, left > 0, v.Bytes == 0:
		v.Result = "incomplete"
	default:
		v.Result = "passed"
	}
	return nil
}

// millionths is part/whole in millionths, rounded down, without overflow.
func millionths(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return int64(float64(part) / float64(whole) * 1e6)
}

func expected(begun passBegunRecord) string {
	if begun.Pattern == "random" {
		return "AES-256-CTR keystream, key SHA-256 " + begun.KeySHA256
	}
	return "bytes " + begun.Pattern + ", repeated"
}

// exceptions lists blocks that a pass could not write or a full verification could not read.
func (e *Evidence) exceptions(s *state) {
	var unwritten overwrite.Set
	for _, pass := range s.passes {
		unwritten.Add(pass.failed.Extents()...)
	}
	unread := s.unread.Without(unwritten)
	for _, kind := range []struct {
		name string
		set  overwrite.Set
	}{{"write error", unwritten}, {"read error", unread}} {
		for _, extent := range kind.set.Extents() {
			if len(e.Exceptions) == maxExceptions {
				e.ExceptionsOmitted++
				continue
			}
			e.Exceptions = append(e.Exceptions, Exception{kind.name, extent})
		}
		e.ExceptionBytes += kind.set.Bytes()
	}
}

// outcome is the judgement, and the only place where "sanitized" is said.
func outcome(s *state, e Evidence) (Outcome, string) {
	switch {
	case s.finished == nil && s.stopped != "":
		return Interrupted, s.stopped
	case s.finished == nil:
		return Interrupted, "the agent or the host stopped in the middle"
	case s.finished.Status == statusRefused && len(s.passes) == 0:
		return RefusedRun, s.finished.Error
	case e.Verification.Mismatches > 0:
		return Unproven, fmt.Sprintf("%d blocks do not hold what was written", e.Verification.Mismatches)
	case s.finished.Status == statusAbandoned:
		return Failed, "abandoned before the end: " + s.finished.Error
	case s.finished.Status == statusFailed:
		return Failed, s.finished.Error
	case s.finished.Status != statusCompleted:
		return Unknown, fmt.Sprintf("the journal ends with the unknown status %q", s.finished.Status)
	case !s.erased() || slices.ContainsFunc(e.Passes, func(p PassEvidence) bool { return !p.Complete }):
		return Unknown, "the journal does not show that every block was written"
	case e.BytesWritten == 0 || e.Passes[len(e.Passes)-1].Bytes == 0:
		return Failed, "no block could be written: " + s.passes[len(s.passes)-1].writeErr
	case s.opened.Drive.Verification == VerifyFull && e.Verification.Mode != VerifyFull:
		return Unknown, "the journal shows a weaker verification than the plan has"
	case s.opened.Drive.Verification == VerifyStatus && e.Verification.Result != "none":
		return Unknown, "the journal shows a verification that the plan does not have"
	case s.opened.Drive.Verification != VerifyStatus && e.Verification.Result == "failed":
		return Unproven, fmt.Sprintf("%d of the sampled blocks cannot be read: %s", e.Verification.ReadErrors, s.readErr)
	case s.opened.Drive.Verification != VerifyStatus && e.Verification.Result != "passed":
		why := "the journal does not show that it was"
		if s.verify != nil && s.verify.end != nil && s.verify.end.Why != "" {
			why = s.verify.end.Why
		}
		return Unproven, "not everything that had to be read back was: " + why
	case e.ExceptionBytes > 0:
		return Exceptions, fmt.Sprintf("%d bytes could not be written or read back", e.ExceptionBytes)
	}
	return Sanitized, ""
}
