package sanitize

import (
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// operationState is what a journal says of one operation of the drive. The drive's pages are kept
// as they came and judged here, so that nothing an agent concluded has to be believed.
type operationState struct {
	before         *account // before the latest command was sent
	was            []byte   // the page of before
	fresh          bool     // before was read since the latest command
	armed          bool     // its password may be on the drive
	released       bool     // its password may have come off by our own hand since the latest command
	activating     bool     // its Locking SP may have been activated by this job
	passwordSHA256 string
	sends          int
	taken          bool // the drive completed the latest command without error, and was there ever since
	seen           bool // running by our command, after it was sent
	last           *account
	page           []byte // of last
	end            *endedRecord

	auditFrom time.Time // when it was first seen in media verification, by the latest command
	auditDone time.Time // when all that had to be read there had been

	begun, ended time.Time // the latest command; the success
	warnings     []string
}

type healthAt struct {
	time time.Time
	healthRecord
}

// sent says whether a command of any operation may have reached the drive.
func (s *state) sent() bool {
	return len(s.operations) > 0 && (s.operations[0].sends > 0 || s.operations[0].armed)
}

// next is the index of the first operation that has not ended; the number of operations when all have.
func (s *state) next() int {
	for i := range s.operations {
		if s.operations[i].end == nil {
			return i
		}
	}
	return len(s.operations)
}

func (s *state) applyOperation(r journal.Record) error {
	n, err := operationOf(r)
	if err != nil {
		return err
	}
	if n != s.next()+1 || n > len(s.operations) {
		return fmt.Errorf("journal record %d (%s) for operation %d, which is not under way", r.Seq, r.Kind, n)
	}
	if m := s.markers; s.opened.Drive.wantsMarkers() && (m == nil || !m.isSet) && r.Kind != kindDriveStatus {
		return fmt.Errorf("journal record %d (%s) before the markers were set", r.Seq, r.Kind)
	}
	op, planned := &s.operations[n-1], s.opened.Drive.Operations[n-1]
	switch r.Kind {
	case kindDriveStatus:
		return s.applyStatus(r, op, planned)
	case kindArmed:
		if planned.Kind != ATASecurityErase || !op.fresh {
			return fmt.Errorf("journal record %d draws a password where the plan needs none, or too early", r.Seq)
		}
		s.touch(r.Time)
		var d armedRecord
		err := r.Decode(&d)
		op.armed, op.fresh, op.passwordSHA256 = true, false, d.PasswordSHA256
		return err
	case kindActivating:
		if !planned.byTCG() || planned.Code&tcgActivate == 0 || !op.fresh || op.before.active {
			return fmt.Errorf("journal record %d activates where the plan needs none, or too early", r.Seq)
		}
		s.touch(r.Time)
		op.fresh, op.activating = false, true
		return r.Decode(&releasedRecord{})
	case kindReleasing, kindReleased:
		// Security goes off by our own hand, which must never be taken for an erase: it is begun again, whatever the markers say.
		op.armed, op.released = r.Kind == kindReleasing, true
		op.fresh, op.last = false, nil
		return r.Decode(&releasedRecord{})
	case kindRetained:
		op.released = false
		return r.Decode(&releasedRecord{})
	case kindBegun:
		var b begunRecord
		if err := r.Decode(&b); err != nil {
			return err
		}
		if b.Code != planned.Code {
			return fmt.Errorf("journal record %d sends %#x in operation %d, which the plan does not have", r.Seq, b.Code, n)
		}
		if !op.fresh || op.before.phase == running || op.before.phase == verifying {
			return fmt.Errorf("journal record %d begins operation %d while the drive's status was not known to be at rest", r.Seq, n)
		}
		if planned.Kind == ATASecurityErase && (!op.armed || op.before.explicit) {
			return fmt.Errorf("journal record %d begins operation %d while the job's password was not known to be set", r.Seq, n)
		}
		if planned.Kind == TCGRevertCommand && !op.before.active {
			return fmt.Errorf("journal record %d begins operation %d while the Locking SP was not known to be active", r.Seq, n)
		}
		s.touch(r.Time)
		op.released = false
		op.sends, op.fresh, op.seen, op.taken, op.last, op.begun = op.sends+1, false, false, false, nil, r.Time
		op.auditFrom, op.auditDone, s.verify = time.Time{}, time.Time{}, nil
		s.markers.forget(n) // readings of what an earlier command did
		s.forgetZones(n)
		return nil
	case kindAudited:
		if !s.auditing() || s.verify == nil || s.verify.end == nil {
			return fmt.Errorf("journal record %d ends a media verification in which not everything was read", r.Seq)
		}
		s.touch(r.Time)
		op.auditDone = r.Time
		return r.Decode(&auditedRecord{})
	case kindSent:
		var d sentRecord
		err := r.Decode(&d)
		op.taken = op.sends > 0 && d.Error == ""
		return err
	}
	var e endedRecord
	if err := r.Decode(&e); err != nil {
		return err
	}
	if _, ok := s.ours(n - 1); !ok {
		return fmt.Errorf("journal record %d ends operation %d without a success of the drive that is its own", r.Seq, n)
	}
	s.touch(r.Time)
	op.end, op.ended = &e, r.Time
	if op.last.cancelled {
		op.auditDone = time.Time{}
	}
	if planned.audited() && op.auditDone.IsZero() {
		// What was read in a media verification that was cut off is read again.
		s.verify = nil
		if s.markers != nil {
			s.markers.again = true
		}
	}
	return nil
}

// operationOf reads the number that every record of an operation has.
func operationOf(r journal.Record) (int, error) {
	switch r.Kind {
	case kindDriveStatus:
		var d driveStatusRecord
		err := r.Decode(&d)
		return d.Operation, err
	case kindBegun:
		var d begunRecord
		err := r.Decode(&d)
		return d.Operation, err
	case kindSent:
		var d sentRecord
		err := r.Decode(&d)
		return d.Operation, err
	case kindArmed:
		var d armedRecord
		err := r.Decode(&d)
		return d.Operation, err
	case kindReleasing, kindReleased, kindRetained, kindActivating:
		var d releasedRecord
		err := r.Decode(&d)
		return d.Operation, err
	case kindAudited:
		var d auditedRecord
		err := r.Decode(&d)
		return d.Operation, err
	}
	var d endedRecord
	err := r.Decode(&d)
	return d.Operation, err
}

func (s *state) applyStatus(r journal.Record, op *operationState, planned Operation) error {
	var d driveStatusRecord
	if err := r.Decode(&d); err != nil {
		return err
	}
	if d.Warning != "" && len(op.warnings) < maxWarnings {
		op.warnings = append(op.warnings, d.Warning)
	}
	if d.Reset {
		op.forget(planned)
	}
	if d.Error != "" || len(d.Page) == 0 {
		op.last = nil
		return nil
	}
	set, err := commandSetOf(planned)
	if err != nil {
		return fmt.Errorf("journal record %d: %w", r.Seq, err)
	}
	status, err := set.parse(d.Page, planned)
	if err != nil {
		op.last = nil // unknown, whatever came before
		return nil
	}
	switch d.When {
	case whenBefore:
		op.before, op.was, op.fresh = &status, d.Page, true
	case whenAfter:
		if op.sends == 0 {
			return fmt.Errorf("journal record %d is a status after a command that was not sent", r.Seq)
		}
		op.last, op.page = &status, d.Page
		if status.phase == verifying && status.mine && op.auditFrom.IsZero() {
			op.auditFrom = r.Time
		}
		if (status.phase == running || status.phase == verifying) && status.mine {
			if !op.seen {
				s.markers.forget(d.Operation) // a look at them before it ran tells nothing
				s.forgetZones(d.Operation)
			}
			op.seen = true
			s.touch(r.Time)
		}
	default:
		return fmt.Errorf("journal record %d is a status of the unknown time %q", r.Seq, d.When)
	}
	return nil
}

// forget takes back what was seen of an operation that a drive does not keep over a reset or a
// loss of power: it may have ended then, and not by success. A revert that a TPer took was carried out, or
// its discovery says that it was interrupted.
func (op *operationState) forget(planned Operation) {
	op.taken, op.seen = op.taken && planned.Kind == TCGRevertCommand, op.seen && planned.Kind.keeps()
}

// maxWarnings bounds the list that evidence carries.
const maxWarnings = 16

// ours says whether the latest status is the success of this very operation, and why. An older
// success looks the same: it counts only when the operation was seen running, when the drive's
// account did not show such a success before the command was sent, or when the markers are gone.
// A drive that keeps no account is at rest before and after, and must have been seen running. An NVMe
// format is over when its command is completed, and is told by nothing else. That a
// password is gone, or a Locking SP inactive, tells of an erase only to whoever saw it end: others can do
// that, too.
func (s *state) ours(i int) (because string, ok bool) {
	op, planned := &s.operations[i], s.opened.Drive.Operations[i]
	switch {
	case op.sends == 0 || op.released || op.last == nil || !op.last.explicit:
		return "", false
	case planned.Kind == NVMeFormat:
		// A reset in its middle ends it, and leaves nothing that shows that.
		return "the drive completed the command, which it does when it is done", op.taken
	case planned.Kind == TCGKeysCommand:
		return "the drive completed the command for every range", op.taken
	case op.seen && (planned.Kind != TCGRevertCommand || op.taken): // of a revert discovery does not say whose it is
		return "it was seen running", true
	case op.before != nil && !op.before.explicit && planned.Kind.keeps() && (planned.Kind != ATASecurityErase && planned.Kind != TCGRevertCommand || op.taken):
		return "the drive's account shows the success, and did not before the command was sent", true
	case s.opened.Drive.firstOfUnit(i) && s.changed(i+1):
		return "the markers are gone", true
	}
	return "", false
}

// failedByUs says whether the latest status is the failure of this very operation.
func (s *state) failedByUs(i int) bool {
	op := &s.operations[i]
	if op.sends == 0 || op.last == nil || op.last.phase != failed || !op.last.mine {
		return false
	}
	return op.seen || op.before != nil && !(op.before.phase == failed && op.before.mine)
}

// estimate is the drive's own, in seconds, from the status before the command; it knows better
// then than when the plan was made.
func (op *operationState) estimate(planned Operation) (int64, bool) {
	set, err := commandSetOf(planned)
	if err != nil || op.before == nil {
		return 0, false
	}
	return set.estimate(op.was, planned)
}

// The verdicts on how long an operation took.
const (
	timingPlausible = "plausible"
	timingFast      = "implausibly fast: less than a tenth of the drive's own estimate"
	timingSlow      = "slow: more than twice the drive's own estimate"
	timingUnknown   = "the drive gives no estimate"
	timingBackward  = "how long it took is not known: the host's clock went back meanwhile"
)

// leastJudged is the estimate, in seconds, below which speed says nothing.
const leastJudged = 30

func timing(elapsed, estimate int64, known bool) string {
	switch {
	case !known || estimate == 0:
		return timingUnknown
	case estimate >= leastJudged && elapsed < estimate/10:
		return timingFast
	case estimate >= leastJudged && elapsed > 2*estimate:
		return timingSlow
	}
	return timingPlausible
}

// takeHealth notes what the drive says of its condition, or that it does not.
func (r *run) takeHealth(when string, h devices.Health, err error) error {
	return r.append(kindHealth, healthRecord{when, h, text(err)})
}
