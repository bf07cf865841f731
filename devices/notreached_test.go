package devices_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// controller adds a PCI device with a driver, which may be "" for none.
func (h tree) controller(address, class, vendor, driver string) tree {
	at := "sys/devices/pci0000:00/" + address
	h["sys/bus/pci/devices/"+address] = "->../../../devices/pci0000:00/" + address
	h[at+"/class"], h[at+"/vendor"] = class, vendor
	if driver != "" {
		h["sys/bus/pci/drivers/"+driver+"/.keep"] = ""
		h[at+"/driver"] = "->../../../bus/pci/drivers/" + driver
	}
	return h
}

// volume adds a disk that a controller makes, below it.
func (h tree) volume(name, dev, address, vendor string) tree {
	at := "sys/devices/pci0000:00/" + address + "/host2/target2:2:0/2:2:0:0/block/" + name
	h["sys/block/"+name] = "->../devices/pci0000:00/" + address + "/host2/target2:2:0/2:2:0:0/block/" + name
	h[at+"/size"], h[at+"/dev"], h[at+"/ro"] = "2048", dev, "0"
	h[at+"/queue/logical_block_size"], h[at+"/queue/physical_block_size"], h[at+"/queue/rotational"] = "512", "4096", "0"
	h[at+"/device/vendor"], h[at+"/device/model"] = vendor, "LOGICAL VOLUME"
	h[at+"/device/subsystem"] = "->../../../../../../../../../bus/scsi"
	h[at+"/device/vpd_pg80"] = string([]byte{0, 0x80, 0, 3}) + "VOL"
	h[at+"/holders/.keep"], h[at+"/slaves/.keep"] = "", ""
	return h
}

// Drives that hide behind a controller are never passed over in silence.
func TestNotReached(t *testing.T) {
	const raid, sas, nvme = "0x010400", "0x010700", "0x010802"
	for _, c := range []struct {
		name   string
		host   tree
		code   string // "" for nothing to report
		driver string
		nodes  int
	}{
		{"no PCI at all", machine(), "", "", 0},
		{"a host bus adapter", machine().controller("0000:03:00.0", sas, "0x1000", "mpt3sas"), "", "", 0},
		{"MegaRAID", machine().controller("0000:03:00.0", raid, "0x1000", "megaraid_sas"), devices.ReasonRAID, "megaraid_sas", 0},
		{"MegaRAID with a volume", machine().controller("0000:03:00.0", raid, "0x1000", "megaraid_sas").volume("sda", "8:0", "0000:03:00.0", "AVAGO"), devices.ReasonRAID, "megaraid_sas", 1},
		{"Smart Array", machine().controller("0000:03:00.0", raid, "0x103c", "hpsa"), devices.ReasonRAID, "hpsa", 0},
		{"Smart RAID", machine().controller("0000:03:00.0", sas, "0x9005", "smartpqi"), devices.ReasonRAID, "smartpqi", 0},
		{"a RAID controller without a driver", machine().controller("0000:03:00.0", raid, "0x1000", ""), devices.ReasonRAID, "", 0},
		{"VMD without a driver", machine().controller("0000:00:0e.0", raid, "0x8086", ""), devices.ReasonVMD, "", 0},
		{"VMD and nothing behind it", machine().controller("0000:00:0e.0", raid, "0x8086", "vmd"), devices.ReasonVMD, "vmd", 0},
		{"VMD with a drive that is listed", machine().controller("0000:00:0e.0", raid, "0x8086", "vmd").volume("sda", "8:0", "0000:00:0e.0", "ANY"), "", "", 0},
		{"an NVMe drive without a driver", machine().controller("0000:04:00.0", nvme, "0x144d", ""), "", "", 0},
	} {
		list, err := c.host.build(t).NotReached()
		if err != nil {
			t.Fatal(err)
		}
		if (len(list) == 1) != (c.code != "") || len(list) > 1 {
			t.Errorf("%s: %+v", c.name, list)
			continue
		}
		if c.code != "" && (list[0].Reason.Code != c.code || list[0].Driver != c.driver || len(list[0].Nodes) != c.nodes || list[0].Reason.Hint == "") {
			t.Errorf("%s: %+v", c.name, list[0])
		}
	}
}

// scsiDevice adds a SCSI device that the kernel has found.
func (h tree) scsiDevice(address, kind string, block bool) tree {
	at := "sys/devices/pci0000:00/0000:03:00.0/host0/target0:0:0/" + address
	h["sys/bus/scsi/devices/"+address] = "->../../../devices/pci0000:00/0000:03:00.0/host0/target0:0:0/" + address
	h[at+"/type"], h[at+"/vendor"], h[at+"/model"] = kind, "HGST    ", "HSH721414AL52M0 "
	if block {
		h[at+"/block/sdx/dev"] = "8:16"
	}
	return h
}

// A disk without a block device, as a kernel without zoned ones leaves a host-managed one, is in no list of
// drives: it is named. What is no disk is not.
func TestDisksWithoutABlockDevice(t *testing.T) {
	for _, c := range []struct {
		kind  string
		block bool
		hint  string // "" for nothing to report
	}{
		{"20", false, "CONFIG_BLK_DEV_ZONED"}, {"0", false, "sd_mod"}, {"7", false, "sd_mod"}, {"20", true, ""}, {"0", true, ""},
		{"14", false, ""}, {"13", false, ""}, {"5", false, ""}, {"30", false, ""}, {"", false, ""},
	} {
		list, err := machine().scsiDevice("0:0:0:0", c.kind, c.block).build(t).NotReached()
		if err != nil {
			t.Fatal(err)
		}
		if (len(list) == 1) != (c.hint != "") || len(list) > 1 {
			t.Errorf("type %q, block device %v: %+v", c.kind, c.block, list)
			continue
		}
		if c.hint != "" && (list[0].Name != "HGST HSH721414AL52M0 at 0:0:0:0" || list[0].Reason.Code != devices.ReasonNoBlockDevice || !strings.Contains(list[0].Reason.Hint, c.hint)) {
			t.Errorf("type %q: %+v", c.kind, list[0])
		}
	}
}

// A volume of a RAID controller has an identity that the controller made: it is never a drive's.
func TestVolumesAreNoDrives(t *testing.T) {
	for driver, identity := range map[string]devices.Identity{"megaraid_sas": devices.IdentityHost, "mpt3sas": devices.IdentityDrive} {
		h := machine().controller("0000:03:00.0", "0x010400", "0x1000", driver).volume("sda", "8:0", "0000:03:00.0", "AVAGO")
		d := sas()
		d.inquiry = "AVAGO   LOGICAL VOLUME  1.00"
		got := onlyDrive(t, h.buildWith(t, func(context.Context, string, devices.Access) (devices.Transport, error) { return d, nil }))
		if got.Identity != identity || got.State != devices.StateReady {
			t.Errorf("behind %s: %s %s %+v", driver, got.Identity, got.State, got.Reasons)
		}
		noted := slices.ContainsFunc(got.Notes, func(r devices.Reason) bool { return r.Code == "logical_device" })
		if noted != (identity == devices.IdentityHost) {
			t.Errorf("behind %s: %+v", driver, got.Notes)
		}
	}
	if _, err := devices.NewHost(t.TempDir(), nil, nil).Drives(t.Context()); err == nil || errors.Is(err, devices.ErrNotFound) {
		t.Errorf("a host without sysfs: %v", err)
	}
}
