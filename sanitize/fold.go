package sanitize

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/devices"
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
	if e.Request.AcceptVolatile {
		e.warn(wordsVolatile)
	}
	for _, pass := range s.passes {
		e.Passes = append(e.Passes, PassEvidence{
			Pass: pass.begun.Pass, Pattern: pass.begun.Pattern, KeySHA256: pass.begun.KeySHA256,
			Started: pass.started, Finished: pass.ended, Bytes: pass.done.Bytes(), Complete: pass.complete,
		})
		e.BytesWritten += pass.done.Bytes()
	}
	e.Reshaped, e.Needs = s.reshapes, s.needs
	e.driveWork(s)
	if err := e.verification(s); err != nil {
		return Evidence{}, err
	}
	e.exceptions(s)
	e.Commands, e.CommandsOmitted = s.commands, s.commandsOmitted
	e.Outcome, e.Reason = outcome(s, e)
	e.hiddenAreas()
	return e, nil
}

// verification recomputes what had to be read and compares it with what was.
func (e *Evidence) verification(s *state) error {
	block := int64(s.opened.Drive.LogicalBlock)
	v := &e.Verification
	byDrive := len(s.operations) > 0
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
	v.Expected = s.opened.Drive.expected(s.passes)
	v.Samples, v.Zeros, v.Ones = samples, s.zeros, s.ones
	blank := s.blank(len(s.operations)).Intersect(want)
	v.Unwritten = blank.Bytes() / block
	read := s.verify.done.Intersect(want).Without(blank)
	v.Bytes = read.Bytes()
	v.Coverage = millionths(v.Bytes, s.opened.Drive.wholeBytes())
	left := want.Without(read).Without(s.unread).Without(blank).Bytes()
	zones, _ := s.zonesOutcome()
	switch {
	case v.Mismatches > 0, v.ReadErrors+v.Unwritten > 0 && v.Mode == VerifySampled && !byDrive:
		v.Result = "failed"
	case zones != "":
		v.Result = "incomplete" // what was read may be none of the media
	case byDrive && 2*v.Bytes < want.Bytes():
		v.Result = "incomplete" // blocks may be unreadable after an erase, but most of them must tell
	case s.verify.end == nil, !s.verify.end.Complete, left > 0, v.Bytes == 0:
		v.Result = "incomplete"
	default:
		v.Result = "passed"
	}
	return nil
}

// wholeBytes is all that the technique reaches: of an NVMe drive that erases itself, namespaces that
// cannot be read, too.
func (dp DrivePlan) wholeBytes() int64 {
	if len(dp.Operations) == 0 || len(dp.Namespaces) == 0 {
		return dp.SizeBytes
	}
	var n int64
	for _, ns := range dp.Namespaces {
		n += ns.SizeBytes
	}
	return n
}

// millionths is part/whole in millionths, rounded down, without overflow.
func millionths(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return int64(float64(part) / float64(whole) * 1e6)
}

// expected says in words what was compared with.
func (dp DrivePlan) expected(passes []passState) string {
	switch {
	case dp.Leaves == devices.ReadsConstant:
		return "bytes 00h or FFh, one of them throughout each block"
	case dp.Leaves == devices.ReadsZeros:
		return "bytes 00h"
	case len(dp.Operations) > 0:
		return "no block that begins like a partition table, a volume or a file"
	}
	begun := passes[len(passes)-1].begun
	if begun.Pattern == "random" {
		return "AES-256-CTR keystream, key SHA-256 " + begun.KeySHA256
	}
	return "bytes " + begun.Pattern + ", repeated"
}

// driveWork gathers what the drive did by itself and what shows that it did.
func (e *Evidence) driveWork(s *state) {
	for i := range s.operations {
		op, planned := &s.operations[i], s.opened.Drive.Operations[i]
		if op.sends == 0 {
			continue
		}
		o := OperationEvidence{
			Technique: planned.Technique, Command: planned.Command, Kind: planned.Kind, Code: planned.Code, Unit: planned.Unit, Sends: op.sends,
			Started: op.begun, Finished: op.ended, Complete: op.end != nil, StatusPage: op.page, Before: op.was,
		}
		if seconds, known := op.estimate(planned); known {
			o.EstimateSeconds = &seconds
		}
		if op.last != nil {
			o.Status = op.last.words
		}
		if op.end != nil && planned.audited() && op.auditDone.IsZero() {
			e.warn(planned.Command + ": its media verification ended by itself, as a reset ends it: what was read back are blocks that it unmapped")
		}
		if op.end != nil {
			elapsed := op.ended.Sub(op.begun)
			if !op.auditDone.IsZero() {
				elapsed -= op.auditDone.Sub(op.auditFrom) // in which the drive waited for the host
			}
			seconds, known := op.estimate(planned)
			o.Because, o.ElapsedSeconds = op.end.Because, max(0, int64(elapsed.Round(time.Second).Seconds()))
			if o.Timing = timing(o.ElapsedSeconds, seconds, known); elapsed < 0 {
				o.Timing = timingBackward
				e.warn(planned.Command + ": " + timingBackward)
			}
			if o.Timing == timingFast || o.Timing == timingSlow {
				e.warn(fmt.Sprintf("%s: %s (%d s, estimated %d s)", planned.Command, o.Timing, o.ElapsedSeconds, seconds))
			}
			if op.last.unmapped {
				e.warn(planned.Command + ": the drive deallocated blocks although it was told not to, so that reading back shows less")
			}
		}
		for _, w := range op.warnings {
			e.warn(planned.Command + ": " + w)
		}
		e.Operations = append(e.Operations, o)
	}
	for i := range e.Operations {
		if s.unmapped(i + 1) {
			e.warn(s.opened.Drive.Operations[i].Command + ": " + wordsUnmapped)
		}
	}
	if s.markers != nil && s.markers.isSet {
		e.Markers = s.markers.evidence(s)
	}
	e.Health.paced(s.paces)
	for _, h := range s.health {
		e.Health.Samples++
		switch {
		case h.Error != "":
			e.warn("the drive did not tell its condition " + h.When + " the work: " + h.Error)
		case h.When == "before":
			e.Health.Before = &h.Health
		case h.When == "after":
			e.Health.After = &h.Health
		}
		if c := h.Health.TemperatureC; c != nil && (e.Health.MaxTemperatureC == nil || *c > *e.Health.MaxTemperatureC) {
			e.Health.MaxTemperatureC = c
		}
	}
}

// paced counts how often heat slowed the work, or stopped it.
func (h *HealthEvidence) paced(paces []string) {
	before := PaceFull
	for _, p := range paces {
		switch {
		case p == PaceSlowed && before != PaceSlowed:
			h.Slowed++
		case p == PacePaused && before != PacePaused:
			h.Paused++
		}
		before = p
	}
}

func (e *Evidence) warn(w string) {
	if len(e.Warnings) < maxWarnings && !slices.Contains(e.Warnings, w) {
		e.Warnings = append(e.Warnings, w)
	}
}

func (m *markerState) evidence(s *state) *MarkerEvidence {
	block := int64(s.opened.Drive.LogicalBlock)
	e := &MarkerEvidence{Seed: hex.EncodeToString(m.seed), PRNG: overwrite.SamplePRNG, Set: m.set.Bytes() / block}
	for _, c := range m.checks {
		e.UnchangedEver = max(e.UnchangedEver, c.unchanged.Bytes()/block)
	}
	if c := m.check(len(s.operations)); c != nil {
		blank := c.read.Intersect(s.blank(len(s.operations))).Without(c.unchanged)
		e.Unchanged, e.Unreadable = c.unchanged.Bytes()/block, (c.failed.Bytes()+blank.Bytes())/block
		e.Changed = c.read.Without(c.unchanged).Without(blank).Bytes() / block
		e.Read = c.ended && m.set.Without(c.read).Without(c.failed).Bytes() == 0
	}
	return e
}

// exceptions lists blocks that a pass could not write or a full verification could not read.
func (e *Evidence) exceptions(s *state) {
	var unwritten overwrite.Set
	for _, pass := range s.passes {
		unwritten.Add(pass.failed.Extents()...)
	}
	unread := overwrite.NewSet(append(s.unread.Extents(), s.blank(len(s.operations)).Extents()...)...).Without(unwritten)
	if len(s.operations) > 0 {
		return // after an erase by the drive blocks may be unreadable: they are counted, and hold nothing
	}
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

// outcome is the judgement; outcomeOfDrive is its part for what the drive did by itself. Nowhere
// else is "sanitized" said.
func outcome(s *state, e Evidence) (Outcome, string) {
	switch {
	case s.finished == nil && s.stopped != "":
		return Interrupted, s.stopped
	case s.finished == nil:
		return Interrupted, "the agent or the host stopped in the middle"
	case s.finished.Status == statusRefused && !s.touched():
		return RefusedRun, s.finished.Error
	case e.Markers != nil && e.Markers.UnchangedEver > 0:
		return Unproven, fmt.Sprintf("%d of %d marked blocks still hold what was written before the erase, although the drive reported success", e.Markers.UnchangedEver, e.Markers.Set)
	case e.Verification.Mismatches > 0 && len(s.operations) > 0:
		return Unproven, fmt.Sprintf("%d blocks do not look erased, although the drive reported success", e.Verification.Mismatches)
	case e.Verification.Mismatches > 0:
		return Unproven, fmt.Sprintf("%d blocks do not hold what was written", e.Verification.Mismatches)
	case s.finished.Status == statusAbandoned:
		return Failed, "abandoned before the end: " + s.finished.Error
	case s.finished.Status == statusFailed:
		return Failed, s.finished.Error
	case s.finished.Status == statusUntold:
		return Unknown, s.finished.Error
	case s.finished.Status != statusCompleted:
		return Unknown, fmt.Sprintf("the journal ends with the unknown status %q", s.finished.Status)
	case len(s.operations) > 0:
		return outcomeOfDrive(s, e)
	case !s.erased() || slices.ContainsFunc(e.Passes, func(p PassEvidence) bool { return !p.Complete }):
		return Unknown, "the journal does not show that every block was written"
	case !s.zonesToldOfPasses():
		return Unknown, "the journal does not show that the drive's zones were full after each pass"
	case e.BytesWritten == 0 || e.Passes[len(e.Passes)-1].Bytes == 0:
		return Failed, "no block could be written: " + s.passes[len(s.passes)-1].writeErr
	case s.opened.Drive.Verification == VerifyFull && e.Verification.Mode != VerifyFull:
		return Unknown, "the journal shows a weaker verification than the plan has"
	case s.opened.Drive.Verification == VerifyStatus && e.Verification.Result != "none":
		return Unknown, "the journal shows a verification that the plan does not have"
	case s.opened.Drive.Verification != VerifyStatus && e.Verification.Result == "failed":
		if n := e.Verification.Unwritten; n > 0 {
			return Unproven, fmt.Sprintf("%d of the sampled blocks lie above write pointers, or in zones that are lost, where a read says nothing of the media", n)
		}
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

// wordsVolatile: somebody has to have copied what proves this elsewhere, before the host lost its power.
const wordsVolatile = "the journal and the log of this job were kept in memory, which was accepted: a loss of power would have taken them"

// wordsUnmapped: a drive contradicts itself, and what it was to be believed for is not shown.
const wordsUnmapped = "blocks read as one value, although the drive was told to leave them allocated and reported nothing else: they were unmapped, which does not show that they were erased"

func outcomeOfDrive(s *state, e Evidence) (Outcome, string) {
	dp := s.opened.Drive
	zones, why := s.zonesOutcome()
	switch {
	case !s.erased() || len(e.Operations) != len(dp.Operations) || slices.ContainsFunc(e.Operations, func(o OperationEvidence) bool { return !o.Complete }):
		return Unknown, "the journal does not show that every operation of the drive succeeded"
	case dp.Verification == VerifyStatus && (e.Verification.Result != "none" || e.Markers != nil):
		return Unknown, "the journal shows a verification that the plan does not have"
	case dp.Verification == VerifyStatus:
		return Sanitized, ""
	case dp.wantsMarkers() && (e.Markers == nil || !s.markers.isSet):
		return Unknown, "the journal does not show that markers were set before the erase"
	case zones != "":
		return zones, why
	case dp.wantsMarkers() && (!e.Markers.Read || !s.changed(len(dp.Operations))):
		return Unproven, fmt.Sprintf("too few of the markers could be read after the erase: %d of %d, %d unreadable: %s",
			e.Markers.Changed, e.Markers.Set, e.Markers.Unreadable, s.readErr)
	case s.contradicted():
		return Unproven, wordsUnmapped + "; a drive that cannot leave them allocated can be asked for a block erase alone (--technique block)"
	case dp.Verification == VerifyFull && e.Verification.Mode != VerifyFull:
		return Unknown, "the journal shows a weaker verification than the plan has"
	case e.Verification.Result != "passed":
		why := "the journal does not show that it was"
		if s.verify != nil && s.verify.end != nil && s.verify.end.Why != "" {
			why = s.verify.end.Why
		} else if v := e.Verification; v.Unwritten > 0 {
			why = fmt.Sprintf("%d blocks lie above write pointers or in zones that are lost, where a read says nothing of the media, and %d cannot be read", v.Unwritten, v.ReadErrors)
		} else if v.ReadErrors > 0 {
			why = fmt.Sprintf("%d blocks cannot be read: %s", v.ReadErrors, s.readErr)
		}
		return Unproven, "not enough of what had to be read back was: " + why
	}
	return Sanitized, ""
}
