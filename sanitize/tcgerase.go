package sanitize

// A cryptographic erase by the trusted peripheral of a self-encrypting drive (TCG Storage Core 2.01, Opal SSC
// 2.30, Enterprise SSC). A revert brings the drive back to how it was made, with new keys. It does so only
// where the Locking SP is active: on a drive that was never taken into use it leaves all data (Opal 2.30
// 5.1.2.2), so that the SP is activated first, and seen to be active. The status of the method says that
// it was taken; Level 0 discovery, before and after, says that the SP was active and is not any more, and
// whether data are still being removed. New keys for each range, and the erase of each Enterprise band,
// leave no account at all: the completion is the only word for them, as with an NVMe format.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// The code of an operation: which way, and with what.
const (
	tcgWayMask  = 0xff
	tcgActivate = 1 << 8 // the Locking SP is activated first
	tcgGivenPIN = 1 << 9 // with the PIN or PSID that was given; otherwise with the MSID that the drive tells
)

// tcgWays are the ways by their number in a code.
var tcgWays = []tcg.Way{1: tcg.WayPSIDRevert, 2: tcg.WaySIDRevert, 3: tcg.WayRevertSP, 4: tcg.WayGenKey, 5: tcg.WayEnterpriseErase}

func (o Operation) tcgWay() tcg.Way {
	n := int(o.Code & tcgWayMask)
	if n >= len(tcgWays) {
		return ""
	}
	return tcgWays[n]
}

// byTCG says whether the operation is carried out in a session with the drive's trusted peripheral.
func (o Operation) byTCG() bool { return o.Kind == TCGRevertCommand || o.Kind == TCGKeysCommand }

// PINWanted says whether the plan needs a PIN or PSID that only a person has, and which.
func (dp DrivePlan) PINWanted() (what string, wanted bool) {
	for _, o := range dp.Operations {
		if o.byTCG() && o.Code&tcgGivenPIN != 0 {
			return pinOf(o.tcgWay()), true
		}
	}
	return "", false
}

func pinOf(w tcg.Way) string {
	switch w {
	case tcg.WayPSIDRevert:
		return "PSID"
	case tcg.WayRevertSP, tcg.WayGenKey:
		return "PIN of Admin1"
	case tcg.WayEnterpriseErase:
		return "PIN of EraseMaster"
	}
	return "PIN of the owner (SID)"
}

// tcgAbility is the way that was asked for, or the one that needs nothing but what the drive tells. code and why
// say why there is none.
func tcgAbility(d devices.Drive, r Request) (a tcg.Ability, code, why string) {
	switch {
	case d.TCG == nil:
		return a, "not_supported", "the drive has no TCG security commands"
	case d.TCG.Unread != nil:
		return a, d.TCG.Unread.Code, d.TCG.Unread.Message
	case d.TCG.Flaw != nil:
		return a, "tcg_flawed", fmt.Sprintf("the self-encryption of the %s is known to be flawed: %s (%s)", d.TCG.Flaw.Model, d.TCG.Flaw.What, d.TCG.Flaw.Source)
	case len(d.Units) > 0:
		return a, "logical_units", "the drive has several logical units: which of them its keys reach is not known"
	}
	abilities := tcg.Abilities(d.TCG.Facts)
	for _, a := range abilities {
		if r.TCG != "" && a.Way == r.TCG {
			if !a.Able {
				return a, "tcg_" + a.Code, a.Why
			}
			return a, "", ""
		}
	}
	for _, a := range abilities {
		if a.Able && a.PIN != tcg.PINLabel && a.PIN != tcg.PINOwner {
			return a, "", ""
		}
	}
	if at := slices.IndexFunc(abilities, func(a tcg.Ability) bool { return a.Able }); at >= 0 {
		return abilities[at], "tcg_owned", "somebody owns it, and the PIN is not the one that it was made with: --tcg psid-revert takes the PSID on its label, --tcg sid-revert the owner's PIN"
	}
	for _, a := range abilities {
		if a.Way == tcg.WayEnterpriseErase == slices.Contains(d.TCG.SSCs, "Enterprise") {
			code, why = "tcg_"+a.Code, a.Why // the last one says it of its own class
		}
	}
	return a, code, why
}

// unfitTCG judges the erase by keys of a self-encrypting drive.
func unfitTCG(d devices.Drive, r Request) (code, why string) {
	a, code, why := tcgAbility(d, r)
	switch {
	case code != "":
		return code, why
	case a.PIN == tcg.PINOwner && !r.TCGPIN:
		return "tcg_owned", "it wants the " + pinOf(a.Way) + ": give it with --pin-file"
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it takes nothing but another"
	}
	return unmarkable(d, r)
}

func tcgOperation(d devices.Drive, r Request) Operation {
	a, _, _ := tcgAbility(d, r)
	o := Operation{Kind: TCGRevertCommand, Code: uint32(slices.Index(tcgWays, a.Way))}
	with := "the MSID"
	if a.PIN == tcg.PINLabel || r.TCGPIN {
		o.Code |= tcgGivenPIN
		with = "the PIN that was given"
	}
	switch a.Way {
	case tcg.WayPSIDRevert:
		o.Command = "TCG Revert of the Admin SP as PSID"
	case tcg.WaySIDRevert:
		o.Command = "TCG Revert of the Admin SP as SID, with " + with
	case tcg.WayRevertSP:
		o.Command = "TCG RevertSP of the Locking SP as Admin1, with " + with
	case tcg.WayGenKey:
		o.Kind, o.Command = TCGKeysCommand, "TCG GenKey for every range as Admin1, with "+with
	case tcg.WayEnterpriseErase:
		o.Kind, o.Command = TCGKeysCommand, "TCG Erase of every band as EraseMaster, with "+with
	}
	if a.Activate {
		o.Code |= tcgActivate
		o.Command += ", after the Locking SP was activated"
	}
	return o
}

// tcgErase reads accounts and sends commands of both kinds.
type tcgErase struct{ keepsAccount bool }

func (tcgErase) ask(ctx context.Context, t devices.Transport, p devices.Protocol) ([]byte, bool, error) {
	_, d, err := devices.OpenTCG(ctx, t, p)
	return d.Page, false, err
}

func (e tcgErase) parse(page []byte, planned Operation) (account, error) {
	d, err := tcg.ParseDiscovery(page)
	if err != nil {
		return account{}, err
	}
	f := d.Facts()
	if !f.LockingSupported || !f.MediaEncryption {
		return account{}, errors.New("Level 0 discovery: no locking with encryption of the media")
	}
	words := []string{"Locking SP inactive"}
	if f.LockingEnabled {
		words[0] = "Locking SP active"
	}
	if f.Locked {
		words = append(words, "locked")
	}
	if f.MBREnabled && !f.MBRDone {
		words = append(words, "shadow MBR shown")
	}
	a := account{phase: atRest, mine: true, active: f.LockingEnabled, barred: f.Locked || f.MBREnabled && !f.MBRDone}
	// An Enterprise drive's Locking SP is always active.
	a.explicit = !a.barred && (!f.LockingEnabled || !e.keepsAccount)
	if f.Removal != nil && f.Removal.Processing {
		a.phase, a.explicit, words = running, false, append(words, "removing data")
	} else if f.Removal != nil && f.Removal.Interrupted {
		a.cutOff, a.explicit, words = true, false, append(words, "removal of data was interrupted")
	}
	a.words = strings.Join(words, ", ")
	return a, nil
}

// estimate: the drive has one for each mechanism, and does not say without a session which is in use.
func (tcgErase) estimate([]byte, Operation) (int64, bool) { return 0, false }

func (tcgErase) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	door, d, err := devices.OpenTCG(ctx, r.transport(planned), r.drive.Protocol)
	if err != nil {
		return false, err
	}
	pin, err := r.tcgPIN(ctx, door, d, i)
	if err != nil {
		return false, err
	}
	defer pin.Wipe()
	// What was begun is brought to its end: an interrupted revert leaves nobody knows what.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tcgPatience)
	defer cancel()
	if !r.operations[i].before.active {
		if planned.Code&tcgActivate == 0 {
			return false, &fault{fmt.Errorf("%s: its Locking SP is not active: nothing would be erased, and nothing was begun", planned.Command)}
		}
		if d, err = r.activate(ctx, door, d, i, pin); err != nil {
			return false, err
		}
	}
	sp, as, err := planned.tcgSession()
	if err != nil {
		return false, &fault{err}
	}
	// The session is opened before the intent is noted: a PIN that is wrong is no command.
	session, err := tcgSession(ctx, door, d, sp, as, pin)
	if err != nil {
		return false, r.tcgRefused(planned, err)
	}
	var ranges []tcg.Range
	if planned.Kind == TCGKeysCommand {
		if ranges, err = session.ReadRanges(ctx); err == nil && !slices.ContainsFunc(ranges, tcg.Range.Global) {
			err = errors.New("the range that all other blocks belong to is not among them")
		}
		if err != nil {
			return false, errors.Join(fmt.Errorf("%s: which ranges there are: %w", planned.Command, err), session.Close(ctx))
		}
	}
	begun := false
	answered, err := r.sendOnce(i, func() error {
		switch planned.tcgWay() {
		case tcg.WayRevertSP:
			return session.RevertSP(ctx)
		case tcg.WayGenKey, tcg.WayEnterpriseErase:
			for n, x := range ranges {
				if err := newKey(ctx, session, planned.tcgWay(), x); err != nil {
					return fmt.Errorf("range %d of %d: %w", n+1, len(ranges), err)
				}
				begun = true
			}
			return session.Close(ctx)
		}
		return session.Revert(ctx, tcg.AdminSP)
	}, func(err error) bool {
		var status *tcg.StatusError
		return errors.As(err, &status) && status.Refused() && !begun
	})
	if err != nil {
		return answered, errors.Join(err, session.Close(ctx))
	}
	return answered, nil
}

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

func newKey(ctx context.Context, s *tcg.Session, w tcg.Way, x tcg.Range) error {
	if w == tcg.WayEnterpriseErase {
		return s.Erase(ctx, x)
	}
	if x.ActiveKey == 0 {
		return errors.New("its key is not told")
	}
	return s.GenKey(ctx, x.ActiveKey)
}

// tcgPatience is how long a drive may take for one method.
const tcgPatience = 2 * time.Hour

// tcgSession opens a session. One that was left open when an agent ended, and an answer that nobody fetched when
// the drive was reset, are in its way: for them the protocol is reset, once, for no other program has the drive.
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
	return tcg.OpenSession(ctx, door, d, sp, as, pin)
}

// tcgPIN is the one that was given and is in the job's secrets, or the MSID.
func (r *run) tcgPIN(ctx context.Context, door tcg.Door, d tcg.Discovery, i int) (tcg.Secret, error) {
	planned := r.drive.Operations[i]
	if planned.Code&tcgGivenPIN != 0 {
		text := r.secrets.PINs[fmt.Sprint(i+1)]
		if text == "" {
			return tcg.Secret{}, fmt.Errorf("%s: the job's secrets do not have the %s: %w", planned.Command, pinOf(planned.tcgWay()), ErrPINMissing)
		}
		return tcg.NewSecret([]byte(text)), nil
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

// ErrPINMissing: a PIN or PSID is needed that nobody gave.
var ErrPINMissing = errors.New("give it again")

// activate makes the Locking SP active, and makes sure that it is.
func (r *run) activate(ctx context.Context, door tcg.Door, d tcg.Discovery, i int, pin tcg.Secret) (tcg.Discovery, error) {
	planned := r.drive.Operations[i]
	session, err := tcgSession(ctx, door, d, tcg.AdminSP, tcg.SID, pin)
	if err != nil {
		return d, r.tcgRefused(planned, err)
	}
	if err := r.append(kindActivating, releasedRecord{i + 1}); err != nil {
		return d, errors.Join(err, session.Close(ctx))
	}
	activated := errors.Join(session.Activate(ctx), session.Close(ctx))
	if devices.IsGone(activated) {
		return d, activated
	}
	at, err := r.status(ctx, i, false)
	switch {
	case err != nil:
		return d, fmt.Errorf("whether its Locking SP is active is not known: %w", err)
	case !at.active && activated != nil:
		return d, r.tcgRefused(planned, fmt.Errorf("its Locking SP cannot be activated: %w", activated))
	case !at.active:
		return d, &fault{fmt.Errorf("%s: the drive says that its Locking SP was activated, and that it is not active: nothing was begun", planned.Command)}
	}
	return tcg.ParseDiscovery(r.operations[i].was)
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

// KeepPIN puts the PIN or PSID of a drive's plan into the file of its job's secrets, where its operation
// takes it from.
func KeepPIN(file string, dp DrivePlan, pin string) error {
	s, err := openSecrets(file)
	if err != nil {
		return err
	}
	if s.PINs == nil {
		s.PINs = map[string]string{}
	}
	for i, o := range dp.Operations {
		if o.byTCG() && o.Code&tcgGivenPIN != 0 {
			s.PINs[fmt.Sprint(i+1)] = pin
		}
	}
	return s.keep("a PIN")
}

// HasPIN says whether it is there.
func HasPIN(file string, dp DrivePlan) (bool, error) {
	s, err := openSecrets(file)
	if err != nil {
		return false, err
	}
	for i, o := range dp.Operations {
		if o.byTCG() && o.Code&tcgGivenPIN != 0 && s.PINs[fmt.Sprint(i+1)] == "" {
			return false, nil
		}
	}
	return true, nil
}
