package devices_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices"
)

// tree is a host as files; a value that begins with "->" is a symbolic link.
type tree map[string]string

// machine is what every host has.
func machine() tree {
	return tree{
		"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw\n",
		"proc/1/mountinfo":    "21 1 0:20 / /proc rw - proc proc rw\n",
		"proc/swaps":          "Filename Type Size Used Priority\n",
		"sys/power/resume":    "0:0\n",
		"sys/block/.keep":     "", // removed below: directories are made by files
	}
}

// disk adds a SCSI disk, as the kernel shows a SATA drive.
func (h tree) disk(name, dev, serial string) tree {
	at := "sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/" + name
	h["sys/block/"+name] = "->../devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/" + name
	h[at+"/size"], h[at+"/dev"], h[at+"/ro"] = "2048", dev, "0"
	h[at+"/queue/logical_block_size"], h[at+"/queue/physical_block_size"], h[at+"/queue/rotational"] = "512", "4096", "0"
	h[at+"/device/vendor"], h[at+"/device/model"], h[at+"/device/rev"] = "ATA     ", "SOME SSD        ", "1.0 "
	h[at+"/device/subsystem"] = "->../../../../../../../../bus/scsi"
	h[at+"/device/vpd_pg80"] = string([]byte{0, 0x80, 0, byte(len(serial))}) + serial
	h[at+"/holders/.keep"], h[at+"/slaves/.keep"] = "", ""
	return h
}

// simple adds a device with nothing but a name, a number and a size.
func (h tree) simple(name, dev, size string) tree {
	at := "sys/block/" + name
	h[at+"/size"], h[at+"/dev"], h[at+"/ro"] = size, dev, "0"
	h[at+"/queue/logical_block_size"] = "512"
	h[at+"/holders/.keep"], h[at+"/slaves/.keep"] = "", ""
	return h
}

func (h tree) nvme(name, dev, transport string) tree {
	h.simple(name, dev, "4096")
	at := "sys/block/" + name + "/device"
	h[at+"/model"], h[at+"/serial"], h[at+"/firmware_rev"], h[at+"/transport"], h[at+"/subsysnqn"] = "NV", "NVSER", "F1", transport, "nqn.x"
	h[at+"/subsystem"] = "->../../../bus/nvme"
	return h
}

func (h tree) partition(disk, name, dev string) tree {
	at := "sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/" + disk + "/" + name
	h[at+"/partition"], h[at+"/dev"], h[at+"/holders/.keep"] = "1", dev, ""
	return h
}

func (h tree) mount(dev, point, source string) tree {
	line := fmt.Sprintf("40 21 %s / %s rw - ext4 %s rw\n", dev, point, source)
	h["proc/self/mountinfo"] += line
	h["proc/1/mountinfo"] += line
	return h
}

func (h tree) with(files tree) tree { maps.Copy(h, files); return h }

func (h tree) build(t *testing.T) *devices.Host {
	t.Helper()
	return h.buildWith(t, func(_ context.Context, node string, _ devices.Access) (devices.Transport, error) {
		// Only drives that may have a command door are opened, and these have none.
		if !strings.HasPrefix(node, "/dev/sd") && !strings.HasPrefix(node, "/dev/nvme") {
			t.Errorf("%s was opened for a listing", node)
		}
		return nil, devices.ErrNoDoor
	})
}

func (h tree) buildWith(t *testing.T, open devices.Opener) *devices.Host {
	t.Helper()
	root := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(h)) {
		path, content := filepath.Join(root, name), h[name]
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch target, link := strings.CutPrefix(content, "->"); {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case filepath.Base(path) == ".keep":
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return devices.NewHost(root, open, nil)
}

func reasons(d devices.Drive) string {
	var codes []string
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, " ")
}

// Every use that a kernel knows of keeps a drive from being chosen, and says so.
func TestStatesAndReasons(t *testing.T) {
	sda := func() tree { return machine().disk("sda", "8:0", "SER1").partition("sda", "sda1", "8:1") }
	cases := []struct {
		name    string
		host    tree
		drive   string
		state   devices.State
		reasons string
	}{
		{"free", sda(), "/dev/sda", devices.StateReady, ""},
		{"mounted", sda().mount("8:0", "/srv", "/dev/sda"), "/dev/sda", devices.StateInUse, "mounted"},
		{"a partition mounted", sda().mount("8:1", "/srv", "/dev/sda1"), "/dev/sda", devices.StateInUse, "mounted"},
		{"root", sda().mount("8:1", "/", "/dev/sda1"), "/dev/sda", devices.StateSystem, "mounted"},
		{"EFI", sda().mount("8:1", "/boot/efi", "/dev/sda1"), "/dev/sda", devices.StateSystem, "mounted"},
		{"mounted under an anonymous number", sda().mount("0:55", "/srv", "/dev/sda1"), "/dev/sda", devices.StateInUse, "mounted"},
		{"mounted in another name space", sda().with(tree{"proc/77/mountinfo": "1 1 8:1 / /x rw - ext4 /dev/sda1 rw\n"}), "/dev/sda", devices.StateInUse, "mounted"},
		{"member of btrfs", sda().with(tree{"sys/fs/btrfs/uuid/devices/sda1": ""}), "/dev/sda", devices.StateInUse, "mounted"},
		{"swap", sda().with(tree{"proc/swaps": "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n", "dev/sda1": ""}), "/dev/sda", devices.StateSystem, "swap"},
		{"hibernation", sda().with(tree{"sys/power/resume": "8:1"}), "/dev/sda", devices.StateSystem, "hibernation"},
		{"held by md", sda().with(tree{"sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1/holders/md0": ""}), "/dev/sda", devices.StateInUse, "held"},
		{"root on LVM", sda().simple("dm-0", "253:0", "100").with(tree{"sys/block/dm-0/slaves/sda1": "", "sys/block/dm-0/dm/name": "vg-root",
			"sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1/holders/dm-0": ""}).mount("253:0", "/", "/dev/mapper/vg-root"),
			"/dev/sda", devices.StateSystem, "mounted held"},
		{"exported by nvmet", sda().with(tree{"sys/kernel/config/nvmet/subsystems/x/namespaces/1/device_path": "/dev/sda\n", "dev/sda": ""}), "/dev/sda", devices.StateInUse, "exported"},
		{"exported by LIO", sda().with(tree{"sys/kernel/config/target/core/iblock_0/x/udev_path": "/dev/sda\n", "dev/sda": ""}), "/dev/sda", devices.StateInUse, "exported"},
		{"read-only", sda().with(tree{"sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/ro": "1"}), "/dev/sda", devices.StateBlocked, "read_only"},
		{"no serial", machine().disk("sda", "8:0", ""), "/dev/sda", devices.StateUnreadable, "no_identity"},
		{"two of one identity", sda().disk("sdb", "8:16", "SER1"), "/dev/sdb", devices.StateBlocked, "duplicate_identity"},
		{"device mapper", machine().simple("dm-0", "253:0", "100"), "/dev/dm-0", devices.StateBlocked, "mapped_device"},
		{"RAID", machine().simple("md127", "9:127", "100"), "/dev/md127", devices.StateBlocked, "mapped_device"},
		{"network block device", machine().simple("nbd0", "43:0", "100"), "/dev/nbd0", devices.StateBlocked, "mapped_device"},
		{"memory", machine().simple("ram0", "1:0", "100"), "/dev/ram0", devices.StateBlocked, "volatile_memory"},
		{"compressed memory", machine().simple("zram0", "251:0", "100"), "/dev/zram0", devices.StateBlocked, "volatile_memory"},
		{"optical", machine().simple("sr0", "11:0", "100"), "/dev/sr0", devices.StateBlocked, "optical"},
		{"empty loop", machine().simple("loop0", "7:0", "0"), "/dev/loop0", devices.StateBlocked, "no_medium"},
		{"loop", machine().simple("loop0", "7:0", "100").with(tree{"sys/block/loop0/loop/backing_file": "/x.img"}), "/dev/loop0", devices.StateReady, ""},
		{"NVMe", machine().nvme("nvme0n1", "259:0", "pcie"), "/dev/nvme0n1", devices.StateReady, ""},
		{"NVMe with its path below", machine().nvme("nvme0n1", "259:0", "pcie").with(tree{"sys/block/nvme0c0n1/hidden": "1", "sys/block/nvme0c0n1/size": "4096"}), "/dev/nvme0n1", devices.StateReady, ""},
		{"zoned", machine().nvme("nvme0n1", "259:0", "pcie").with(tree{"sys/block/nvme0n1/queue/zoned": "host-managed\n"}), "/dev/nvme0n1", devices.StateBlocked, "zones_unknown"},
		{"zoned hard disk", sda().with(tree{"sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/queue/zoned": "host-managed\n"}), "/dev/sda", devices.StateBlocked, "zones_unknown"},
		{"not zoned", machine().nvme("nvme0n1", "259:0", "pcie").with(tree{"sys/block/nvme0n1/queue/zoned": "none\n"}), "/dev/nvme0n1", devices.StateReady, ""},
		{"NVMe over TCP", machine().nvme("nvme0n1", "259:0", "tcp"), "/dev/nvme0n1", devices.StateBlocked, "fabric"},
		{"NVMe over something new", machine().nvme("nvme0n1", "259:0", "carrier-pigeon"), "/dev/nvme0n1", devices.StateBlocked, "fabric"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			drives, err := c.host.build(t).Drives(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(drives, func(d devices.Drive) bool { return d.Nodes[0] == c.drive })
			if at < 0 {
				t.Fatalf("%s is not listed: %+v", c.drive, drives)
			}
			if d := drives[at]; d.State != c.state || reasons(d) != c.reasons {
				t.Fatalf("state %s, reasons %v; want %s, %s", d.State, d.Reasons, c.state, c.reasons)
			}
		})
	}
}

// What cannot be read speaks against every drive.
func TestUndeterminedIsNotReady(t *testing.T) {
	for name, missing := range map[string]string{"mounts": "proc/self/mountinfo", "processes": "proc/1/mountinfo"} {
		t.Run(name, func(t *testing.T) {
			h := machine().disk("sda", "8:0", "SER1")
			delete(h, missing)
			if name == "processes" {
				h["proc/77/fd"] = "not a directory"
			}
			drives, err := h.build(t).Drives(t.Context())
			if err == nil && (len(drives) != 1 || drives[0].State == devices.StateReady || !strings.Contains(reasons(drives[0]), "undetermined")) {
				if name == "processes" {
					return // process 1 may be hidden; the others are looked at
				}
				t.Fatalf("%+v", drives)
			}
		})
	}
	t.Run("no /sys/block", func(t *testing.T) {
		host := devices.NewHost(t.TempDir(), nil, nil)
		if drives, err := host.Drives(t.Context()); err == nil {
			t.Fatalf("%v and no error: a host that cannot be listed is not one without drives", drives)
		}
	})
}

func TestDriveOpenInAnotherProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a device node needs root: run the tests as root to have this one")
	}
	h := machine().disk("sda", "8:0", "SER1")
	host := h.with(tree{"proc/77/comm": "dd\n", "proc/77/fd/.keep": "", "proc/77/mountinfo": "x\n"})
	root := t.TempDir()
	// The node is made in a directory of our own and never opened; only its number is looked at.
	descriptor := filepath.Join(root, "3")
	if err := unix.Mknod(descriptor, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))); err != nil {
		t.Skipf("no device node can be made here: %v", err)
	}
	host["proc/77/fd/3"] = "->" + descriptor
	drives, err := host.build(t).Drives(t.Context())
	if err != nil || drives[0].State != devices.StateInUse || reasons(drives[0]) != "open" {
		t.Fatalf("%+v, %v", drives, err)
	}
	// Its commands can be had by another node, too, whose number is a character device's.
	for number, state := range map[int]devices.State{1: devices.StateInUse, 2: devices.StateReady} {
		door := filepath.Join(root, fmt.Sprint("sg", number))
		if err := unix.Mknod(door, unix.S_IFCHR|0o600, int(unix.Mkdev(21, uint32(number)))); err != nil {
			t.Fatal(err)
		}
		host["proc/77/fd/3"], host["sys/devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda/device/scsi_generic/sg1/dev"] = "->"+door, "21:1\n"
		drives, err := host.build(t).Drives(t.Context())
		if err != nil || drives[0].State != state {
			t.Errorf("21:%d is open: %+v, %v", number, drives, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	drives, err := machine().disk("sda", "8:0", "S\x1bER 1").nvme("nvme0n1", "259:0", "pcie").build(t).Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sda, nvme := drives[0], drives[1]
	if sda.Serial != `S\x1bER 1` || sda.Model != "SOME SSD" || sda.Protocol != devices.ProtocolATA || sda.Firmware != "1.0" {
		t.Errorf("%+v", sda)
	}
	if nvme.Serial != "NVSER" || nvme.WWN != "nqn.x" || nvme.Protocol != devices.ProtocolNVMe {
		t.Errorf("%+v", nvme)
	}
	if sda.Identity != devices.IdentityHost || sda.ID != devices.NewID(sda.Model, sda.Serial, sda.WWN) {
		t.Errorf("identity %s, id %s", sda.Identity, sda.ID)
	}
	if devices.NewID("a", "bc", "") == devices.NewID("ab", "c", "") {
		t.Error("fields of an identity run together")
	}
}

func TestSelect(t *testing.T) {
	host := machine().disk("sda", "8:0", "SER1").disk("sdb", "8:16", "SER2").disk("sdc", "8:32", "SER2").partition("sda", "sda1", "8:1").
		with(tree{"dev/sda": "", "dev/sda1": "", "dev/disk/by-id/x": "->../../sda", "file": "x"}).build(t)
	drives, err := host.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SER1", "/dev/sda", "/dev/../dev/sda", "/dev/disk/by-id/x", string(drives[0].ID)} {
		if got, err := host.Select(drives, []string{name}); err != nil || got[0].Serial != "SER1" {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	for code, names := range map[string][]string{
		"empty": {}, "not_found": {"ser1"}, "ambiguous": {"SER2"}, "duplicate": {"SER1", "/dev/sda"}, "partition": {"/dev/sda1"}, "directory": {"/dev/disk"},
	} {
		_, err := host.Select(drives, names)
		var e *devices.SelectError
		if !errors.As(err, &e) || e.Reason.Code != code || e.Reason.Hint == "" {
			t.Errorf("%v: %v, want %s with a hint", names, err, code)
		}
	}
	for _, name := range []string{"", " ", "sda", "8:0"} {
		if got, err := host.Select(drives, []string{name}); err == nil {
			t.Errorf("%q selected %v", name, got)
		}
	}
}
