package devices_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// lights are all lights of a rack that are on, by the last parts of their names.
func lights(t *testing.T, root string) string {
	t.Helper()
	var on []string
	for _, pattern := range []string{"sys/class/enclosure/*/*/locate", "sys/bus/pci/slots/*/attention"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.TrimSpace(string(data)); text != "0" {
				on = append(on, filepath.Base(filepath.Dir(f))+"="+text)
			}
		}
	}
	return strings.Join(on, " ")
}

// shelved is a rack with drives in slots, and a host that never gives a node for writing.
func shelved(t *testing.T) (*virtual.Rack, *devices.Host) {
	t.Helper()
	in := func(profile, serial string, slot int) virtual.Spec {
		return virtual.Spec{Profile: profile, Serial: serial, SizeBytes: 4 << 20, Slot: slot}
	}
	rack := rackOf(t, in("sas-hdd", "A", 3), in("sata-ssd", "B", 4), in("nvme-ssd", "N", 5), in("sas-multipath", "M", 6), in("sas-ssd", "LOOSE", 0))
	return rack, devices.NewHost(rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		if access != devices.ReadOnly {
			t.Errorf("%s was opened for writing", node)
			return nil, devices.ErrNoDoor
		}
		return rack.Opener()(ctx, node, access)
	}, nil)
}

func named(t *testing.T, host *devices.Host, serial string) devices.Drive {
	t.Helper()
	drives, err := host.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := host.Select(drives, []string{serial})
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// The light that is lit is that of the slot that holds the drive, and no other.
func TestLocate(t *testing.T) {
	rack, host := shelved(t)
	for _, c := range []struct{ serial, light string }{{"A", "Slot 03=1"}, {"B", "Slot 04=1"}, {"N", "5=1"}, {"M", "Slot 06=1"}} {
		d := named(t, host, c.serial)
		for range 2 {
			if err := host.Locate(t.Context(), d, true); err != nil || lights(t, rack.Root()) != c.light {
				t.Fatalf("%s: %v; on: %q", c.serial, err, lights(t, rack.Root()))
			}
		}
		if err := host.Locate(t.Context(), d, false); err != nil || lights(t, rack.Root()) != "" {
			t.Fatalf("%s off: %v; on: %q", c.serial, err, lights(t, rack.Root()))
		}
	}
	if err := host.Locate(t.Context(), named(t, host, "LOOSE"), true); !errors.Is(err, devices.ErrNoEnclosure) || lights(t, rack.Root()) != "" {
		t.Errorf("a drive in no slot: %v", err)
	}
}

// Behind a VMD the same file has other words, and 1 there would not be its light.
func TestLocateBehindVMD(t *testing.T) {
	rack, host := shelved(t)
	above := filepath.Join(rack.Root(), "sys/devices/pci0000:00/driver")
	if err := os.Symlink("../../bus/pci/drivers/vmd", above); err != nil {
		t.Fatal(err)
	}
	d := named(t, host, "N")
	if err := host.Locate(t.Context(), d, true); err != nil || lights(t, rack.Root()) != "5=7" {
		t.Errorf("%v; on: %q", err, lights(t, rack.Root()))
	}
	if err := host.Locate(t.Context(), d, false); err != nil || lights(t, rack.Root()) != "5=15" {
		t.Errorf("%v; on: %q", err, lights(t, rack.Root()))
	}
}

// A light is on when the kernel shows it on, whatever became of the word that it was given.
func TestLightThatDoesNotObey(t *testing.T) {
	for name, c := range map[string]struct {
		instead string // of the file
		is      func(error) bool
	}{
		"takes the word and stays dark": {"/dev/null", func(err error) bool {
			var e *devices.LightError
			return errors.As(err, &e) && e.Err == nil && strings.Contains(err.Error(), "was told so")
		}},
		"the kernel refuses": {"/dev/full", func(err error) bool {
			var e *devices.LightError
			return errors.As(err, &e) && e.Err != nil
		}},
		"there is none": {"", func(err error) bool { return errors.Is(err, devices.ErrNoLight) }},
	} {
		t.Run(name, func(t *testing.T) {
			rack, host := shelved(t)
			files, err := filepath.Glob(filepath.Join(rack.Root(), "sys/class/enclosure/*/Slot 03/locate"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
			if c.instead != "" {
				if err := os.Symlink(c.instead, files[0]); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) { // what is waited for takes no time
				if err := host.Locate(t.Context(), named(t, host, "A"), true); !c.is(err) {
					t.Errorf("%v", err)
				}
			})
			if _, err := os.Lstat(files[0]); c.instead == "" && err == nil {
				t.Error("a light was made where none is")
			}
		})
	}
}

// seats are the links by which a rack shows which drive is in a slot.
func seats(t *testing.T, rack *virtual.Rack, slot string) (link, device string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(rack.Root(), "sys/class/enclosure/*", slot, "device"))
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if device, err = filepath.EvalSymlinks(list[0]); err != nil {
		t.Fatal(err)
	}
	return list[0], device
}

// Between a listing and the light, drives are pulled and put elsewhere: no light is lit at a slot where the drive is not.
func TestLocateAfterDrivesWereMoved(t *testing.T) {
	rack, host := shelved(t)
	a := named(t, host, "A")
	three, deviceA := seats(t, rack, "Slot 03")
	four, deviceB := seats(t, rack, "Slot 04")
	for link, to := range map[string]string{three: deviceB, four: deviceA, filepath.Join(deviceA, "enclosure_device:Slot 04"): filepath.Dir(four),
		filepath.Join(deviceB, "enclosure_device:Slot 03"): filepath.Dir(three)} {
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, old := range []string{filepath.Join(deviceA, "enclosure_device:Slot 03"), filepath.Join(deviceB, "enclosure_device:Slot 04")} {
		if err := os.Remove(old); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.Locate(t.Context(), a, true); !errors.Is(err, devices.ErrChanged) || lights(t, rack.Root()) != "" {
		t.Errorf("it was in slot 3 and is in 4: %v; on: %q", err, lights(t, rack.Root()))
	}
	if err := host.Locate(t.Context(), named(t, host, "A"), true); err != nil || lights(t, rack.Root()) != "Slot 04=1" {
		t.Errorf("listed again: %v; on: %q", err, lights(t, rack.Root()))
	}
	b := named(t, host, "B")
	pull(t, rack, "B")
	if err := host.Locate(t.Context(), b, true); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("a drive that was pulled: %v", err)
	}
}

// Another drive at the node that was asked who it is, before the light is lit: what the kernel counts says so.
func TestLocateWhenTheNodeIsAnotherDrives(t *testing.T) {
	rack, host := shelved(t)
	a := named(t, host, "A")
	swapped := devices.NewHost(rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		if node == "/dev/sda" {
			if err := os.WriteFile(filepath.Join(rack.Root(), "sys/block/sda/diskseq"), []byte("4711\n"), 0o644); err != nil {
				t.Error(err)
			}
		}
		return rack.Opener()(ctx, node, access)
	}, nil)
	if err := swapped.Locate(t.Context(), a, true); !errors.Is(err, devices.ErrChanged) || lights(t, rack.Root()) != "" {
		t.Errorf("%v; on: %q", err, lights(t, rack.Root()))
	}
}

// pull takes a drive out of a rack.
func pull(t *testing.T, rack *virtual.Rack, serial string) {
	t.Helper()
	if err := rack.Fault(serial, virtual.Fault{Kind: virtual.Pulled, Count: 1}); err != nil {
		t.Fatal(err)
	}
	list, err := rack.Drives()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Spec.Serial != serial {
			continue
		}
		tr, err := rack.Opener()(t.Context(), i.Node, devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		q, err := tr.Queue(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := blockio.ReadFull(t.Context(), q, blockio.AlignedBuffer(4096), 0, 512); !devices.IsGone(err) {
			t.Fatalf("it was pulled: %v", err)
		}
		if err := errors.Join(q.Close(), tr.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
