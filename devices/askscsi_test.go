package devices_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// scsiDrive answers SCSI commands from a table: command bytes in hex are too long for that, so it
// goes by operation code and page.
type scsiDrive struct {
	devices.Transport // none: what is not answered here is not asked
	number            devices.Number
	inquiry           string
	pages             map[byte][]byte
	answers           map[byte][]byte // of other commands that bring data, by operation code
	attention         int             // unit attentions before the first answer
}

func (d *scsiDrive) Number() devices.Number { return d.number }
func (d *scsiDrive) Close() error           { return nil }

func (d *scsiDrive) SCSI(_ context.Context, c *scsi.Command) (scsi.Result, error) {
	if d.attention > 0 {
		d.attention--
		return scsi.Result{Status: 2, DriverStatus: 8, Sense: []byte{0x72, 6, 0x29, 0, 0, 0, 0, 0}}, nil
	}
	if c.CDB[0] == 0x12 && c.CDB[1] == 0 {
		page := append([]byte{0, 0, 6, 2, 31, 0, 0, 0}, d.inquiry...)
		return scsi.Result{Transferred: copy(c.Data, page)}, nil
	}
	if page, ok := d.pages[c.CDB[2]]; ok && c.CDB[0] == 0x12 {
		return scsi.Result{Transferred: copy(c.Data, append([]byte{0, c.CDB[2], 0, byte(len(page))}, page...))}, nil
	}
	if data, ok := d.answers[c.CDB[0]]; ok && (c.CDB[0] != 0x9e || c.CDB[1] == 0x17) {
		return scsi.Result{Transferred: copy(c.Data, data)}, nil
	}
	return scsi.Result{Status: 2, DriverStatus: 8, Sense: []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0}}, nil
}

// sas is a SAS drive of which the standard pages are known.
func sas() *scsiDrive {
	naa := append([]byte{0x01, 0x03, 0, 8}, 0x50, 0, 0xc5, 0, 0xa1, 0xb2, 0xc3, 0xd4)
	rotation := append([]byte{0x1c, 0x20}, make([]byte, 58)...)
	return &scsiDrive{number: devices.Number{Major: 8}, inquiry: "SEAGATE ST4000NM0023    0004",
		pages: map[byte][]byte{0x00: {0x00, 0x80, 0x83, 0xb1}, 0x80: []byte("Z1Z0ABCD            "), 0x83: naa, 0xb1: rotation}}
}

// A SAS drive speaks for itself; a USB bridge only for itself, and is not believed; one that is
// there for an ATA drive must pass its commands.
func TestSCSIIdentity(t *testing.T) {
	host := func(d *scsiDrive, usb bool) *devices.Host {
		h := machine().disk("sda", "8:0", "KERNEL")
		if usb {
			at := "sys/devices/pci0000:00/usb2/2-1/host0/target0:0:0/0:0:0:0/block/sda"
			moved := machine()
			for name, content := range h {
				moved[name] = content
				if rest, ok := strings.CutPrefix(name, "sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda"); ok {
					delete(moved, name)
					moved[at+rest] = content
				}
			}
			moved["sys/block/sda"] = "->../devices/pci0000:00/usb2/2-1/host0/target0:0:0/0:0:0:0/block/sda"
			h = moved
		}
		return h.buildWith(t, func(context.Context, string, devices.Access) (devices.Transport, error) { return d, nil })
	}
	for _, x := range []struct {
		name     string
		change   func(*scsiDrive)
		usb      bool
		identity devices.Identity
		state    devices.State
		serial   string
	}{
		{"a SAS drive", func(*scsiDrive) {}, false, devices.IdentityDrive, devices.StateReady, "Z1Z0ABCD"},
		{"after a reset", func(d *scsiDrive) { d.attention = 2 }, false, devices.IdentityDrive, devices.StateReady, "Z1Z0ABCD"},
		{"no serial number", func(d *scsiDrive) { delete(d.pages, 0x80) }, false, devices.IdentityHost, devices.StateUnreadable, "KERNEL"},
		{"a blank serial number", func(d *scsiDrive) { d.pages[0x80] = bytes.Repeat([]byte{' '}, 20) }, false, devices.IdentityHost, devices.StateUnreadable, "KERNEL"},
		{"a name behind the end", func(d *scsiDrive) { d.pages[0x83] = d.pages[0x83][:6] }, false, devices.IdentityHost, devices.StateUnreadable, "KERNEL"},
		{"an ATA drive that does not answer", func(d *scsiDrive) { d.pages[0x00] = []byte{0x89} }, false, devices.IdentityHost, devices.StateUnreadable, "KERNEL"},
		{"a bridge", func(*scsiDrive) {}, true, devices.IdentityHost, devices.StateReady, "USB-KERNEL"},
	} {
		d := sas()
		x.change(d)
		got := onlyDrive(t, host(d, x.usb))
		if got.Identity != x.identity || got.State != x.state || got.Serial != x.serial {
			t.Errorf("%s: %s %s %s %+v", x.name, got.Identity, got.State, got.Serial, got.Reasons)
		}
		if x.name == "a SAS drive" && (got.Model != "SEAGATE ST4000NM0023" || got.WWN != "5000c500a1b2c3d4" || got.Firmware != "0004" || got.Media != devices.MediaMagnetic || got.Protocol != devices.ProtocolSCSI) {
			t.Errorf("%+v", got)
		}
	}
}

// What a SAS drive says of itself can speak against touching it, or against believing in an erase.
func TestSCSIReasons(t *testing.T) {
	sense := func(key, asc, ascq byte) []byte { return []byte{0x72, key, asc, ascq, 0, 0, 0, 0} }
	supported := []byte{0, 3, 0, 10}
	element := make([]byte, 64)
	element[3], element[7], element[32+7], element[32+14], element[32+15] = 1, 1, 1, 1, 0xff
	mode := make([]byte, 8)
	mode[1], mode[3] = 6, 0x80
	for _, x := range []struct {
		name    string
		answers map[byte][]byte
		code    string
		state   devices.State
	}{
		{"nothing to say", nil, "", devices.StateReady},
		{"new firmware waits", map[byte][]byte{0x03: sense(2, 4, 0x1e), 0xa3: supported}, "firmware_pending", devices.StateBlocked},
		{"it sanitizes itself", map[byte][]byte{0x03: sense(2, 4, 0x1b), 0xa3: supported}, devices.ReasonSanitizing, devices.StateBlocked},
		{"it formats itself", map[byte][]byte{0x03: sense(2, 4, 0x04), 0xa3: supported}, devices.ReasonSanitizing, devices.StateBlocked},
		{"a format was cut off", map[byte][]byte{0x03: sense(3, 0x31, 0), 0xa3: supported}, "format_failed", devices.StateReady},
		{"a deferred error", map[byte][]byte{0x03: append([]byte{0x73}, sense(3, 0x31, 3)[1:]...), 0xa3: supported}, "sanitize_unknown", devices.StateReady},
		{"sense of zeros", map[byte][]byte{0x03: make([]byte, 18), 0xa3: supported}, "sanitize_unknown", devices.StateReady},
		{"a head is out of use", map[byte][]byte{0x9e: element}, "depopulated", devices.StateReady},
		{"another unit has no node", map[byte][]byte{0xa0: append([]byte{0, 0, 0, 16, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)}, "unit_unreachable", devices.StateBlocked},
		{"write-protected", map[byte][]byte{0x5a: mode}, "read_only", devices.StateBlocked},
		{"another host is registered", map[byte][]byte{0x5e: {0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x12, 0x34}}, "reserved", devices.StateBlocked},
	} {
		d := sas()
		d.answers = x.answers
		h := machine().disk("sda", "8:0", "KERNEL")
		got := onlyDrive(t, h.buildWith(t, func(context.Context, string, devices.Access) (devices.Transport, error) { return d, nil }))
		all := slices.Concat(got.Reasons, got.Lacks, got.Notes)
		if is := slices.ContainsFunc(all, func(r devices.Reason) bool { return r.Code == x.code && r.Hint != "" }); is != (x.code != "") || got.State != x.state {
			t.Errorf("%s: %s %+v", x.name, got.State, all)
		}
		if x.name == "sense of zeros" && got.Sanitize != nil {
			t.Errorf("%s: %+v", x.name, got.Sanitize)
		}
	}
}
