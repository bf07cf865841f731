package ata

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/anatol/smart.go"
)

// A library that was written apart reads the same pages in the same way.
func TestLayoutsAgreeWithTheLibrary(t *testing.T) {
	var id smart.AtaIdentifyDevice
	if err := binary.Read(bytes.NewReader(identityPage()), binary.LittleEndian, &id); err != nil {
		t.Fatal(err)
	}
	i, err := ParseIdentity(identityPage())
	if err != nil {
		t.Fatal(err)
	}
	sectors, capacity, logical, physical, _ := id.Capacity()
	if id.ModelNumber() != i.Model || id.SerialNumber() != i.Serial || id.FirmwareRevision() != i.Firmware || sectors != i.Sectors ||
		capacity != i.Sectors*uint64(i.LogicalBytes) || logical != uint64(i.LogicalBytes) || physical != uint64(i.PhysicalBytes) {
		t.Errorf("the library: %q %q %q, %d sectors, %d bytes, blocks of %d and %d; here %+v", id.ModelNumber(), id.SerialNumber(), id.FirmwareRevision(), sectors, capacity, logical, physical, i)
	}
	var page smart.AtaSmartPageRaw
	if err := binary.Read(bytes.NewReader(smartPage()), binary.LittleEndian, &page); err != nil {
		t.Fatal(err)
	}
	s, err := ParseSMART(smartPage())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, a := range page.Attrs {
		if a.Id == 0 {
			continue
		}
		got := s.Attributes[n]
		n++
		var raw uint64
		for k, b := range a.VendorBytes {
			raw |= uint64(b) << (8 * k)
		}
		if got.ID != a.Id || got.Value != a.Current || got.Worst != a.Worst || got.Raw != raw {
			t.Errorf("the library: %+v; here %+v", a, got)
		}
	}
	if n != len(s.Attributes) {
		t.Errorf("the library has %d attributes, here are %d", n, len(s.Attributes))
	}
}
