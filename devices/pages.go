package devices

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// Page is a page by which a drive says what it is, as it came but for two things: zeros at its end are cut, and
// what a vendor put there for himself, which may be anything, is zeros here and pinned by its hash.
type Page struct {
	Name         string `json:"name"`
	Data         []byte `json:"data"`
	Bytes        int    `json:"bytes"` // of the whole page
	VendorSHA256 string `json:"vendor_sha256,omitempty"`
}

// maxPages bounds what is kept of one drive: namespaces may be many.
const maxPages = 16

// span is a part of a page.
type span struct{ from, to int }

// pageOf makes a page of what a drive answered. vendor are the parts of it that no standard says the meaning of.
func pageOf(name string, data []byte, vendor ...span) Page {
	p := Page{Name: name, Data: bytes.Clone(data), Bytes: len(data)}
	var all []byte
	for _, v := range vendor {
		if to := min(v.to, len(data)); v.from < to {
			all = append(all, p.Data[v.from:to]...)
			clear(p.Data[v.from:to])
		}
	}
	if len(bytes.Trim(all, "\x00")) > 0 {
		sum := sha256.Sum256(all)
		p.VendorSHA256 = hex.EncodeToString(sum[:])
	}
	p.Data = bytes.TrimRight(p.Data, "\x00")
	return p
}

// Pages asks the drive for its pages about itself. The error is ErrNoDoor where it cannot be asked; with any other
// there are those pages that came before it.
func (h *Handle) Pages(ctx context.Context) ([]Page, error) {
	t := h.Transport()
	switch h.drive.Protocol {
	case ProtocolNVMe:
		return h.nvmePages(ctx, t)
	case ProtocolATA:
		_, data, err := ReadIdentity(ctx, t)
		if err != nil {
			return nil, err
		}
		return []Page{pageOf("IDENTIFY DEVICE", data, span{2 * 129, 2 * 160})}, nil // ACS-4 7.13: words 129 to 159
	case ProtocolSCSI:
		return inquiryPages(ctx, t)
	}
	return nil, ErrNoDoor
}

// nvmePages are those of the controller and its namespaces (NVMe base 2.0, figure 275, bytes 3072 and on; NVM
// command set 1.0, figure 97, bytes 384 and on).
func (h *Handle) nvmePages(ctx context.Context, t Transport) ([]Page, error) {
	data, err := admin(ctx, t, nvme.IdentifyController{}.Command())
	if err != nil {
		return nil, fmt.Errorf("identify controller: %w", err)
	}
	list := []Page{pageOf("Identify Controller", data, span{3072, 4096})}
	for _, n := range h.drive.Namespaces {
		if len(list) == maxPages {
			break
		}
		data, err := admin(ctx, t, nvme.IdentifyNamespace{NSID: n.NSID, Allocated: !n.Attached}.Command())
		if err != nil {
			return list, fmt.Errorf("identify namespace %d: %w", n.NSID, err)
		}
		list = append(list, pageOf(fmt.Sprintf("Identify Namespace %d", n.NSID), data, span{384, 4096}))
	}
	return list, nil
}

// inquiryPages are the standard INQUIRY data (SPC-5 6.6.2: bytes 36 to 55, and 96 and on, are the vendor's), and two
// pages of vital product data, which not every unit has.
func inquiryPages(ctx context.Context, t Transport) ([]Page, error) {
	var list []Page
	var missing error
	for _, q := range []struct {
		name   string
		ask    scsi.Inquiry
		vendor []span
	}{
		{"INQUIRY", scsi.Inquiry{}, []span{{36, 56}, {96, 252}}},
		{"VPD page 80h", scsi.Inquiry{EVPD: true, PageCode: scsi.PageUnitSerial}, nil},
		{"VPD page 83h", scsi.Inquiry{EVPD: true, PageCode: scsi.PageIdentification}, nil},
	} {
		data, err := dataIn(ctx, t, q.ask.Command())
		switch {
		case IsGone(err):
			return list, err
		case err != nil:
			missing = errors.Join(missing, fmt.Errorf("%s: %w", q.name, err))
		default:
			list = append(list, pageOf(q.name, data, q.vendor...))
		}
	}
	return list, missing
}
