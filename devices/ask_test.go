package devices_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
)

func rackOf(t *testing.T, specs ...virtual.Spec) *virtual.Rack {
	t.Helper()
	r, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		if _, err := r.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func fault(t *testing.T, r *virtual.Rack, serial, text string) {
	t.Helper()
	f, err := virtual.ParseFault(text)
	if err == nil {
		err = r.Fault(serial, f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func onlyDrive(t *testing.T, h *devices.Host) devices.Drive {
	t.Helper()
	list, err := h.Drives(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%d drives, %v", len(list), err)
	}
	return list[0]
}

// What a drive reports of itself stands, and not what the kernel cut short.
func TestDrivesSayWhatTheyAre(t *testing.T) {
	r := rackOf(t, virtual.Spec{Profile: "sata-hdd", Serial: "HDD-1"}, virtual.Spec{Profile: "sata-ssd", Serial: "SSD-1"},
		virtual.Spec{Profile: "nvme-two-namespaces", Serial: "NVME-1", SizeBytes: 8 << 20, LogicalBlock: 4096}, virtual.Spec{Serial: "PLAIN"})
	list, err := r.Host(nil).Drives(t.Context())
	if err != nil || len(list) != 4 {
		t.Fatalf("%d drives, %v", len(list), err)
	}
	at := map[string]devices.Drive{}
	for _, d := range list {
		at[d.Serial] = d
	}
	hdd, ssd, nv := at["HDD-1"], at["SSD-1"], at["NVME-1"]
	if hdd.Model != "Virtual SATA disk of the rack" || hdd.Identity != devices.IdentityDrive || hdd.Protocol != devices.ProtocolATA || hdd.Media != devices.MediaMagnetic ||
		len(hdd.WWN) != 16 || hdd.State != devices.StateReady || hdd.PowerOnHours == nil || *hdd.PowerOnHours != 4380 || hdd.ID != devices.NewID(hdd.Model, hdd.Serial, hdd.WWN) {
		t.Errorf("%+v", hdd)
	}
	if ssd.Media != devices.MediaFlash || ssd.Identity != devices.IdentityDrive {
		t.Errorf("%+v", ssd)
	}
	if nv.Identity != devices.IdentityDrive || nv.WWN == "" || !slices.Equal(nv.Controllers, []string{"/dev/nvme0"}) || nv.State != devices.StateReady || len(nv.Nodes) != 1 || nv.SizeBytes != 8<<20 {
		t.Errorf("%+v", nv)
	}
	if n := nv.Namespaces; len(n) != 2 || !n[0].Attached || n[0].Node != "/dev/nvme0n1" || n[1].Attached || n[1].Node != "" || n[1].SizeBytes != 4<<20 || n[1].NSID != 2 {
		t.Errorf("%+v", n)
	}
	if s := nv.Sanitize; s == nil || !s.Crypto || !s.Block || s.Overwrite || !s.NoDeallocate || s.State != devices.SanitizeIdle || s.EstimateBlock == nil || *s.EstimateBlock != 2 {
		t.Errorf("%+v", s)
	}
	if at["PLAIN"].Identity != devices.IdentityHost || at["PLAIN"].Sanitize != nil {
		t.Errorf("%+v", at["PLAIN"])
	}
}

func TestDrivesThatCannotBeChosen(t *testing.T) {
	sanitizing := func(t *testing.T, r *virtual.Rack) {
		tr, err := r.Opener()(t.Context(), "/dev/nvme0n1", devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		c, err := nvme.Sanitize{SANACT: nvme.BlockErase}.Command()
		if err != nil {
			t.Fatal(err)
		}
		if done, err := tr.NVMe(t.Context(), c); err != nil || done.Err() != nil {
			t.Fatal(done.Err(), err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	opaque := func(t *testing.T, r *virtual.Rack) {
		tr, err := r.Opener()(t.Context(), "/dev/sda", devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ata.Sanitize{Feature: ata.BlockEraseExt}.Command()
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.SCSI()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.SCSI(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name, profile, fault string
		readOnly             bool
		prepare              func(*testing.T, *virtual.Rack)
		state                devices.State
		code                 string
	}{
		{name: "shared with another host", profile: "nvme-shared", state: devices.StateBlocked, code: "shared_subsystem"},
		{name: "sanitizing", profile: "nvme-ssd", prepare: sanitizing, state: devices.StateBlocked, code: devices.ReasonSanitizing},
		{name: "sanitizing, and its registers are lost", profile: "sata-fixed-sense", prepare: opaque, state: devices.StateBlocked, code: devices.ReasonSanitizing},
		{name: "its registers are lost", profile: "sata-fixed-sense", state: devices.StateReady},
		{name: "status log all zero", profile: "nvme-ssd", fault: "log-zero:sanitize", state: devices.StateBlocked, code: "sanitize_unknown"},
		{name: "status log missing", profile: "nvme-ssd", fault: "log-missing:sanitize", state: devices.StateBlocked, code: "sanitize_unknown"},
		{name: "write-protected", profile: "nvme-ssd", readOnly: true, state: devices.StateBlocked, code: "read_only"},
		{name: "SMART log all zero", profile: "nvme-ssd", fault: "log-zero:smart", state: devices.StateReady},
		{name: "SMART log missing", profile: "sata-ssd", fault: "log-missing:smart", state: devices.StateReady},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := rackOf(t, virtual.Spec{Profile: x.profile, Serial: "A", EraseSeconds: 3600, ReadOnly: x.readOnly})
			if x.fault != "" {
				fault(t, r, "A", x.fault)
			}
			if x.prepare != nil {
				x.prepare(t, r)
			}
			d := onlyDrive(t, r.Host(nil))
			has := slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == x.code })
			if d.State != x.state || has != (x.code != "") {
				t.Errorf("%s %+v", d.State, d.Reasons)
			}
			if x.state != devices.StateReady {
				var inUse *devices.InUseError
				if _, err := r.Host(nil).Open(t.Context(), d, devices.OpenOptions{}); !errors.As(err, &inUse) {
					t.Errorf("opened: %v", err)
				}
			}
		})
	}
}

// answers is a transport that answers commands by functions.
type answers struct {
	devices.Transport
	nvme func(*nvme.Command) (nvme.Completion, error)
	scsi func(*scsi.Command) (scsi.Result, error)
}

func (a answers) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if a.nvme == nil {
		return a.Transport.NVMe(ctx, c)
	}
	return a.nvme(c)
}

func (a answers) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if a.scsi == nil {
		return a.Transport.SCSI(ctx, c)
	}
	return a.scsi(c)
}

// An answer that is missing, all zero or of another drive is no identity, and the drive cannot be
// chosen. A process that may not ask is told which capability it lacks.
func TestWhatCannotBeBelieved(t *testing.T) {
	zeros := func(*nvme.Command) (nvme.Completion, error) { return nvme.Completion{}, nil }
	none := func(*scsi.Command) (scsi.Result, error) { return scsi.Result{}, nil }
	lacking := &devices.CapabilityError{Op: "NVMe command 06h", Capability: "CAP_SYS_ADMIN", Err: fs.ErrPermission}
	for name, x := range map[string]struct {
		profile string
		a       answers
		code    string
	}{
		"zeros from a controller":     {"nvme-ssd", answers{nvme: zeros}, "unidentified"},
		"zeros from a translation":    {"sata-hdd", answers{scsi: none}, "unidentified"},
		"refused by the controller":   {"nvme-ssd", answers{nvme: func(*nvme.Command) (nvme.Completion, error) { return nvme.Completion{Status: 1}, nil }}, "unidentified"},
		"a host adapter that is lost": {"sata-hdd", answers{scsi: func(*scsi.Command) (scsi.Result, error) { return scsi.Result{HostStatus: 1}, nil }}, "unidentified"},
		"no capability":               {"nvme-ssd", answers{nvme: func(*nvme.Command) (nvme.Completion, error) { return nvme.Completion{}, lacking }}, "permission"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rackOf(t, virtual.Spec{Profile: x.profile, Serial: "A"})
			h := devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
				tr, err := r.Opener()(ctx, node, access)
				a := x.a
				a.Transport = tr
				return a, err
			}, nil)
			d := onlyDrive(t, h)
			if d.State != devices.StateUnreadable || len(d.Reasons) != 1 || d.Reasons[0].Code != x.code || d.Identity != devices.IdentityHost {
				t.Errorf("%s %s %+v", d.State, d.Identity, d.Reasons)
			}
			if r := d.Reasons[0]; x.code == "permission" && (!strings.Contains(r.Message, "CAP_SYS_ADMIN") || !strings.Contains(r.Hint, "CAP_SYS_ADMIN")) {
				t.Errorf("the capability is not named: %+v", r)
			}
		})
	}
}

// A drive that becomes another one, or whose namespaces change, while it is held is not touched
// any more.
func TestReidentifyAsksTheDrive(t *testing.T) {
	r := rackOf(t, virtual.Spec{Profile: "nvme-two-namespaces", Serial: "A", SizeBytes: 1 << 20})
	swap := ""
	h := devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := r.Opener()(ctx, node, access)
		if err != nil {
			return nil, err
		}
		return answers{Transport: tr, nvme: func(c *nvme.Command) (nvme.Completion, error) {
			done, err := tr.NVMe(ctx, c)
			switch {
			case swap == "serial" && c.Opcode == 6 && c.CDW10 == 1:
				c.Data[4] ^= 1
			case swap == "namespaces" && c.Opcode == 6 && c.CDW10 == 0x10:
				c.Data[4] = 0
			case swap == "controllers" && c.Opcode == 6 && c.CDW10 == 0x13:
				copy(c.Data, []byte{2, 0, 1, 0, 2, 0})
			case swap == "silent":
				return nvme.Completion{}, errors.New("no answer")
			}
			return done, err
		}}, nil
	}, nil)
	handle, err := h.Open(t.Context(), onlyDrive(t, h), devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.Reidentify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, swap = range []string{"serial", "namespaces", "controllers"} {
		if err := handle.Reidentify(t.Context()); !errors.Is(err, devices.ErrChanged) {
			t.Errorf("%s: %v", swap, err)
		}
	}
	swap = "silent"
	if err := handle.Reidentify(t.Context()); err == nil {
		t.Error("a drive that does not answer was taken for the one that did")
	}
	swap = ""
	if s, err := handle.Health(t.Context()); err != nil || s.TemperatureC == nil || *s.TemperatureC != 34 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := handle.Close(); err != nil {
		t.Fatal(err)
	}
}

// A controller without a namespace that can be reached is in the list all the same.
func TestControllerWithoutNamespaceIsListed(t *testing.T) {
	h := machine().with(tree{
		"sys/devices/pci0/nvme/nvme3/model": "NV", "sys/devices/pci0/nvme/nvme3/serial": "S3", "sys/devices/pci0/nvme/nvme3/transport": "pcie",
		"sys/class/nvme/nvme3": "->../../devices/pci0/nvme/nvme3",
	}).build(t)
	d := onlyDrive(t, h)
	if d.Serial != "S3" || d.State != devices.StateBlocked || reasons(d) != "no_namespace" {
		t.Errorf("%+v", d)
	}
}

// A drive that is being asked while it is busy for long does not hold the list up for ever.
func TestListingEndsWithItsContext(t *testing.T) {
	r := rackOf(t, virtual.Spec{Profile: "nvme-ssd", Serial: "A"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	h := devices.NewHost(r.Root(), func(ctx context.Context, _ string, _ devices.Access) (devices.Transport, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, nil)
	if list, err := h.Drives(ctx); err == nil {
		t.Errorf("%+v", list)
	}
}

// Controllers that are all in this host are no other host's; one more is. A path that cannot be asked
// what it is may be in use, and keeps the drive from being touched by another.
func TestControllersAndPathsThatAreNotKnown(t *testing.T) {
	for _, x := range []struct {
		name, profile, code string
		twist               func(node string, c *nvme.Command, s *scsi.Command) error
	}{
		{"a third controller elsewhere", "nvme-two-controllers", "shared_subsystem", func(_ string, c *nvme.Command, _ *scsi.Command) error {
			if c != nil && c.Opcode == 6 && c.CDW10 == 0x13 {
				copy(c.Data, []byte{3, 0, 1, 0, 2, 0, 3, 0})
			}
			return nil
		}},
		{"a list without the one that was asked", "nvme-ssd", "shared_subsystem", func(_ string, c *nvme.Command, _ *scsi.Command) error {
			if c != nil && c.Opcode == 6 && c.CDW10 == 0x13 {
				copy(c.Data, []byte{1, 0, 7, 0})
			}
			return nil
		}},
		{"the second controller does not answer", "nvme-two-controllers", "duplicate_identity", func(node string, c *nvme.Command, _ *scsi.Command) error {
			if node == "/dev/nvme1n1" {
				return errors.New("no answer")
			}
			return nil
		}},
		{"the second port does not answer", "sas-multipath", "duplicate_identity", func(node string, _ *nvme.Command, s *scsi.Command) error {
			if node == "/dev/sdb" {
				return errors.New("no answer")
			}
			return nil
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := rackOf(t, virtual.Spec{Profile: x.profile, Serial: "A", SizeBytes: 1 << 20})
			h := devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
				tr, err := r.Opener()(ctx, node, access)
				return answers{Transport: tr, nvme: func(c *nvme.Command) (nvme.Completion, error) {
					done, err := tr.NVMe(ctx, c)
					return done, errors.Join(err, x.twist(node, c, nil))
				}, scsi: func(s *scsi.Command) (scsi.Result, error) {
					done, err := tr.SCSI(ctx, s)
					return done, errors.Join(err, x.twist(node, nil, s))
				}}, err
			}, nil)
			drives, err := h.Drives(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range drives {
				if d.State == devices.StateReady {
					t.Errorf("%q is ready", d.Nodes)
				}
			}
			if !slices.ContainsFunc(drives[0].Reasons, func(r devices.Reason) bool { return r.Code == x.code }) {
				t.Errorf("%+v", drives[0].Reasons)
			}
		})
	}
}

// The hours that a SCSI drive had power are told as those of the others are.
func TestSCSIPowerOnHours(t *testing.T) {
	d := onlyDrive(t, rackOf(t, virtual.Spec{Profile: "sas-hdd", Serial: "A"}).Host(nil))
	if d.PowerOnHours == nil || *d.PowerOnHours != 4380 {
		t.Errorf("%v hours", d.PowerOnHours)
	}
}
