package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// SecurityState is what an ATA drive says of its passwords (ACS-4 4.20, IDENTIFY DEVICE word 128).
type SecurityState struct {
	Supported    bool `json:"supported"`
	Enabled      bool `json:"enabled"` // a user password is set
	Locked       bool `json:"locked"`  // and nothing can be read or written without it
	Frozen       bool `json:"frozen"`  // no security command is accepted until power is cycled
	CountExpired bool `json:"count_expired"`
	Enhanced     bool `json:"enhanced_erase"`
	// MasterMaximum: a master password only erases, it does not unlock.
	MasterMaximum bool `json:"master_maximum"`
	// EraseMinutes and EnhancedMinutes are the drive's own estimates; nil where it has none.
	EraseMinutes    *int64 `json:"erase_minutes,omitempty"`
	EnhancedMinutes *int64 `json:"enhanced_minutes,omitempty"`
}

// ataData sends an ATA data-in command through the translation. A translation that does not know
// the 16-byte form is asked in the 12-byte form, where the command's registers fit.
func ataData(ctx context.Context, t Transport, a ata.Command) ([]byte, error) {
	c, err := a.SCSI()
	if err != nil {
		return nil, err
	}
	r, err := ask(ctx, t, c)
	if err != nil {
		return nil, err
	}
	data, err := ata.ParseData(c, r)
	if !ata.RefusedByTranslation(err) || a.Extend {
		return data, err
	}
	short, shortErr := a.SCSI12()
	if shortErr != nil {
		return nil, err
	}
	if r, shortErr = ask(ctx, t, short); shortErr != nil {
		return nil, shortErr
	}
	return ata.ParseData(short, r)
}

// ataAsk sends an ATA command that only asks and answers in registers.
func ataAsk(ctx context.Context, t Transport, a ata.Command) (ata.Registers, error) {
	c, err := a.SCSI()
	if err != nil {
		return ata.Registers{}, err
	}
	r, err := ask(ctx, t, c)
	if err != nil {
		return ata.Registers{}, err
	}
	return ata.ParseRegisters(r)
}

// ReadIdentity asks an ATA drive what it is.
func ReadIdentity(ctx context.Context, t Transport) (ata.Identity, []byte, error) {
	page, err := ataData(ctx, t, ata.IdentifyDevice())
	if err != nil {
		return ata.Identity{}, nil, fmt.Errorf("IDENTIFY DEVICE: %w", err)
	}
	i, err := ata.ParseIdentity(page)
	return i, page, err
}

func identifyATA(ctx context.Context, t Transport, d *Drive) error {
	i, _, err := ReadIdentity(ctx, t)
	if err != nil {
		return err
	}
	if err := d.compareSize(int64(i.Sectors) * int64(i.LogicalBytes)); err != nil {
		return fmt.Errorf("IDENTIFY DEVICE: %w", err)
	}
	d.Protocol = ProtocolATA
	d.vouch(i.Model, i.Serial, i.WWN, i.Firmware)
	d.Media = mediaOf(i.SolidState())
	d.zoningCode(i.Zoned)
	d.judgeSecurity(i.SecurityState())
	if err := readATASanitize(ctx, t, d, i); err != nil {
		return err
	}
	if d.Sanitize == nil || d.Sanitize.State == SanitizeIdle {
		// While it sanitizes, and after that failed, a drive answers neither of these.
		if err := readHidden(ctx, t, d, i); err != nil {
			return err
		}
		if h, err := readATASMART(ctx, t); err == nil && h.PowerOnHours != nil {
			d.PowerOnHours = h.PowerOnHours
		} else if IsGone(err) {
			return err
		}
	}
	if d.TCG = nil; i.TrustedComputing() {
		return readTCG(ctx, t, d)
	}
	return nil
}

// Codes of what an ATA drive's passwords keep away.
const (
	ReasonLocked       = "security_locked"
	ReasonCountExpired = "count_expired"
	ReasonFrozen       = "security_frozen"
	ReasonEnabled      = "security_enabled"
)

// hintFrozen is the ladder out of a frozen state (ACS-4 4.20: only a power-on reset ends it).
const hintFrozen = "the firmware of this computer froze it at start: pull the drive and put it back while the computer runs, or suspend the computer and wake it, or attach the drive to another controller; or use its sanitize command, which this does not keep away"

// judgeSecurity takes the security state, and what follows from it.
func (d *Drive) judgeSecurity(s ata.Security) {
	if !s.Supported {
		return
	}
	minutes := func(n int) *int64 {
		if n == 0 {
			return nil
		}
		return some(int64(n))
	}
	d.Security = &SecurityState{
		Supported: true, Enabled: s.Enabled, Locked: s.Locked, Frozen: s.Frozen, CountExpired: s.CountExpired, Enhanced: s.EnhancedSupported,
		MasterMaximum: s.MasterMaximum, EraseMinutes: minutes(s.EraseMinutes), EnhancedMinutes: minutes(s.EnhancedMinutes),
	}
	capability := "a master password of capability high unlocks it, too"
	if s.MasterMaximum {
		capability = "its master password is of capability maximum, and only erases"
	}
	if s.Locked {
		d.refuse(StateBlocked, Reason{ReasonLocked, "it is locked by an ATA password: nothing can be read or written",
			"if a job of this state locked it: expunge recover; with its password: expunge recover " + d.Serial + " --password-file FILE; " + capability})
	}
	if s.CountExpired {
		d.refuse(StateBlocked, Reason{ReasonCountExpired, "too many wrong passwords were tried: it takes no more until its power is cycled",
			"take power from the drive and give it back, then try with the right password"})
	}
	if s.Enabled && !s.Locked {
		d.lack(ReasonEnabled, "an ATA password is set, which is not this job's", "take it off with its password: expunge recover "+d.Serial+" --password-file FILE; "+capability)
	}
	if s.Frozen {
		d.lack(ReasonFrozen, "its ATA security is frozen: it takes no security command", hintFrozen)
	}
}

// ReadATASanitize asks an ATA drive how its sanitize stands and returns the sense data that said
// so. Registers that did not come back whole are ata.ErrNoRegisters: unknown.
func ReadATASanitize(ctx context.Context, t Transport) (ata.SanitizeStatus, []byte, bool, error) {
	a, err := ata.Sanitize{Feature: ata.SanitizeStatusExt}.Command()
	if err != nil {
		return ata.SanitizeStatus{}, nil, false, err
	}
	c, err := a.SCSI()
	if err != nil {
		return ata.SanitizeStatus{}, nil, false, err
	}
	r, reset, err := askNoting(ctx, t, c)
	if err != nil {
		return ata.SanitizeStatus{}, nil, reset, fmt.Errorf("SANITIZE STATUS EXT: %w", err)
	}
	if r.HostStatus != 0 {
		return ata.SanitizeStatus{}, r.Sense, reset, fmt.Errorf("SANITIZE STATUS EXT: %w", r.Err())
	}
	if r.Status == 0 && len(r.Sense) == 0 {
		return ata.SanitizeStatus{}, nil, reset, fmt.Errorf("SANITIZE STATUS EXT: %w", ata.ErrNoRegisters)
	}
	s, err := ata.ParseSanitizeStatus(r.Sense)
	if err != nil {
		err = fmt.Errorf("SANITIZE STATUS EXT: %w", err)
	}
	return s, r.Sense, reset, err
}

// Codes of what keeps a drive's own sanitize away.
const (
	ReasonBridgeOpaque   = "bridge_opaque"
	ReasonSanitizeFrozen = "sanitize_frozen"
	ReasonHBADrops       = "hba_drops_fields"
)

func readATASanitize(ctx context.Context, t Transport, d *Drive, i ata.Identity) error {
	if !i.Sanitize {
		return nil
	}
	s, _, _, err := ReadATASanitize(ctx, t)
	if IsGone(err) {
		return err
	}
	if err != nil {
		d.lack(ReasonBridgeOpaque, fmt.Sprintf("whether a sanitize of it succeeds cannot be told: %v", err),
			"attach the drive to a controller that returns the ATA registers: directly, not through a USB bridge or a RAID controller")
		// A translation that loses the registers may know itself that a sanitize runs (SAT-4 8.11, TEST UNIT READY).
		at, _, _, err := ReadSCSIState(ctx, t)
		if IsGone(err) {
			return err
		}
		if err == nil && at.Sanitizing {
			d.refuse(StateBlocked, Reason{ReasonSanitizing, "it is sanitizing itself", "leave the drive alone until that has ended"})
		}
		return nil
	}
	d.Sanitize = &SanitizeSupport{Crypto: i.CryptoScramble, Block: i.BlockErase, Overwrite: i.Overwrite, AfterBlock: ReadsConstant, AfterCrypto: ReadsAnything, State: SanitizeIdle}
	// No word tells of it: it is as old as ZAC, and a drive that has no zones ignores it.
	d.Sanitize.ZoneNoReset = d.peripheral == scsi.HostManagedType || d.Zoning == HostAware
	if i.ReadsZeroes {
		d.Sanitize.AfterBlock = ReadsZeros // ACS-4 7.13: RZAT
	}
	switch {
	case s.InProgress:
		d.sanitizing("", int(s.Progress)*100/65536)
	case s.Failed:
		d.sanitizeFailed(false)
	case s.Frozen:
		d.lack(ReasonSanitizeFrozen, "its sanitize feature set is frozen: it takes no sanitize command until its power is cycled",
			"take power from the drive and give it back; if the firmware of this computer freezes it again, attach the drive elsewhere, or while the computer runs")
	case i.Overwrite && (d.Security == nil || !d.Security.Locked):
		drops, err := ProbeRegisters(ctx, t, i.Sectors)
		if err != nil {
			return err
		}
		if drops != "" {
			d.lack(ReasonHBADrops, "the host adapter does not carry all ATA registers to the drive: "+drops,
				"attach the drive to another controller: one that sets the COUNT register to zero makes 16 passes of one")
		}
	}
	return nil
}

// ProbeRegisters finds out whether the adapter carries COUNT and LBA of a command without data to
// the drive, by two commands that only read: verifying the last sector succeeds only with COUNT 1
// (0 stands for 65,536 sectors), and the one behind it fails unless its LBA was lost. It says what
// is lost, or that it cannot be told; "" when both arrive.
func ProbeRegisters(ctx context.Context, t Transport, sectors uint64) (string, error) {
	_, last := ataAsk(ctx, t, ata.ReadVerify(sectors-1, 1))
	_, behind := ataAsk(ctx, t, ata.ReadVerify(sectors, 1))
	for _, err := range []error{last, behind} {
		if IsGone(err) {
			return "", err
		}
	}
	var failed *ata.Error
	switch {
	case behind == nil:
		return "LBA is lost", nil
	case !errors.As(behind, &failed):
		return fmt.Sprintf("it cannot be told whether they arrive: %v", behind), nil
	case last == nil:
		return "", nil
	case errors.As(last, &failed) && failed.Registers.Error&ata.ErrorIDNF != 0:
		return "COUNT is lost", nil
	}
	return fmt.Sprintf("it cannot be told whether they arrive: %v", last), nil
}

// ATASecurityCommand sends a command of the Security feature set: through the pass-through, or,
// where the translation refuses that, as SECURITY PROTOCOL OUT EFh (SAT-4 12.5). Its password is
// never in an error. nil says that the drive's state, asked next, tells what it did.
func ATASecurityCommand(ctx context.Context, t Transport, a ata.Command) error {
	err := passSecurity(ctx, t, a)
	if !ata.RefusedByTranslation(err) || !hasSecurityProtocol(ctx, t) {
		return err
	}
	return protocolSecurity(ctx, t, a)
}

// ATAEraseUnit sends SECURITY ERASE PREPARE and SECURITY ERASE UNIT with nothing between them, for the
// drive takes the second only right after the first (ACS-4 7.44): both by the same way.
func ATAEraseUnit(ctx context.Context, t Transport, unit ata.Command) error {
	err := passSecurity(ctx, t, ata.ErasePrepare())
	if err == nil {
		err = passSecurity(ctx, t, unit)
	}
	if !ata.RefusedByTranslation(err) || !hasSecurityProtocol(ctx, t) {
		return err
	}
	if err := protocolSecurity(ctx, t, ata.ErasePrepare()); err != nil {
		return err
	}
	return protocolSecurity(ctx, t, unit)
}

func passSecurity(ctx context.Context, t Transport, a ata.Command) error {
	c, err := a.SCSI()
	if err != nil {
		return err
	}
	r, err := t.SCSI(ctx, c)
	if err != nil {
		return err
	}
	if _, err = ata.ParseRegisters(r); errors.Is(err, ata.ErrNoRegisters) && r.HostStatus == 0 {
		return nil
	}
	return err
}

func hasSecurityProtocol(ctx context.Context, t Transport) bool {
	info, err := dataIn(ctx, t, ata.SATSecurityInfo())
	if err != nil {
		return false
	}
	s, err := ata.ParseSATSecurity(info)
	return err == nil && s.Supported
}

func protocolSecurity(ctx context.Context, t Transport, a ata.Command) error {
	c, err := a.SATSecurity()
	if err != nil {
		return err
	}
	r, err := t.SCSI(ctx, c)
	if err != nil {
		return err
	}
	return r.Err()
}

// askNoting is ask, and says whether the drive told of a reset or a loss of power meanwhile.
func askNoting(ctx context.Context, t Transport, c *scsi.Command) (r scsi.Result, reset bool, err error) {
	for n := 1; ; n++ {
		r, err = t.SCSI(ctx, c)
		var failed *scsi.CommandError
		if err != nil || !errors.As(r.Err(), &failed) {
			return r, reset, err
		}
		again := failed.FateUnknown()
		if failed.Sense != nil && failed.Sense.Key == scsi.UnitAttention {
			again, reset = true, reset || failed.Sense.ASC == 0x29 // power on, reset, or bus device reset occurred (SPC-5 annex F)
		}
		if failed.HostStatus == 8 {
			reset = true
		}
		if !again || n == questions {
			return r, reset, nil
		}
	}
}

// ErrWrongPassword: the drive answered that it does not take the password. It counts such answers.
var ErrWrongPassword = errors.New("the drive does not take the password")

func passwordError(command string, err error) error {
	var drive *ata.Error
	if errors.As(err, &drive) {
		return fmt.Errorf("%s: %w: %w", command, ErrWrongPassword, err)
	}
	return fmt.Errorf("%s: %w", command, err)
}

// TakePasswordOff unlocks a drive, where it is locked, and disables its password (ACS-4 4.20: the
// second is refused while it is locked). The password is never in an error.
func TakePasswordOff(ctx context.Context, t Transport, password [32]byte, master bool) error {
	state := func() (ata.Security, error) {
		i, _, err := ReadIdentity(ctx, t)
		return i.SecurityState(), err
	}
	s, err := state()
	switch {
	case err != nil:
		return err
	case !s.Enabled:
		return nil
	case s.Frozen:
		return fmt.Errorf("its ATA security is frozen: %w", ErrPowerCycle)
	case s.CountExpired:
		return fmt.Errorf("too many wrong passwords were tried: %w", ErrPowerCycle)
	}
	if s.Locked {
		if err := ATASecurityCommand(ctx, t, ata.Unlock(password, master)); err != nil {
			return passwordError("SECURITY UNLOCK", err)
		}
	}
	if err := ATASecurityCommand(ctx, t, ata.DisablePassword(password, master)); err != nil {
		return passwordError("SECURITY DISABLE PASSWORD", err)
	}
	if s, err = state(); err != nil {
		return err
	}
	if s.Enabled {
		return errors.New("SECURITY DISABLE PASSWORD: the drive reports success and still has a password")
	}
	return nil
}
