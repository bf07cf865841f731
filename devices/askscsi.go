package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices/ata"
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

// ataData sends an ATA data-in command through the translation.
func ataData(ctx context.Context, t Transport, a ata.Command) ([]byte, error) {
	c, err := a.SCSI()
	if err != nil {
		return nil, err
	}
	r, err := ask(ctx, t, c)
	if err != nil {
		return nil, err
	}
	return ata.ParseData(c, r)
}

// identifySCSI asks what is behind a SCSI node: an ATA drive behind a translation, or a SCSI drive.
// A USB bridge that does not pass ATA commands speaks for itself only, and is not believed.
func identifySCSI(ctx context.Context, t Transport, d *Drive) error {
	page, err := dataIn(ctx, t, scsi.Inquiry{}.Command())
	if err != nil {
		return fmt.Errorf("inquiry: %w", err)
	}
	inq, err := scsi.ParseInquiry(page)
	if err != nil {
		return err
	}
	if inq.Vendor == "ATA" || translated(ctx, t) {
		return identifyATA(ctx, t, d)
	}
	if d.bridged {
		return ErrNoDoor
	}
	page, err = dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageUnitSerial}.Command())
	if err != nil {
		return fmt.Errorf("unit serial number: %w", err)
	}
	serial, err := scsi.ParseUnitSerial(page)
	if err != nil {
		return err
	}
	wwn := ""
	if page, err = dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageIdentification}.Command()); err == nil {
		if wwn, err = scsi.ParseNAA(page); err != nil {
			return err
		}
	}
	d.Protocol = ProtocolSCSI
	d.vouch(strings.TrimSpace(inq.Vendor+" "+inq.Product), serial, wwn, inq.Revision)
	if page, err := dataIn(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageCharacter}.Command()); err == nil {
		if rate, err := scsi.ParseRotation(page); err == nil {
			d.Media = mediaOf(rate == 1, rate == 1 || rate > 0x400)
		}
	}
	return nil
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

func identifyATA(ctx context.Context, t Transport, d *Drive) error {
	page, err := ataData(ctx, t, ata.IdentifyDevice())
	if err != nil {
		return fmt.Errorf("IDENTIFY DEVICE: %w", err)
	}
	i, err := ata.ParseIdentity(page)
	if err != nil {
		return err
	}
	if size := int64(i.Sectors) * int64(i.LogicalBytes); size < d.SizeBytes {
		return fmt.Errorf("IDENTIFY DEVICE: %d bytes, and the node has %d: one of them is another drive", size, d.SizeBytes)
	}
	d.Protocol = ProtocolATA
	d.vouch(i.Model, i.Serial, i.WWN, i.Firmware)
	d.Media = mediaOf(i.SolidState())
	if h, err := readATASMART(ctx, t); err == nil && h.PowerOnHours != nil {
		d.PowerOnHours = h.PowerOnHours
	} else if IsGone(err) {
		return err
	}
	return nil
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
