package sanitize

// With whom, as whom and by which PIN a session with a drive is opened.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// tcgSession is with whom, and as whom, the operation's session is.
func (o Operation) tcgSession() (sp tcg.SP, as tcg.Authority, err error) {
	switch o.tcgWay() {
	case tcg.WayPSIDRevert:
		return tcg.AdminSP, tcg.PSID, nil
	case tcg.WaySIDRevert:
		return tcg.AdminSP, tcg.SID, nil
	case tcg.WayRevertSP, tcg.WayGenKey:
		return tcg.LockingSP, tcg.Admin1, nil
	case tcg.WayEnterpriseErase:
		return tcg.EnterpriseLockingSP, tcg.EraseMaster, nil
	}
	return 0, 0, fmt.Errorf("operation %q: %#x is none that is sent", o.Command, o.Code)
}

// ErrWrongPIN: the drive does not take the PIN.
var ErrWrongPIN = errors.New("the drive does not take the PIN: nothing was begun")

// authenticate makes sure that the drive takes the PIN, before anything is written to it.
func (r *run) authenticate(ctx context.Context) error {
	planned := r.drive.Operations[0]
	if err := r.reidentify(ctx, "authentication"); err != nil {
		return err
	}
	door, d, err := devices.OpenTCG(ctx, r.transport(planned), r.drive.Protocol)
	if err != nil {
		return err
	}
	pin, err := r.tcgPIN(ctx, door, d, 0)
	if err != nil {
		return err
	}
	defer pin.Wipe()
	sp, as, err := planned.tcgSession()
	if err != nil {
		return &fault{err}
	}
	if planned.Code&tcgActivate != 0 && !d.Facts().LockingEnabled {
		sp, as = tcg.AdminSP, tcg.SID // whose PIN Admin1 will have
	}
	session, err := tcgSession(ctx, door, d, sp, as, pin)
	if err != nil {
		return r.tcgRefused(planned, err)
	}
	return session.Close(ctx)
}

// tcgPatience is how long a drive may take for one method.
const tcgPatience = 2 * time.Hour

// tcgSession opens a session. One that was left open when an agent ended, and an answer that nobody fetched when
// the drive was reset, are in its way: for them the protocol is reset, for no other program has the drive.
// What the drive refuses is never asked again, for it counts wrong PINs.
func tcgSession(ctx context.Context, door tcg.Door, d tcg.Discovery, sp tcg.SP, as tcg.Authority, pin tcg.Secret) (*tcg.Session, error) {
	s, err := tcg.OpenSession(ctx, door, d, sp, as, pin)
	var status *tcg.StatusError
	busy := tcg.IsStatus(err, tcg.SPBusy) || tcg.IsStatus(err, tcg.NoSessionsAvailable)
	if err == nil || !busy && errors.As(err, &status) || devices.IsGone(err) || ctx.Err() != nil {
		return s, err
	}
	if reset := tcg.ResetStack(ctx, door, d); reset != nil {
		return nil, errors.Join(err, reset)
	}
	if !busy && !pin.Empty() {
		return nil, err // whether the PIN was tried is not known: the next attempt does that
	}
	return tcg.OpenSession(ctx, door, d, sp, as, pin)
}

// tcgPIN is the one that was given and is in the job's secrets, or the MSID.
func (r *run) tcgPIN(ctx context.Context, door tcg.Door, d tcg.Discovery, i int) (tcg.Secret, error) {
	planned := r.drive.Operations[i]
	if planned.Code&tcgGivenPIN != 0 {
		return r.givenPIN(i)
	}
	session, err := tcgSession(ctx, door, d, tcg.AdminSP, tcg.Anybody, tcg.Secret{})
	if err != nil {
		return tcg.Secret{}, r.tcgRefused(planned, err)
	}
	msid, err := session.ReadMSID(ctx)
	if err = errors.Join(err, session.Close(ctx)); err != nil {
		return tcg.Secret{}, r.tcgRefused(planned, err)
	}
	return msid, nil
}

// tcgRefused words an error by which nothing was begun. What the drive itself refuses is an end; a
// session that it has no room for now, and what was lost on the way, is tried again by the next attempt.
func (r *run) tcgRefused(planned Operation, err error) error {
	switch {
	case tcg.IsStatus(err, tcg.NotAuthorized):
		return &fault{fmt.Errorf("%s: %w: %w", planned.Command, ErrWrongPIN, err)}
	case tcg.IsStatus(err, tcg.AuthorityLockedOut):
		return fmt.Errorf("%s: %w: it takes no more attempts to authenticate: %w", planned.Command, devices.ErrPowerCycle, err)
	}
	err = fmt.Errorf("%s: nothing was begun: %w", planned.Command, err)
	var status *tcg.StatusError
	if errors.As(err, &status) && status.Refused() && !tcg.IsStatus(err, tcg.SPBusy) && !tcg.IsStatus(err, tcg.NoSessionsAvailable) {
		return &fault{err}
	}
	return err
}

// givenPIN is in the job's secrets, on disk before it is first used, so that what it begins can be gone on with.
func (r *run) givenPIN(i int) (tcg.Secret, error) {
	planned, number := r.drive.Operations[i], fmt.Sprint(i+1)
	if r.secrets.PINs[number] == "" {
		if r.pin == nil {
			return tcg.Secret{}, fmt.Errorf("%s: the job's secrets do not have the %s", planned.Command, pinOf(planned.tcgWay()))
		}
		text, err := r.pin()
		if err != nil {
			return tcg.Secret{}, err
		}
		r.secrets.PINs = map[string]string{number: text}
		if err := r.secrets.keep("a PIN"); err != nil {
			return tcg.Secret{}, err
		}
	}
	return tcg.NewSecret([]byte(r.secrets.PINs[number])), nil
}

// ForgetPINs takes what a person gave out of a file of secrets.
func ForgetPINs(file string) error {
	s, err := openSecrets(file)
	if err != nil {
		return err
	}
	return s.forgetPINs()
}

// forgetPINs takes what a person gave off the disk, when nothing is left that needs it.
func (s *secrets) forgetPINs() error {
	if len(s.PINs) == 0 {
		return nil
	}
	s.PINs = nil
	return s.keep("secrets without their PIN")
}
