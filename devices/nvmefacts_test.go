package devices_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// answering is a host on a rack whose drives' answers are changed on their way.
func answering(r *virtual.Rack, change func(node string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error)) *devices.Host {
	return devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := r.Opener()(ctx, node, access)
		if err != nil {
			return nil, err
		}
		return answers{Transport: tr, nvme: func(c *nvme.Command) (nvme.Completion, error) {
			done, err := tr.NVMe(ctx, c)
			if err != nil {
				return done, err
			}
			return change(node, c, done)
		}}, nil
	}, nil)
}

func said(d devices.Drive) string {
	var words []string
	for list, reasons := range map[string][]devices.Reason{"reason": d.Reasons, "lack": d.Lacks, "note": d.Notes, "beside": d.Beside} {
		for _, r := range reasons {
			words = append(words, list+" "+r.Code+": "+r.Message)
			if r.Hint == "" && list != "beside" {
				words = append(words, "no hint")
			}
		}
	}
	slices.Sort(words)
	return strings.Join(words, "\n")
}

// What an NVMe drive says of its condition, and of what it has beside its blocks, is in the list.
func TestFactsOfNVMeDrives(t *testing.T) {
	for _, x := range []struct {
		name  string
		spec  virtual.Spec
		fault string
		want  string
	}{
		{name: "nothing to say", spec: virtual.Spec{Profile: "nvme-ssd"}},
		{name: "firmware", spec: virtual.Spec{Profile: "nvme-firmware-pending"},
			want: "lack firmware_pending: new firmware (VIRT1.1, in slot 2) waits to be activated: until then the drive does not erase itself"},
		{name: "beside", spec: virtual.Spec{Profile: "nvme-boot"},
			want: "beside boot_partitions: 2 boot partitions of 512 KiB\nbeside rpmb: replay protected memory blocks (RPMB): 1 of 1024 KiB"},
		{name: "spare and temperature", spec: virtual.Spec{Profile: "nvme-ssd"}, fault: "smart-critical:3",
			want: "note critical_warning: it warns: it runs out of spare blocks, its temperature is out of bounds"},
		{name: "region", spec: virtual.Spec{Profile: "nvme-pmr"}, fault: "smart-critical:32",
			want: "note critical_warning: it warns: its persistent memory region is read-only or unreliable"},
		{name: "read-only", spec: virtual.Spec{Profile: "nvme-ssd"}, fault: "smart-critical:8",
			want: "lack read_only_medium: its media are read-only: the host cannot write to it, not even markers\nnote critical_warning: it warns: its media are read-only"},
		{name: "SMART log is zero", spec: virtual.Spec{Profile: "nvme-ssd"}, fault: "log-zero:smart"},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.spec.Serial = "A"
			r := rackOf(t, x.spec)
			if x.fault != "" {
				fault(t, r, "A", x.fault)
			}
			if d := onlyDrive(t, r.Host(nil)); d.State != devices.StateReady || said(d) != x.want {
				t.Errorf("%s\n%s", d.State, said(d))
			}
		})
	}
}

// Answers that no virtual drive gives: what is missing or malformed is unknown, and said to be.
func TestFactsThatCannotBeTold(t *testing.T) {
	for _, x := range []struct {
		name, profile, want string
		change              func(c *nvme.Command, done nvme.Completion) nvme.Completion
	}{
		{"no firmware log", "nvme-firmware-pending", "note firmware_unknown: whether new firmware waits to be activated cannot be told: NVMe status 109h: invalid log page", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 2 && c.CDW10&0xff == 3 {
				done.Status = nvme.StatusInvalidLogPage
			}
			return done
		}},
		{"it is sanitizing itself", "nvme-ssd", "", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 2 && c.CDW10&0xff == 3 {
				done.Status = nvme.StatusSanitizeInProgress
			}
			return done
		}},
		{"a firmware log of zeros", "nvme-firmware-pending", "note firmware_unknown: whether new firmware waits to be activated cannot be told: firmware slot log: slot 0 runs and slot 0 is next, of 2 slots", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 2 && c.CDW10&0xff == 3 {
				clear(c.Data)
			}
			return done
		}},
		{"boot partitions of no size", "nvme-boot", "beside boot_partitions: 2 boot partitions, of a size that it does not tell", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 2 && c.CDW10&0xff == 0x15 {
				clear(c.Data)
			}
			if c.Opcode == 6 && c.CDW10 == 1 {
				clear(c.Data[312:316]) // no RPMB
			}
			return done
		}},
		{"boot partitions that may be there", "nvme-boot", "beside boot_partitions: boot partitions, if it has any: it does not tell", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 2 && c.CDW10&0xff == 0x15 {
				done.Status = nvme.StatusInvalidLogPage
			}
			if c.Opcode == 6 && c.CDW10 == 1 {
				clear(c.Data[312:316])
				c.Data[102] = 1
			}
			return done
		}},
		{"a drive of NVMe 1.4", "nvme-ssd", "beside boot_partitions: boot partitions, if it has any: a drive of NVMe 1.4 does not tell", func(c *nvme.Command, done nvme.Completion) nvme.Completion {
			if c.Opcode == 6 && c.CDW10 == 1 {
				copy(c.Data[80:], []byte{0, 4, 1, 0})
			}
			return done
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := rackOf(t, virtual.Spec{Profile: x.profile, Serial: "A"})
			d := onlyDrive(t, answering(r, func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				return x.change(c, done), nil
			}))
			if d.State != devices.StateReady || said(d) != x.want {
				t.Errorf("%s\n%s", d.State, said(d))
			}
		})
	}
}

// Reservations of other hosts keep a drive from being chosen, on each of its namespaces; what is no answer to
// that question does, too.
func TestReservationsOfNVMeDrives(t *testing.T) {
	report := func(c *nvme.Command) bool { return c.Queue == nvme.IO && c.Opcode == 0x0e }
	status := func(code uint16) func(string, *nvme.Command, nvme.Completion) (nvme.Completion, error) {
		return func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
			if report(c) {
				done.Status = code
			}
			return done, nil
		}
	}
	const unknown = "reason reserved: namespace 1 has reservations, and whether another host has reserved it cannot be told: "
	for _, x := range []struct {
		name   string
		spec   virtual.Spec
		change func(node string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error)
		state  devices.State
		want   string
	}{
		{name: "it has none", spec: virtual.Spec{}},
		{name: "nobody is registered", spec: virtual.Spec{ReservedBy: "0"}},
		{name: "one holds it", spec: virtual.Spec{ReservedBy: "abc"}, state: devices.StateBlocked,
			want: "reason reserved: another host has reserved it: 1 registered for namespace 1, one with key 0000000000000abc, which holds it (write exclusive)"},
		{name: "three are registered, on two namespaces", spec: virtual.Spec{ReservedBy: "abc", Registrants: 2, SecondNamespace: true, AttachAll: true}, state: devices.StateBlocked,
			want: "reason reserved: another host has reserved it: 3 registered for namespace 1, one with key 0000000000000abc, which holds it (write exclusive)\n" +
				"reason reserved: another host has reserved it: 3 registered for namespace 2, one with key 0000000000000abc, which holds it (write exclusive)"},
		{name: "registered, and not held", spec: virtual.Spec{ReservedBy: "abc"}, state: devices.StateBlocked,
			change: func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				if report(c) {
					c.Data[4], c.Data[24+2] = 0, 0
				}
				return done, nil
			}, want: "reason reserved: another host has reserved it: 1 registered for namespace 1, one with key 0000000000000abc, and nobody holds it"},
		{name: "the drive wants the extended form", spec: virtual.Spec{ReservedBy: "abc", Registrants: 1}, state: devices.StateBlocked,
			change: func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				if report(c) && c.CDW11&1 == 0 {
					clear(c.Data)
					done.Status = nvme.StatusHostIDFormat
				}
				return done, nil
			}, want: "reason reserved: another host has reserved it: 2 registered for namespace 1, one with key 0000000000000abc, which holds it (write exclusive)"},
		{name: "the report fails", spec: virtual.Spec{ReservedBy: "0"}, change: status(nvme.StatusInvalidOpcode), state: devices.StateBlocked, want: unknown + "NVMe status 001h: invalid command opcode"},
		{name: "neither form is taken", spec: virtual.Spec{ReservedBy: "0"}, change: status(nvme.StatusHostIDFormat), state: devices.StateBlocked, want: unknown + "NVMe status 018h: host identifier in another format"},
		{name: "nothing is written to the buffer", spec: virtual.Spec{ReservedBy: "0"}, state: devices.StateBlocked,
			change: func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				if report(c) {
					copy(c.Data, nvme.ReservationReport{}.Command().Data)
				}
				return done, nil
			}, want: unknown + "malformed: reservation report: reserved type 255"},
		{name: "no door for it", spec: virtual.Spec{ReservedBy: "0"}, state: devices.StateBlocked,
			change: func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				if report(c) {
					return nvme.Completion{}, devices.ErrNoDoor
				}
				return done, nil
			}, want: unknown + devices.ErrNoDoor.Error()},
		{name: "no permission", spec: virtual.Spec{ReservedBy: "0"}, state: devices.StateUnreadable,
			change: func(node string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
				if report(c) {
					return nvme.Completion{}, &devices.CapabilityError{Op: "NVMe command 0eh on " + node, Capability: "CAP_SYS_ADMIN", Err: fs.ErrPermission}
				}
				return done, nil
			}, want: "reason permission: it cannot be asked what it is: whether another host has reserved namespace 1: NVMe command 0eh on /dev/nvme0n1: permission denied: the process lacks CAP_SYS_ADMIN"},
		{name: "it is at work by itself", spec: virtual.Spec{ReservedBy: "abc"}, change: status(nvme.StatusSanitizeInProgress)},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.spec.Profile, x.spec.Serial = "nvme-ssd", "A"
			r := rackOf(t, x.spec)
			h := r.Host(nil)
			if x.change != nil {
				h = answering(r, x.change)
			}
			if x.state == "" {
				x.state = devices.StateReady
			}
			if d := onlyDrive(t, h); d.State != x.state || said(d) != x.want {
				t.Errorf("%s\n%s", d.State, said(d))
			}
		})
	}
}

// A host that registers while the drive is held has the drive: nothing more is sent to it.
func TestReservedWhileHeld(t *testing.T) {
	r := rackOf(t, virtual.Spec{Profile: "nvme-ssd", Serial: "A", ReservedBy: "0"})
	registered := false
	h := answering(r, func(_ string, c *nvme.Command, done nvme.Completion) (nvme.Completion, error) {
		if registered && c.Queue == nvme.IO && c.Opcode == 0x0e {
			c.Data[5] = 1
		}
		return done, nil
	})
	handle, err := h.Open(t.Context(), onlyDrive(t, h), devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := handle.Reidentify(t.Context()); err != nil {
		t.Error(err)
	}
	registered = true
	if err := handle.Reidentify(t.Context()); !errors.Is(err, devices.ErrChanged) {
		t.Error(err)
	}
	if err := handle.Close(); err != nil {
		t.Error(err)
	}
}
