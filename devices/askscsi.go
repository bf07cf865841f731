package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// dataIn sends a data-in command and returns what came.
func dataIn(ctx context.Context, t Transport, c *scsi.Command) ([]byte, error) {
	r, err := ask(ctx, t, c)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return nil, err
	}
	return r.In(c), nil
}

// ask sends a command that only asks, again when its answer was lost in a reset or is a unit
// attention, which tells of what happened before it.
func ask(ctx context.Context, t Transport, c *scsi.Command) (scsi.Result, error) {
	for n := 1; ; n++ {
		r, err := t.SCSI(ctx, c)
		var failed *scsi.CommandError
		if err != nil || n == questions || !errors.As(r.Err(), &failed) {
			return r, err
		}
		if !failed.FateUnknown() && (failed.Sense == nil || failed.Sense.Key != scsi.UnitAttention) {
			return r, nil
		}
	}
}

// identifySCSI asks what is behind a SCSI node: an ATA drive behind a translation, or a SCSI drive.
// A USB bridge speaks for itself in everything but ATA commands, and is not believed.
func identifySCSI(ctx context.Context, t Transport, d *Drive) error {
	page, err := dataIn(ctx, t, scsi.Inquiry{}.Command())
	if err != nil {
		return fmt.Errorf("inquiry: %w", err)
	}
	inq, err := scsi.ParseInquiry(page)
	if err != nil {
		return err
	}
	d.peripheral = inq.PeripheralType
	if d.Bridge != "" {
		err := identifyATA(ctx, t, d)
		if err == nil || IsGone(err) || errors.Is(err, ErrChanged) {
			return err
		}
		d.Notes = append(d.Notes, Reason{Code: ReasonBridgeOpaque, Message: "what is behind its USB bridge cannot be asked what it is: the serial number is what the bridge reports, maybe its own",
			Hint: "attach the drive directly; as it is it can be overwritten, and the certificate speaks of a logical device"})
		return ErrNoDoor
	}
	if inq.Vendor == "ATA" || translated(ctx, t) {
		return identifyATA(ctx, t, d)
	}
	if d.raid != "" {
		d.Notes = append(d.Notes, Reason{Code: "logical_device", Message: fmt.Sprintf("it is behind a RAID controller (%s): a volume made of drives, or a drive that the controller speaks for", d.raid),
			Hint: hintRAID})
		return ErrNoDoor
	}
	serial, wwn, err := unitIdentity(ctx, t)
	if err != nil {
		return err
	}
	d.Protocol = ProtocolSCSI
	d.vouch(strings.TrimSpace(inq.Vendor+" "+inq.Product), serial, wwn, inq.Revision)
	return describeSCSI(ctx, t, d)
}

// unitIdentity asks a logical unit for its serial number and its name.
func unitIdentity(ctx context.Context, t Transport) (serial, wwn string, err error) {
	page, err := dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageUnitSerial}.Command())
	if err != nil {
		return "", "", fmt.Errorf("unit serial number: %w", err)
	}
	if serial, err = scsi.ParseUnitSerial(page); err != nil {
		return "", "", err
	}
	if page, err = dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageIdentification}.Command()); err == nil {
		wwn, err = scsi.ParseNAA(page)
		return serial, wwn, err
	}
	if IsGone(err) {
		return "", "", err
	}
	return serial, "", nil
}

// translated says whether the node has the page that SCSI/ATA translations have.
func translated(ctx context.Context, t Transport) bool {
	page, err := dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageSupported}.Command())
	if err != nil {
		return false
	}
	pages, err := scsi.ParsePages(page)
	return err == nil && bytes.IndexByte(pages, scsi.PageATAInformation) >= 0
}

func mediaOf(solid, known bool) Media {
	switch {
	case !known:
		return MediaUnknown
	case solid:
		return MediaFlash
	}
	return MediaMagnetic
}
