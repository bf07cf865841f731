package sanitize

// ATA SANITIZE DEVICE: the drive erases itself, user data, reallocated sectors and caches, and goes
// on over resets and losses of power (ACS-4 4.17, 7.36). Its status is in the registers that SANITIZE
// STATUS EXT returns, and survives power. It goes wrong in ways that are answered here: an adapter
// loses the registers, or half of them (unknown, never success); the completed bit is that of an
// older sanitize (it must be seen running, or to have been clear before); an adapter zeroes COUNT,
// so that one pass becomes sixteen (probed before an overwrite); the failed state answers by an
// error, which is an answer.

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/ata"
)

// ataSanitizeOf makes the command of an operation's code: FEATURE and COUNT. The pattern of an
// overwrite is zeros, in one pass.
func ataSanitizeOf(code uint32) ata.Sanitize {
	s := ata.Sanitize{Feature: ata.SanitizeFeature(code >> 16), FailureMode: code&(1<<4) != 0, ZNR: code&(1<<15) != 0}
	if s.Feature == ata.OverwriteExt {
		s.Passes = uint8(code & 0x0f)
	}
	return s
}

// ataOperation plans a command of an ATA drive.
func ataOperation(step Technique, d devices.Drive, r Request) Operation {
	s := ata.Sanitize{FailureMode: r.FailureMode == Unrestricted}
	switch step {
	case EnhancedSecurityErase:
		return Operation{Kind: ATASecurityErase, Command: "SECURITY ERASE UNIT, enhanced", Code: 1, EstimateSeconds: minutes(d.Security.EnhancedMinutes)}
	case SecurityErase:
		return Operation{Kind: ATASecurityErase, Command: "SECURITY ERASE UNIT, normal", EstimateSeconds: minutes(d.Security.EraseMinutes)}
	case CryptographicErase:
		s.Feature = ata.CryptoScrambleExt
	case BlockErase:
		s.Feature = ata.BlockEraseExt
	case DriveOverwrite:
		s.Feature, s.Passes = ata.OverwriteExt, 1
	}
	s.ZNR = step.keepsZones(d)
	words := "SANITIZE DEVICE, " + s.Feature.String()
	if s.Passes > 0 {
		words += " with zeros, one pass"
	}
	if s.ZNR {
		words += ", zones not reset"
	}
	if s.FailureMode {
		words += ", unrestricted"
	}
	return Operation{Kind: ATASanitize, Command: words, Code: uint32(s.Feature)<<16 | uint32(s.Count())}
}

func minutes(n *int64) *int64 {
	if n == nil {
		return nil
	}
	seconds := *n * 60
	return &seconds
}

type ataSanitize struct{}

func (ataSanitize) ask(ctx context.Context, t devices.Transport, _ devices.Protocol) ([]byte, bool, error) {
	_, page, reset, err := devices.ReadATASanitize(ctx, t)
	return page, reset, err
}

func (ataSanitize) parse(page []byte, planned Operation) (account, error) {
	st, err := ata.ParseSanitizeStatus(page)
	if err != nil {
		return account{}, err
	}
	a := account{phase: atRest, mine: true, explicit: st.Completed && !st.InProgress && !st.Failed, unrestricted: planned.Code&(1<<4) != 0, words: "idle"}
	switch {
	case st.InProgress:
		a.phase, a.progress, a.hasProgress, a.words = running, st.Progress, true, "sanitize in progress"
	case st.Failed:
		a.phase, a.words = failed, "sanitize failed"
	case st.Completed:
		a.words = "completed without error"
	case st.Frozen:
		a.words = "sanitize frozen"
	}
	return a, nil
}

// estimate: the drive gives none.
func (ataSanitize) estimate([]byte, Operation) (int64, bool) { return 0, false }

func (ataSanitize) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	s := ataSanitizeOf(planned.Code)
	registers, err := s.Command()
	if err == nil && uint32(s.Feature)<<16|uint32(s.Count()) != planned.Code {
		err = fmt.Errorf("operation %q: %#x is none that is sent", planned.Command, planned.Code)
	}
	if err != nil {
		return false, &fault{err}
	}
	t := r.transport(planned)
	// After a sanitize that failed a drive takes nothing but another one (ACS-4 7.36), so that the way to it cannot be tried. Without its
	// signature it refuses; another pattern is found when it is read back, and no count of passes is less than the one that is planned.
	untried := r.operations[i].before.phase == failed && r.drive.Verification != VerifyStatus
	if s.Feature == ata.OverwriteExt && !untried {
		identity, _, err := devices.ReadIdentity(ctx, t)
		if err != nil {
			return false, err
		}
		drops, err := devices.ProbeRegisters(ctx, t, identity.Sectors)
		if err != nil {
			return false, err
		}
		if drops != "" {
			return false, &fault{fmt.Errorf("%s: the host adapter does not carry all registers to the drive (%s): nothing was sent", planned.Command, drops)}
		}
	}
	command, err := registers.SCSI()
	if err != nil {
		return false, &fault{err}
	}
	var page []byte
	answered, err := r.sendOnce(i, func() error {
		// Once sent it goes on: giving up now would only lose its answer.
		result, err := t.SCSI(context.WithoutCancel(ctx), command)
		if err != nil {
			return err
		}
		page = result.Sense
		if _, err = ata.ParseRegisters(result); errors.Is(err, ata.ErrNoRegisters) && result.Err() == nil {
			return nil // taken; the status tells
		}
		return err
	}, func(err error) bool {
		var refused *ata.Error
		return errors.As(err, &refused) || ata.RefusedByTranslation(err)
	})
	if err != nil || !answered || len(page) == 0 {
		return answered, err
	}
	// The command itself answers how the drive stands; a fast one may have ended at the next look.
	return true, r.append(kindDriveStatus, driveStatusRecord{Operation: i + 1, When: whenAfter, Page: page})
}
