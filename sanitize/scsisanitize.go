package sanitize

// SCSI SANITIZE and FORMAT UNIT: a logical unit erases itself, and tells how far it is by sense data
// (SBC-4 4.11, 5.4, 5.30). It keeps no account of how it ended: a unit that is at rest may have
// succeeded, or never have begun. Therefore the operation must be seen running to its end, or the
// markers must be gone; after a reset or a loss of power what was seen counts no more. FORMAT UNIT
// writes every block and need not touch reallocated ones; cut off, it leaves a medium that cannot be
// used until another succeeds.

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// The bits of byte 1 of the CDB of SANITIZE (SBC-4 5.30).
const (
	sanitizeIMMED = 1 << 7
	sanitizeZNR   = 1 << 6
	sanitizeAUSE  = 1 << 5
)

func scsiOperation(step Technique, d devices.Drive, r Request) Operation {
	if step == Format {
		o := Operation{Kind: SCSIFormat, Command: "FORMAT UNIT with zeros"}
		if r.BlockSize != 0 && r.BlockSize != d.LogicalBlock {
			o.Code = uint32(r.BlockSize)
			o.Command += fmt.Sprintf(", logical blocks of %d bytes", r.BlockSize)
		}
		return o
	}
	action := map[Technique]scsi.SanitizeAction{CryptographicErase: scsi.SanitizeCryptoErase, BlockErase: scsi.SanitizeBlockErase, DriveOverwrite: scsi.SanitizeOverwrite}[step]
	o := Operation{Kind: SCSISanitize, Command: "SANITIZE, " + action.String(), Code: sanitizeIMMED | uint32(action)}
	if step == DriveOverwrite {
		o.Command += " with zeros, one pass"
	}
	if step.keepsZones(d) {
		o.Code |= sanitizeZNR
		o.Command += ", zones not reset"
	}
	if r.FailureMode == Unrestricted {
		o.Code |= sanitizeAUSE
		o.Command += ", unrestricted"
	}
	return o
}

// scsiErase is both commands; sense data tells them apart.
type scsiErase struct{}

func (scsiErase) ask(ctx context.Context, t devices.Transport, _ devices.Protocol) ([]byte, bool, error) {
	_, page, reset, err := devices.ReadSCSIState(ctx, t)
	return page, reset, err
}

func (scsiErase) parse(page []byte, planned Operation) (account, error) {
	st, err := devices.ParseSCSIState(page)
	if err != nil {
		return account{}, err
	}
	format := planned.Kind == SCSIFormat
	a := account{phase: atRest, mine: true, explicit: st.AtRest, unrestricted: !format && planned.Code&sanitizeAUSE != 0, progress: st.Progress, hasProgress: st.HasProgress, words: "at rest"}
	switch {
	case st.Sanitizing:
		a.phase, a.mine, a.words = running, !format, "sanitize in progress"
	case st.Formatting:
		a.phase, a.mine, a.words = running, format, "format in progress"
	case st.SanitizeFailed:
		a.phase, a.mine, a.words = failed, !format, "sanitize failed"
	case st.FormatFailed:
		a.phase, a.mine, a.words = failed, format, "format failed"
	case st.FormatCutOff:
		a.mine, a.cutOff, a.words = format, true, "medium format corrupted"
	case st.FirmwarePending:
		return account{}, errors.New("new firmware is saved and not active")
	}
	return a, nil
}

// estimate: the drive gives none.
func (scsiErase) estimate([]byte, Operation) (int64, bool) { return 0, false }

func (scsiErase) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	commands, err := scsiCommands(planned, r.drive.unitBlock(planned.Unit))
	if err != nil {
		return false, &fault{err}
	}
	t := r.transport(planned)
	answered, err := r.sendOnce(i, func() error {
		for _, c := range commands {
			// Once sent it goes on: giving up now would only lose its answer.
			result, err := t.SCSI(context.WithoutCancel(ctx), c)
			if err == nil {
				err = result.Err()
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, func(err error) bool {
		var failed *scsi.CommandError
		return errors.As(err, &failed) && failed.Refused()
	})
	if err != nil || !answered {
		return answered, err
	}
	// At once: a cryptographic erase is over in a moment, and only what is seen running counts.
	if _, err := r.status(ctx, i, true); devices.IsGone(err) {
		return true, err
	}
	return true, nil
}

// scsiCommands makes the commands of a planned operation, the erase last. What does not come out as
// it was planned is not sent.
func scsiCommands(o Operation, block int) ([]*scsi.Command, error) {
	if o.Kind == SCSIFormat {
		c, err := scsi.FormatUnit{Pattern: make([]byte, 4)}.Command()
		if err != nil || o.Code == 0 {
			return []*scsi.Command{c}, err
		}
		return []*scsi.Command{scsi.ModeSelectBlockLength(o.Code), c}, nil
	}
	s := scsi.Sanitize{Action: scsi.SanitizeAction(o.Code & 0x1f), AUSE: o.Code&sanitizeAUSE != 0, ZNR: o.Code&sanitizeZNR != 0}
	switch s.Action {
	case scsi.SanitizeOverwrite:
		s.Count, s.Pattern, s.BlockLength = 1, []byte{0}, block
	case scsi.SanitizeBlockErase, scsi.SanitizeCryptoErase:
	default:
		return nil, fmt.Errorf("operation %q: SANITIZE %#x is none that is sent", o.Command, o.Code)
	}
	c, err := s.Command()
	if err == nil && uint32(c.CDB[1]) != o.Code {
		err = fmt.Errorf("operation %q: SANITIZE %#x is none that is sent", o.Command, o.Code)
	}
	return []*scsi.Command{c}, err
}

// unitBlock is the logical block length of a unit.
func (dp DrivePlan) unitBlock(unit int) int {
	if unit < len(dp.Units) {
		return dp.Units[unit].LogicalBlock
	}
	return dp.LogicalBlock
}
