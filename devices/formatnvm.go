package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// FormatNVM is what an NVMe drive says of erasing itself by Format NVM (NVMe base 2.0, 5.14).
type FormatNVM struct {
	// ErasesAll: it reaches every namespace of the subsystem (FNA bit 1). Else those that are attached
	// to the controller.
	ErasesAll bool `json:"erases_all"`
	Crypto    bool `json:"crypto"` // it can erase cryptographically (FNA bit 2)
	// NSID and CDW10 are what a user data erase of the whole drive is sent with, which keeps the format
	// and the metadata of every namespace as they are. With gives CDW10 of another erase.
	NSID  uint32 `json:"nsid"`
	CDW10 uint32 `json:"cdw10"`
	// Bars is why it cannot be sent for the whole drive; empty when it can.
	Bars string `json:"bars,omitempty"`
}

// formatOf says how a drive of these namespaces is erased by one command; nil when it has none. listed
// are in the order of d.Namespaces.
func formatOf(c nvme.Controller, namespaces []Namespace, listed []nvme.Namespace) *FormatNVM {
	if !c.FormatNVM() {
		return nil
	}
	f := &FormatNVM{ErasesAll: c.ErasesAll(), Crypto: c.FormatCrypto(), NSID: nvme.EveryNamespace}
	if len(namespaces) == 1 || c.NoBroadcast() {
		f.NSID = namespaces[0].NSID
	}
	for i, n := range listed {
		code, err := nvme.Format{NSID: f.NSID, SES: nvme.UserDataErase, Namespace: n}.CDW10()
		switch {
		case err != nil:
			f.Bars = fmt.Sprintf("namespace %d: %v", namespaces[i].NSID, err)
		case i > 0 && code != f.CDW10:
			f.Bars = "its namespaces have different formats, and one command would give all of them the same"
		case !namespaces[i].Attached && !f.ErasesAll:
			f.Bars = fmt.Sprintf("namespace %d is attached to no controller, where a format does not reach it", namespaces[i].NSID)
		case len(namespaces) > 1 && c.NoBroadcast() && !f.ErasesAll:
			f.Bars = "it formats one namespace at a time"
		}
		f.CDW10 = code
	}
	return f
}

// With is CDW10 of another erase than that of user data, in the same format.
func (f FormatNVM) With(ses nvme.SecureErase) uint32 { return f.CDW10&^(7<<9) | uint32(ses)<<9 }

// sameFormat says whether nothing has changed that decides what a format of the drive does.
func sameFormat(a, b Drive) bool {
	if a.FormatNVM == nil || b.FormatNVM == nil {
		return a.FormatNVM == b.FormatNVM
	}
	return *a.FormatNVM == *b.FormatNVM && a.Unallocated == b.Unallocated
}

// ReadFormatProgress has an NVMe drive tell how far its format is: the Identify Namespace data of the
// attached namespace that has most of it before it, as it came.
func ReadFormatProgress(ctx context.Context, t Transport) ([]byte, error) {
	attached, err := listNamespaces(ctx, t, false)
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var most []byte
	left := -1
	for _, id := range attached {
		page, err := admin(ctx, t, nvme.IdentifyNamespace{NSID: id}.Command())
		if err != nil {
			return nil, fmt.Errorf("identify namespace %d: %w", id, err)
		}
		n, err := nvme.ParseNamespace(page)
		if err != nil {
			return nil, fmt.Errorf("namespace %d: %w", id, err)
		}
		remaining, running := n.Formatting()
		if !running {
			remaining = 0
		}
		if remaining > left {
			most, left = page, remaining
		}
	}
	if most == nil {
		return nil, errors.New("the controller lists no namespace")
	}
	return most, nil
}
