package devices

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// door counts what reaches it.
type door struct {
	Transport
	sent int
}

func (d *door) SCSI(context.Context, *scsi.Command) (scsi.Result, error) {
	d.sent++
	return scsi.Result{}, nil
}

func (d *door) NVMe(context.Context, *nvme.Command) (nvme.Completion, error) {
	d.sent++
	return nvme.Completion{Status: 0x1c}, nil
}

// Commands that destroy have a name, and those that only ask or write blocks have none. The data of a command are in
// nothing that is told.
func TestWatcherIsToldOfCommandsThatDestroy(t *testing.T) {
	pass := func(c ata.Command) *scsi.Command {
		s, err := c.SCSI()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	status, err := ata.Sanitize{Feature: ata.SanitizeStatusExt}.Command()
	if err != nil {
		t.Fatal(err)
	}
	secret := [32]byte{}
	copy(secret[:], "a password of thirty-two letters")
	for name, x := range map[string]struct {
		command any
		told    string
	}{
		"format":         {&scsi.Command{CDB: []byte{4, 0, 0, 0, 0, 0}}, "FORMAT UNIT"},
		"sanitize":       {&scsi.Command{CDB: []byte{0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0}}, "SANITIZE"},
		"status":         {pass(status), ""},
		"set password":   {pass(ata.SetPassword(secret, false)), "SECURITY SET PASSWORD"},
		"erase":          {pass(ata.EraseUnit{Password: secret}.Command(ata.Security{})), "SECURITY ERASE UNIT"},
		"ask for AMA":    {pass(ata.AccessibleMax()), ""},
		"set AMA":        {pass(ata.SetAccessibleMax(1)), "ACCESSIBLE MAX ADDRESS CONFIGURATION"},
		"ask for DCO":    {pass(ata.DCOIdentify()), ""},
		"restore DCO":    {pass(ata.DCORestore()), "DEVICE CONFIGURATION RESTORE"},
		"set max":        {pass(ata.SetMax(1, true, true)), "SET MAX ADDRESS"},
		"write":          {&scsi.Command{CDB: make([]byte, 16)}, ""},
		"NVMe sanitize":  {&nvme.Command{Opcode: 0x84, CDW10: 2}, "Sanitize"},
		"NVMe format":    {&nvme.Command{Opcode: 0x80}, "Format NVM"},
		"NVMe log page":  {&nvme.Command{Opcode: 0x02}, ""},
		"I/O of 84h":     {&nvme.Command{Opcode: 0x84, Queue: nvme.IO}, ""},
		"send PINs":      {&nvme.Command{Opcode: 0x81, Data: secret[:]}, "Security Send"},
		"ATA passwords":  {&scsi.Command{CDB: []byte{0xb5, 0xef, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Data: secret[:]}, "SECURITY PROTOCOL OUT"},
		"nothing at all": {&scsi.Command{}, ""},
	} {
		d, told := &door{}, []string{}
		w := watched{d, 0, &watch{watcher: &Watcher{
			Before: func(s Sent) error {
				if bytes.Contains(s.Bytes, secret[:8]) || d.sent > 0 {
					t.Errorf("%s: told %x, after %d were sent", name, s.Bytes, d.sent)
				}
				told = append(told, s.Name)
				return nil
			},
			After: func(_ Sent, a Answer) error {
				if a.Status == "" || d.sent != 1 {
					t.Errorf("%s: %+v", name, a)
				}
				return nil
			},
		}}}
		send := func() (err error) {
			switch c := x.command.(type) {
			case *scsi.Command:
				_, err = w.SCSI(t.Context(), c)
			case *nvme.Command:
				_, err = w.NVMe(t.Context(), c)
			}
			return err
		}
		if err := send(); err != nil || strings.Join(told, ",") != x.told || d.sent != 1 {
			t.Errorf("%s: told of %q, want %q; %v", name, told, x.told, err)
		}
		// What cannot be noted is not sent.
		full := errors.New("no room")
		w.watcher.Before = func(Sent) error { return full }
		d.sent = 0
		if err := send(); x.told != "" && (!errors.Is(err, full) || d.sent != 0) {
			t.Errorf("%s was sent %d times, though it could not be noted: %v", name, d.sent, err)
		}
	}
}

// What a vendor put into a page for himself is pinned and not kept.
func TestPagesKeepNothingOfTheVendors(t *testing.T) {
	data := make([]byte, 4096)
	copy(data, "model")
	copy(data[3072:], "somebody's name")
	p := pageOf("Identify Controller", data, span{3072, 4096})
	if string(p.Data) != "model" || p.Bytes != 4096 || len(p.VendorSHA256) != 64 || !bytes.Equal(data[3072:3075], []byte("som")) {
		t.Errorf("%q, %+v", p.Data, p)
	}
	data[3072]++
	if other := pageOf("Identify Controller", data, span{3072, 4096}); other.VendorSHA256 == p.VendorSHA256 {
		t.Error("another vendor's part has the same hash")
	}
	if short := pageOf("INQUIRY", []byte("short"), span{36, 56}, span{96, 252}); string(short.Data) != "short" || short.VendorSHA256 != "" {
		t.Errorf("%+v", short)
	}
}
