package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// ExitFailureMode has a drive whose unrestricted sanitize failed take reads and writes again, with
// whatever data it holds: NVMe SANACT 1 (NVMe base 2.0, 5.24), ATA SANITIZE STATUS EXT with CLEAR
// SANITIZE OPERATION FAILED (ACS-4 7.36.4), SCSI SANITIZE, EXIT FAILURE MODE (SBC-4 5.30). After a
// restricted failure the drive refuses it, which is ErrStaysFailed. That it is accepted proves nothing.
func (h *Handle) ExitFailureMode(ctx context.Context) error {
	err := h.exitFailureMode(ctx)
	var byNVMe *nvme.StatusError
	var byATA *ata.Error
	var bySCSI *scsi.CommandError
	if errors.As(err, &byNVMe) && byNVMe.Refused() || errors.As(err, &byATA) || errors.As(err, &bySCSI) && bySCSI.Refused() {
		return fmt.Errorf("%w: %w", ErrStaysFailed, err)
	}
	return err
}

func (h *Handle) exitFailureMode(ctx context.Context) error {
	t := h.Transport()
	switch h.drive.Protocol {
	case ProtocolNVMe:
		c, err := nvme.Sanitize{SANACT: nvme.ExitFailureMode}.Command()
		if err != nil {
			return err
		}
		done, err := t.NVMe(ctx, c)
		if err != nil {
			return err
		}
		return done.Err()
	case ProtocolATA:
		a, err := ata.Sanitize{Feature: ata.SanitizeStatusExt, ClearFailed: true}.Command()
		if err != nil {
			return err
		}
		_, err = ataAsk(ctx, t, a)
		return err
	case ProtocolSCSI:
		c, err := scsi.Sanitize{Action: scsi.SanitizeExitFailure}.Command()
		if err != nil {
			return err
		}
		r, err := t.SCSI(ctx, c)
		if err != nil {
			return err
		}
		return r.Err()
	}
	return fmt.Errorf("%s: %w", h.drive.Nodes[0], ErrNoDoor)
}

// TakePasswordOff unlocks the drive and disables its ATA password, by the user's or the master
// password.
func (h *Handle) TakePasswordOff(ctx context.Context, password [32]byte, master bool) error {
	return TakePasswordOff(ctx, h.Transport(), password, master)
}
