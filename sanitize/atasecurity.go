package sanitize

// ATA SECURITY ERASE UNIT: the host sets a password, and the drive erases itself and forgets it
// (ACS-4 4.20, 7.43 to 7.45). One command that takes as long as it takes. It goes wrong in ways that
// are answered here: cut off, the drive comes back locked by the password (it is on disk before the
// drive gets it, so that the erase is begun again with it, or it is taken off); the drive says that
// the erase failed (the password is taken off); the firmware of the computer froze the drive, or too
// many passwords were tried (power must be cycled). That the password is gone is the drive's word
// that the erase succeeded: nothing else takes it off but its owner.

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// ErrForeignPassword: the drive has a password that this job did not set. It is left alone: take the
// password off, then resume the job.
var ErrForeignPassword = errors.New("the drive has an ATA password that this job did not set")

type ataSecurityErase struct{}

func (ataSecurityErase) ask(ctx context.Context, t devices.Transport, _ devices.Protocol) ([]byte, bool, error) {
	_, page, err := devices.ReadIdentity(ctx, t)
	return page, false, err
}

func (ataSecurityErase) parse(page []byte, _ Operation) (account, error) {
	s, err := securityOf(page)
	if err != nil {
		return account{}, err
	}
	words := []string{"security disabled"}
	if s.Enabled {
		words[0] = "security enabled"
	}
	for _, x := range []struct {
		is   bool
		word string
	}{{s.Locked, "locked"}, {s.Frozen, "frozen"}, {s.CountExpired, "count expired"}} {
		if x.is {
			words = append(words, x.word)
		}
	}
	return account{phase: atRest, mine: true, explicit: !s.Enabled, words: strings.Join(words, ", ")}, nil
}

// securityOf reads IDENTIFY DEVICE. A drive that has no security any more is unknown.
func securityOf(page []byte) (ata.Security, error) {
	i, err := ata.ParseIdentity(page)
	if err != nil {
		return ata.Security{}, err
	}
	s := i.SecurityState()
	if !s.Supported {
		return ata.Security{}, errors.New("IDENTIFY DEVICE: no Security feature set")
	}
	return s, nil
}

func (ataSecurityErase) estimate(page []byte, planned Operation) (int64, bool) {
	s, err := securityOf(page)
	if err != nil {
		return 0, false
	}
	n := s.EraseMinutes
	if planned.Code == 1 {
		n = s.EnhancedMinutes
	}
	return int64(n) * 60, n != 0
}

// send sets the password, unless it is there already, and has the drive erase itself with it.
func (ataSecurityErase) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	if planned.Code > 1 {
		return false, &fault{fmt.Errorf("operation %q: %#x is none that is sent", planned.Command, planned.Code)}
	}
	state, err := securityOf(r.operations[i].was)
	if err != nil {
		return false, err
	}
	if state.Enabled && !r.operations[i].armed {
		return false, ErrForeignPassword
	}
	if state.Frozen || state.CountExpired {
		return false, fmt.Errorf("%s: %w: its ATA security is %s", planned.Command, devices.ErrPowerCycle, map[bool]string{true: "frozen", false: "blocked by wrong passwords"}[state.Frozen])
	}
	if !state.Enabled {
		if state, err = r.arm(ctx, i); err != nil {
			return false, err
		}
	}
	password, err := r.password(i)
	if err != nil {
		return false, err
	}
	t := r.transport(planned)
	var ended error
	answered, err := r.sendOnce(i, func() error {
		ended = devices.ATAEraseUnit(context.WithoutCancel(ctx), t, ata.EraseUnit{Enhanced: planned.Code == 1, Password: password}.Command(state))
		return ended
	}, func(error) bool { return false })
	if err != nil || !failedAnswer(ended) {
		return answered, err
	}
	// It holds data, and shall not stay locked.
	if err := r.release(ctx, i); err != nil {
		return false, fmt.Errorf("%s: the drive does not carry it out (%w), and its password does not come off either (%w): it may be at work still; resume the job later", planned.Command, ended, err)
	}
	return false, &fault{fmt.Errorf("%s: the drive reports that it failed, and its password was taken off again: %w", planned.Command, ended)}
}

// failedAnswer says whether an error is the drive's own answer that it failed, or the translation's
// that it did not pass the command on. Any other leaves open what was done.
func failedAnswer(err error) bool {
	var drive *ata.Error
	var translation *scsi.CommandError
	return errors.As(err, &drive) ||
		errors.As(err, &translation) && translation.HostStatus == 0 && translation.Sense != nil && translation.Sense.Key != scsi.UnitAttention
}

// arm sets the password, which is on disk before the drive gets it, and makes sure that it is set.
func (r *run) arm(ctx context.Context, i int) (ata.Security, error) {
	planned := r.drive.Operations[i]
	if r.volatile {
		return ata.Security{}, &fault{errors.New("the state is kept in memory: a drive would stay locked for ever if the host lost power now")}
	}
	password, err := r.secrets.newPassword(i + 1)
	if err != nil {
		return ata.Security{}, err
	}
	if err := r.append(kindArmed, armedRecord{i + 1, keyDigest(password[:])}); err != nil {
		return ata.Security{}, err
	}
	set := devices.ATASecurityCommand(context.WithoutCancel(ctx), r.transport(planned), ata.SetPassword(password, false))
	if devices.IsGone(set) {
		return ata.Security{}, set
	}
	if _, err := r.status(ctx, i, false); err != nil {
		return ata.Security{}, fmt.Errorf("whether its password is set is not known: %w", err)
	}
	state, err := securityOf(r.operations[i].was)
	switch {
	case err != nil:
		return ata.Security{}, err
	case state.Enabled:
		return state, nil
	case set != nil && !failedAnswer(set):
		return ata.Security{}, set // a reset or the like: it is tried again when the job is resumed
	case set != nil:
		return ata.Security{}, &fault{fmt.Errorf("%s: the drive takes no password, and nothing was begun: %w", planned.Command, set)}
	}
	return ata.Security{}, &fault{fmt.Errorf("%s: the drive took a password and does not have it: nothing was begun", planned.Command)}
}

// release takes the password of an operation off the drive again: unlocked first, where it is locked
// (ACS-4 4.20: SECURITY DISABLE PASSWORD is refused then).
func (r *run) release(ctx context.Context, i int) error {
	t := r.transport(r.drive.Operations[i])
	password, err := r.password(i)
	if err != nil {
		return err
	}
	// Noted before: security that is off afterwards is off by our own hand, and no erase.
	if err := r.append(kindReleasing, releasedRecord{i + 1}); err != nil {
		return err
	}
	if err := devices.TakePasswordOff(context.WithoutCancel(ctx), t, password, false); failedAnswer(err) {
		return errors.Join(err, r.append(kindRetained, releasedRecord{i + 1}))
	} else if err != nil {
		return err
	}
	return r.append(kindReleased, releasedRecord{i + 1})
}

// ErrPasswordLost: the secrets of the job do not have the password that the drive got.
var ErrPasswordLost = errors.New("the job's secrets do not have the password that the drive got")

// password is the one that the journal names; another is not tried, for the drive counts wrong ones.
func (r *run) password(i int) ([32]byte, error) {
	p, err := r.secrets.password(i + 1)
	if err == nil && keyDigest(p[:]) != r.operations[i].passwordSHA256 {
		err = errors.New("another than the journal names")
	}
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrPasswordLost, err)
	}
	return p, nil
}

// Armed says whether a password of the job may be on the drive: it must come off before the job can
// be given up.
func Armed(records []journal.Record) bool {
	s, err := resume(records)
	if err != nil {
		return has(records, kindArmed)
	}
	for i := range s.operations {
		if op := &s.operations[i]; op.armed && op.end == nil {
			return true
		}
	}
	return false
}

// Release takes the job's password off the drive, without anything else.
func Release(ctx context.Context, e Execution) error {
	r, err := e.start()
	if err != nil {
		return err
	}
	for i := range r.operations {
		if op := &r.operations[i]; op.armed && op.end == nil {
			return r.release(ctx, i)
		}
	}
	return nil
}

// newPassword draws the password of an operation, or gives the one that was drawn, when it is on
// disk. It is text, so that a person can type it into another tool.
func (s *secrets) newPassword(operation int) ([32]byte, error) {
	if p, err := s.password(operation); err == nil {
		return p, nil
	}
	var p [32]byte
	raw := make([]byte, 20)
	rand.Read(raw)
	copy(p[:], base32.StdEncoding.EncodeToString(raw))
	if s.Passwords == nil {
		s.Passwords = map[string]string{}
	}
	s.Passwords[fmt.Sprint(operation)] = string(p[:])
	return p, s.keep(fmt.Sprintf("password of operation %d", operation))
}

func (s *secrets) password(operation int) ([32]byte, error) {
	var p [32]byte
	text := s.Passwords[fmt.Sprint(operation)]
	if len(text) != len(p) {
		return p, fmt.Errorf("secrets %s: the password of operation %d is not in it", s.name, operation)
	}
	copy(p[:], text)
	return p, nil
}
