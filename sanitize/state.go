package sanitize

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// state is everything a journal says so far. Execute resumes from it and Fold judges it, so the
// two can never see different pasts.
type state struct {
	opened   *openedRecord
	intent   *intentRecord
	attempts int
	stops    int // attempts that did not get to the end
	stopped  string
	needs    string // before it can go on

	restoring    bool // a hidden area may have been made accessible
	restored     int  // areas that were, or were given up
	restoreTries int  // for the next one
	reshapes     []Reshape

	health []healthAt
	paces  []string // as they changed
	// commands are the latest that could destroy; unanswered says that the last of them is.
	commands        []CommandEvidence
	commandsOmitted int
	unanswered      bool
	markers         *markerState
	operations      []operationState // those of the plan
	told            []zonesTold

	passes   []passState // those begun, in order
	verify   *verifyState
	mismatch overwrite.Set // of every verification: none is forgotten by verifying again
	unread   overwrite.Set
	readErr  string
	zeros    int64
	ones     int64
	finished *finishedRecord

	started, ended time.Time // of the first and last destructive or verifying step
}

type passState struct {
	begun    passBegunRecord
	done     overwrite.Set
	failed   overwrite.Set
	writeErr string
	complete bool
	started  time.Time
	ended    time.Time
}

type verifyState struct {
	begun verifyBegunRecord
	done  overwrite.Set
	end   *verifyDoneRecord
}

// apply takes the next record. A record that cannot follow what came before is an error: nothing
// may be concluded from such a journal.
func (s *state) apply(r journal.Record) error {
	if s.opened == nil && r.Kind != kindOpened {
		return fmt.Errorf("journal record %d is %q before the job was opened", r.Seq, r.Kind)
	}
	if s.finished != nil {
		return fmt.Errorf("journal record %d (%s) follows the end of the job", r.Seq, r.Kind)
	}
	switch r.Kind {
	case kindOpened:
		if s.opened != nil {
			return fmt.Errorf("journal record %d opens the job a second time", r.Seq)
		}
		if err := keep(r, &s.opened); err != nil {
			return err
		}
		for _, area := range s.opened.Drive.spaces() {
			if area.size <= 0 || area.block <= 0 || area.size%int64(area.block) != 0 {
				return fmt.Errorf("journal record %d: %d bytes in blocks of %d are no size of a drive", r.Seq, area.size, area.block)
			}
			if err := area.checkZones(); err != nil {
				return fmt.Errorf("journal record %d: %w", r.Seq, err)
			}
		}
		if s.opened.Drive.LogicalBlock <= 0 || s.opened.Drive.SizeBytes <= 0 {
			return fmt.Errorf("journal record %d: %d bytes in blocks of %d are no size of a drive", r.Seq, s.opened.Drive.SizeBytes, s.opened.Drive.LogicalBlock)
		}
		s.operations = make([]operationState, len(s.opened.Drive.Operations))
		return nil
	case kindIntent:
		if s.intent != nil {
			return fmt.Errorf("journal record %d is a second intent", r.Seq)
		}
		return keep(r, &s.intent)
	case kindAttempt:
		return s.applyAttempt(r)
	case kindReidentified:
		return r.Decode(&reidentifiedRecord{})
	case kindHealth:
		var h healthRecord
		err := r.Decode(&h)
		s.health = append(s.health, healthAt{r.Time, h})
		return err
	case kindPaced:
		var p pacedRecord
		err := r.Decode(&p)
		s.paces = append(s.paces, p.Pace)
		return err
	case kindIdentified:
		return s.applyIdentified(r)
	case kindCommand, kindAnswered:
		return s.applyCommand(r)
	case kindRestoreBegun, kindReshaped, kindLeftHidden:
		return s.applyReshape(r)
	case kindMarkersBegun, kindMarkersSet, kindMarkersRead, kindDriveStatus, kindArmed, kindReleasing, kindReleased, kindRetained, kindActivating, kindBegun, kindSent, kindAudited, kindEnded:
		return s.applyDriveWork(r)
	case kindZonesTold:
		return s.applyZonesTold(r)
	case kindPassBegun, kindZonesReset, kindExtents, kindPassDone:
		return s.applyPass(r)
	case kindVerifyBegun, kindVerified, kindVerifyDone:
		return s.applyVerify(r)
	case kindStopped:
		var stop stoppedRecord
		err := r.Decode(&stop)
		s.stopped, s.needs = stop.Reason, stop.Needs
		return err
	case kindFinished:
		return keep(r, &s.finished)
	}
	return fmt.Errorf("journal record %d is of the unknown kind %q", r.Seq, r.Kind)
}

func keep[T any](r journal.Record, at **T) error {
	v := new(T)
	if err := r.Decode(v); err != nil {
		return err
	}
	*at = v
	return nil
}

// applyDriveWork takes what belongs to techniques that the drive carries out.
func (s *state) applyDriveWork(r journal.Record) error {
	if s.attempts == 0 {
		return fmt.Errorf("journal record %d (%s) outside an attempt", r.Seq, r.Kind)
	}
	if s.restored < len(s.opened.Drive.Restore) {
		return fmt.Errorf("journal record %d (%s) before all hidden areas were made accessible", r.Seq, r.Kind)
	}
	switch r.Kind {
	case kindMarkersBegun, kindMarkersSet, kindMarkersRead:
		if r.Kind == kindMarkersRead || r.Kind == kindMarkersBegun {
			s.touch(r.Time)
		}
		return s.applyMarkers(r.Kind, r.Decode, r.Seq)
	}
	return s.applyOperation(r)
}

// touched says whether anything was written to the drive, or may have been sent to it.
func (s *state) touched() bool {
	activated := slices.ContainsFunc(s.operations, func(o operationState) bool { return o.activating })
	return len(s.passes) > 0 || s.markers != nil || s.restoring || activated || s.sent()
}

func (s *state) applyAttempt(r journal.Record) error {
	var a attemptRecord
	if err := r.Decode(&a); err != nil {
		return err
	}
	if s.intent == nil || a.N != s.attempts+1 {
		return fmt.Errorf("journal record %d: attempt %d after %d attempts, intent %v", r.Seq, a.N, s.attempts, s.intent != nil)
	}
	s.attempts, s.stopped, s.needs = a.N, "", ""
	for i := range s.operations {
		if op := &s.operations[i]; op.end == nil {
			op.forget(s.opened.Drive.Operations[i])
		}
	}
	return nil
}

func (s *state) applyPass(r journal.Record) error {
	if s.attempts == 0 || s.restored < len(s.opened.Drive.Restore) {
		return fmt.Errorf("journal record %d (%s) outside an attempt, or before all hidden areas were made accessible", r.Seq, r.Kind)
	}
	s.touch(r.Time)
	switch r.Kind {
	case kindPassBegun:
		var b passBegunRecord
		if err := r.Decode(&b); err != nil {
			return err
		}
		// A pass begins after the one before it is complete; the last begun one may begin anew.
		next := len(s.passes) + 1
		inOrder := b.Pass == next && (next == 1 || s.passes[next-2].complete)
		if b.Pass < 1 || !inOrder && b.Pass != len(s.passes) {
			return fmt.Errorf("journal record %d begins pass %d out of order", r.Seq, b.Pass)
		}
		if !s.fits(b) {
			return fmt.Errorf("journal record %d writes %q in pass %d, which the plan does not have", r.Seq, b.Pattern, b.Pass)
		}
		s.passes = append(s.passes[:b.Pass-1], passState{begun: b, started: r.Time, ended: r.Time})
		s.verify = nil
		s.forgetZones(b.Pass)
		return nil
	case kindZonesReset:
		return s.applyZonesReset(r)
	case kindExtents:
		var e extentsRecord
		if err := r.Decode(&e); err != nil {
			return err
		}
		p, err := s.current(r, e.Pass)
		if err != nil {
			return err
		}
		p.done.Add(e.Done...)
		p.failed.Add(e.Failed...)
		if e.Error != "" {
			p.writeErr = e.Error
		}
		p.ended = r.Time
		return nil
	}
	var d passDoneRecord
	if err := r.Decode(&d); err != nil {
		return err
	}
	p, err := s.current(r, d.Pass)
	if err != nil {
		return err
	}
	if left := s.all().Without(p.done).Without(p.failed).Bytes(); left != 0 {
		return fmt.Errorf("journal record %d ends pass %d with %d bytes not written", r.Seq, d.Pass, left)
	}
	p.complete, p.ended = true, r.Time
	return nil
}

// fits says whether what a pass writes is what the plan has for it, with what chance decides filled
// in (see Pass).
func (s *state) fits(b passBegunRecord) bool {
	if b.Pass > len(s.opened.Drive.Passes) {
		return false
	}
	planned := s.opened.Drive.Passes[b.Pass-1].Pattern
	kind, name, _ := strings.Cut(planned, ":")
	unit, isHex := strings.CutPrefix(b.Pattern, "hex:")
	switch kind {
	case "random":
		return b.Pattern == "random" && b.KeySHA256 != ""
	case "hex":
		return b.Pattern == planned
	case "char":
		c, err := hex.DecodeString(unit)
		return isHex && err == nil && len(c) == 1
	case "not":
		return b.Pattern == s.complement(name)
	case "gutmann":
		return isHex && slices.Contains(gutmannPatterns, unit)
	}
	return false
}

// complement is the pattern "hex:…" that complements the byte drawn for char:name; "" when none
// was drawn.
func (s *state) complement(name string) string {
	at := slices.IndexFunc(s.opened.Drive.Passes, func(p Pass) bool { return p.Pattern == "char:"+name })
	if at < 0 || at >= len(s.passes) {
		return ""
	}
	c, err := hex.DecodeString(strings.TrimPrefix(s.passes[at].begun.Pattern, "hex:"))
	if err != nil || len(c) != 1 {
		return ""
	}
	return "hex:" + hex.EncodeToString([]byte{^c[0]})
}

// current is the pass that a record speaks of: only the last one begun can change.
func (s *state) current(r journal.Record, pass int) (*passState, error) {
	if pass != len(s.passes) || pass == 0 || s.passes[pass-1].complete {
		return nil, fmt.Errorf("journal record %d (%s) for pass %d, which is not under way", r.Seq, r.Kind, pass)
	}
	return &s.passes[pass-1], nil
}

func (s *state) applyVerify(r journal.Record) error {
	if !s.erased() && !s.auditing() {
		return fmt.Errorf("journal record %d (%s) before the last pass was complete", r.Seq, r.Kind)
	}
	s.touch(r.Time)
	if r.Kind == kindVerifyBegun {
		v := &verifyState{}
		s.verify, s.zeros, s.ones = v, 0, 0
		return r.Decode(&v.begun)
	}
	if s.verify == nil || s.verify.end != nil {
		return fmt.Errorf("journal record %d (%s) outside a verification", r.Seq, r.Kind)
	}
	if r.Kind == kindVerifyDone {
		return keep(r, &s.verify.end)
	}
	var v verifiedRecord
	if err := r.Decode(&v); err != nil {
		return err
	}
	s.verify.done.Add(v.Done...)
	s.mismatch.Add(v.Mismatch...)
	s.unread.Add(v.Failed...)
	s.zeros, s.ones = s.zeros+v.Zeros, s.ones+v.Ones
	if v.Error != "" {
		s.readErr = v.Error
	}
	return nil
}

func (s *state) touch(t time.Time) {
	if s.started.IsZero() {
		s.started = t
	}
	s.ended = t
}

// all is the whole drive.
func (s *state) all() overwrite.Set {
	return overwrite.NewSet(overwrite.Extent{Offset: 0, Length: s.opened.Drive.SizeBytes})
}

// operatedAll says whether every operation of the plan has.
func (s *state) operatedAll() bool {
	return !slices.ContainsFunc(s.operations, func(o operationState) bool { return o.end == nil })
}

// erased says whether every pass and every operation of the plan is complete, and the drive as large
// as the plan makes it.
func (s *state) erased() bool {
	if s.restored < len(s.opened.Drive.Restore) || s.opened.Drive.Reformat != 0 && !s.wasReformatted() {
		return false
	}
	if len(s.operations) > 0 {
		return s.operatedAll()
	}
	planned := len(s.opened.Drive.Passes)
	return planned > 0 && len(s.passes) == planned && s.passes[planned-1].complete
}

// toVerify is what the verification that was begun has to read: the extents its seed draws, or
// everything, without the blocks that could not be written. samples is the number of areas drawn.
func (s *state) toVerify() (extents overwrite.Set, samples int64, err error) {
	var all []overwrite.Extent
	for i, area := range s.opened.Drive.spaces() {
		drawn := []overwrite.Extent{{Offset: 0, Length: area.size}}
		if s.verify.begun.Mode == VerifySampled {
			seed, err := decodeKey(s.verify.begun.Seed)
			if err != nil {
				return overwrite.Set{}, 0, fmt.Errorf("sampling seed: %w", err)
			}
			if drawn, _, err = overwrite.Sample(area.size/int64(area.block), area.block, spaceSeed(seed, i, area)); err != nil {
				return overwrite.Set{}, 0, err
			}
		}
		samples += int64(len(drawn))
		for _, e := range drawn {
			all = append(all, overwrite.Extent{Offset: area.base + e.Offset, Length: e.Length})
		}
	}
	extents = overwrite.NewSet(all...)
	if n := len(s.passes); n > 0 {
		extents = extents.Without(s.passes[n-1].failed)
	}
	return extents, samples, nil
}

// resume replays a journal.
func resume(records []journal.Record) (*state, error) {
	s := &state{}
	for _, r := range records {
		if err := s.apply(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}
