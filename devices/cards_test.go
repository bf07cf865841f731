package devices_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

const (
	emmcCard = "sys/devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:0001"
	ndBus    = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0"
	ufsHost  = "sys/devices/platform/soc/1d84000.ufshc/host0"
)

// block adds a block device at a place on the buses; up is from its directory to that of its device.
func (h tree) block(at, dev, size, up string) tree {
	name := at[strings.LastIndex(at, "/")+1:]
	h["sys/block/"+name] = "->../" + strings.TrimPrefix(at, "sys/")
	h[at+"/size"], h[at+"/dev"], h[at+"/ro"], h[at+"/device"] = size, dev, "0", "->"+up
	h[at+"/queue/logical_block_size"], h[at+"/queue/physical_block_size"], h[at+"/queue/rotational"] = "512", "512", "0"
	h[at+"/holders/.keep"], h[at+"/slaves/.keep"] = "", ""
	return h
}

// bus puts a device on a bus.
func (h tree) bus(at, name string) tree {
	h["sys/bus/"+name+"/devices/.keep"] = ""
	h[at+"/subsystem"] = "->" + strings.Repeat("../", strings.Count(at, "/")) + "bus/" + name
	return h
}

// emmc is one as a kernel shows it, with all that it can have beside its user area.
func (h tree) emmc() tree {
	h.block(emmcCard+"/block/mmcblk0", "179:0", "8192", "../..").bus(emmcCard, "mmc")
	h["sys/class/block/.keep"] = ""
	h[emmcCard+"/block/mmcblk0/subsystem"] = "->" + strings.Repeat("../", strings.Count(emmcCard, "/")+2) + "class/block"
	for name, dev := range map[string]string{"mmcblk0boot0": "179:8", "mmcblk0boot1": "179:16", "mmcblk0gp0": "179:24"} {
		h.block(emmcCard+"/block/mmcblk0/"+name, dev, "64", "..")
		h[emmcCard+"/block/mmcblk0/"+name+"/force_ro"] = "1"
	}
	h[emmcCard+"/block/mmcblk0/mmcblk0boot0/ro"] = "1"
	maps.Copy(h, tree{
		emmcCard + "/type": "MMC", emmcCard + "/cid": "150100424a4e423452079ed12a8b7a00", emmcCard + "/name": "BJNB4R", emmcCard + "/serial": "0x9ed12a8b",
		emmcCard + "/manfid": "0x000015", emmcCard + "/oemid": "0x0100", emmcCard + "/fwrev": "0x0700000000000000", emmcCard + "/raw_rpmb_size_mult": "0x20",
		emmcCard + "/mmcblk0rpmb/dev":                   "240:0",
		emmcCard + "/block/mmcblk0/mmcblk0p1/partition": "1", emmcCard + "/block/mmcblk0/mmcblk0p1/dev": "179:1", emmcCard + "/block/mmcblk0/mmcblk0p1/holders/.keep": "",
	})
	return h
}

// ufs is a device with two units that have blocks, and its well-known ones.
func (h tree) ufs() tree {
	for lun, name := range []string{"sda", "sdb"} {
		unit := ufsHost + "/target0:0:0/0:0:0:" + string(rune('0'+lun))
		h.block(unit+"/block/"+name, "8:"+[]string{"0", "16"}[lun], "2048", "../..").bus(unit, "scsi")
		h[unit+"/vendor"], h[unit+"/model"], h[unit+"/type"] = "SAMSUNG ", "KLUDG4UHDB-B2D1 ", "0"
	}
	for _, lun := range []string{"49488", "49476", "49456"} {
		h[ufsHost+"/target0:0:0/0:0:0:"+lun+"/type"] = "30"
	}
	at := strings.TrimSuffix(ufsHost, "/host0")
	maps.Copy(h, tree{
		ufsHost + "/scsi_host/host0/proc_name": "ufshcd", at + "/string_descriptors/manufacturer_name": "SAMSUNG", at + "/string_descriptors/product_name": "KLUDG4UHDB-B2D1",
		at + "/string_descriptors/serial_number": "0123ABCD", at + "/string_descriptors/product_revision": "0600", at + "/device_descriptor/number_of_luns": "0x02",
	})
	return h
}

// pmem is a namespace on one module, of which kind makes a block device; "" for none.
func (h tree) pmem(kind, node string) tree {
	region := ndBus + "/region0"
	h.bus(ndBus+"/nmem0", "nd").bus(region, "nd").bus(region+"/namespace0.0", "nd")
	maps.Copy(h, tree{
		ndBus + "/nmem0/nfit/id": "8089-a2-1834-00001234", ndBus + "/nmem0/security": "unlocked",
		region + "/mapping0": "nmem0,0,2097152,0", region + "/size": "2097152", region + "/mappings": "1",
		region + "/namespace0.0/uuid": "6ca23a8b-7d3a-4b3f-8a43-0d9f1c2b3a4d", region + "/namespace0.0/size": "2097152",
		"sys/bus/nd/devices/region0": "->../../../" + strings.TrimPrefix(region, "sys/"), "sys/bus/nd/devices/nmem0": "->../../../" + strings.TrimPrefix(ndBus, "sys/") + "/nmem0", "sys/bus/nd/devices/namespace0.0": "->../../../" + strings.TrimPrefix(region, "sys/") + "/namespace0.0",
	})
	claim := region + "/namespace0.0"
	if kind != "" {
		claim = region + "/" + kind
		h.bus(claim, "nd")
		h[claim+"/namespace"], h["sys/bus/nd/devices/"+kind] = "namespace0.0", "->../../../"+strings.TrimPrefix(claim, "sys/")
	}
	if node != "" {
		size := "4096"
		if kind != "" {
			size = "2048"
		}
		h.block(claim+"/block/"+node, "259:0", size, "../..")
	}
	return h
}

// without takes a file away.
func (h tree) without(name string) tree { delete(h, name); return h }

func one(t *testing.T, h tree) devices.Drive {
	t.Helper()
	list, err := h.build(t).Drives(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%d drives, %v: %+v", len(list), err, list)
	}
	return list[0]
}

func codes(list []devices.Reason) string {
	var words []string
	for _, r := range list {
		words = append(words, r.Code)
	}
	return strings.Join(words, " ")
}

// What a kernel shows of each kind is one drive, with the identity that it has itself, and all that is
// beside its blocks.
func TestCardsAreOneDrive(t *testing.T) {
	sd := machine().emmc()
	for name := range maps.Clone(sd) {
		if strings.Contains(name, "boot") || strings.Contains(name, "gp0") || strings.Contains(name, "rpmb") {
			delete(sd, name)
		}
	}
	sd[emmcCard+"/type"] = "SD"
	for _, c := range []struct {
		name                 string
		host                 tree
		serial, model, nodes string
		size                 int64
		beside, lacks        string
	}{
		{"eMMC", machine().emmc(), "0x9ed12a8b", "BJNB4R (150100)", "/dev/mmcblk0 /dev/mmcblk0gp0", 8256 * 512, "boot_partitions rpmb", devices.ReasonEMMCErases},
		{"eMMC without RPMB", machine().emmc().with(tree{emmcCard + "/raw_rpmb_size_mult": "0x0"}), "0x9ed12a8b", "BJNB4R (150100)", "/dev/mmcblk0 /dev/mmcblk0gp0", 8256 * 512, "boot_partitions", devices.ReasonEMMCErases},
		{"SD", sd, "0x9ed12a8b", "BJNB4R (150100)", "/dev/mmcblk0", 8192 * 512, "protected_area", devices.ReasonSDErases},
		{"UFS", machine().ufs(), "0123ABCD", "SAMSUNG KLUDG4UHDB-B2D1", "/dev/sda /dev/sdb", 4096 * 512, "rpmb", devices.ReasonUFSPurge},
		{"fsdax", machine().pmem("pfn0.0", "pmem0"), "8089-a2-1834-00001234", "NVDIMM, fsdax", "/dev/pmem0", 2048 * 512, "label_area fsdax_metadata", devices.ReasonNVDIMMSecurity},
		{"raw", machine().pmem("", "pmem0"), "8089-a2-1834-00001234", "NVDIMM, raw", "/dev/pmem0", 4096 * 512, "label_area", devices.ReasonNVDIMMSecurity},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := one(t, c.host)
			if d.State != devices.StateReady || d.Serial != c.serial || d.Model != c.model || strings.Join(d.Nodes, " ") != c.nodes || d.SizeBytes != c.size || d.Identity != devices.IdentityHost {
				t.Errorf("%s %+v: %s %s %v %d bytes %s", d.State, d.Reasons, d.Serial, d.Model, d.Nodes, d.SizeBytes, d.Identity)
			}
			if got := codes(d.Beside); got != c.beside {
				t.Errorf("beside %s, want %s", got, c.beside)
			}
			if r, is := d.NotSent(); !is || r.Code != c.lacks || r.Hint == "" {
				t.Errorf("%+v, want %s", r, c.lacks)
			}
		})
	}
}

// Registers that are blank, missing or malformed identify nothing, whatever else calls the drive by a name.
func TestCardsWithoutIdentity(t *testing.T) {
	udev := tree{"run/udev/data/b179:0": "E:ID_SERIAL=0x9ed12a8b\n"}
	strs := strings.TrimSuffix(ufsHost, "/host0") + "/string_descriptors/serial_number"
	for name, h := range map[string]tree{
		"no CID":           machine().emmc().with(udev).with(tree{emmcCard + "/cid": ""}),
		"a blank CID":      machine().emmc().with(udev).with(tree{emmcCard + "/cid": strings.Repeat("0", 30) + "01"}),
		"a short CID":      machine().emmc().with(udev).with(tree{emmcCard + "/cid": "150100"}),
		"serial number 0":  machine().emmc().with(udev).with(tree{emmcCard + "/serial": "0x00000000"}),
		"no serial number": machine().emmc().with(udev).with(tree{emmcCard + "/serial": ""}),
		"UFS":              machine().ufs().with(tree{strs: "00000000"}),
		"UFS without any":  machine().ufs().with(tree{strs: ""}),
		"UFS, blanks":      machine().ufs().with(tree{strs: "2A  81 C"}),
		"UFS, one blank":   machine().ufs().with(tree{strs: "2A81 C0FE"}),
		"UFS, question":    machine().ufs().with(tree{strs: "2A?81C0FE"}),
		"UFS, too short":   machine().ufs().with(tree{strs: "2A8     "}),
		"UFS, unprintable": machine().ufs().with(tree{strs: "2A81\xc3\x80FE"}),
		"no module's":      machine().pmem("pfn0.0", "pmem0").with(tree{ndBus + "/nmem0/nfit/id": "", ndBus + "/region0/namespace0.0/uuid": ""}),
	} {
		if d := one(t, h); d.State != devices.StateUnreadable || !strings.Contains(codes(d.Reasons), "no_identity") {
			t.Errorf("%s: %s %s %+v", name, d.State, d.Serial, d.Reasons)
		} else if strings.Contains(d.Reasons[0].Hint, "dock") || d.Reasons[0].Hint == "" {
			t.Errorf("%s: hint %q", name, d.Reasons[0].Hint)
		}
	}
	// CXL memory has no table of the firmware's: its serial number is its own.
	for id, want := range map[string]string{"81985529216486895": "cxl-81985529216486895", "-81985529216486895": "cxl--81985529216486895", "0": "", "-1": "", "": "", "x": ""} {
		if d := one(t, machine().pmem("pfn0.0", "pmem0").without(ndBus+"/nmem0/nfit/id").with(tree{ndBus + "/nmem0/cxl/id": id})); d.Serial != want {
			t.Errorf("CXL memory %q is %q", id, d.Serial)
		}
	}
	if d := one(t, machine().pmem("pfn0.0", "pmem0").with(tree{ndBus + "/nmem0/nfit/id": "8089-00000000"})); d.Serial != "" {
		t.Errorf("a module without a serial number is %s", d.Serial)
	}
}

// What users store data in is all of an eMMC's areas that are general purpose partitions: each is a space
// of the drive, by the number that gives access to it. An area that is not known has the card refused.
func TestAreasOfACard(t *testing.T) {
	d := one(t, machine().emmc())
	want := []devices.LogicalUnit{
		{LUN: 0, Node: "/dev/mmcblk0", SizeBytes: 8192 * 512, LogicalBlock: 512, Number: devices.Number{Major: 179}},
		{LUN: 4, Node: "/dev/mmcblk0gp0", SizeBytes: 64 * 512, LogicalBlock: 512, Number: devices.Number{Major: 179, Minor: 24}},
	}
	if !slices.Equal(d.Units, want) {
		t.Errorf("%+v", d.Units)
	}
	for name, h := range map[string]tree{
		"unknown":       machine().emmc().block(emmcCard+"/block/mmcblk0/mmcblk0new", "179:32", "64", ".."),
		"without size":  machine().emmc().with(tree{emmcCard + "/block/mmcblk0/mmcblk0gp0/size": "0"}),
		"no node":       machine().emmc().without("sys/block/mmcblk0gp0"),
		"no user area":  machine().emmc().without("sys/block/mmcblk0"),
		"more than all": machine().emmc().block(emmcCard+"/block/mmcblk0/mmcblk0gp4", "179:32", "64", ".."),
	} {
		if d := one(t, h); d.State != devices.StateBlocked || !strings.Contains(codes(d.Reasons), devices.ReasonCardArea) {
			t.Errorf("%s: %s %+v", name, d.State, d.Reasons)
		}
	}
	if d := one(t, machine().emmc().with(tree{emmcCard + "/block/mmcblk0/mmcblk0gp0/ro": "1"})); codes(d.Reasons) != "read_only" {
		t.Errorf("a general purpose partition that is write-protected: %+v", d.Reasons)
	}
}

// A logical unit of UFS that no block device shows holds data like the others: where one is missing, or
// may be, the drive is refused.
func TestUFSWithAUnitThatIsNotReached(t *testing.T) {
	unit, count := ufsHost+"/target0:0:0/0:0:0:1", strings.TrimSuffix(ufsHost, "/host0")+"/device_descriptor/number_of_luns"
	without := func(h tree, prefixes ...string) tree {
		for name := range maps.Clone(h) {
			if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				delete(h, name)
			}
		}
		return h
	}
	for _, c := range []struct {
		name string
		host tree
		code string
	}{
		{"no node", without(machine().ufs(), "sys/block/sdb"), devices.ReasonUnitUnreachable},
		{"no unit", without(machine().ufs(), "sys/block/sdb", unit), devices.ReasonUnitUnreachable},
		{"neither unit nor count", without(machine().ufs(), "sys/block/sdb", unit, count), devices.ReasonUnitsUnknown},
		{"no count", without(machine().ufs(), count), devices.ReasonUnitsUnknown},
		{"a count of 0", machine().ufs().with(tree{count: "0x00"}), devices.ReasonUnitsUnknown},
		{"a count that is no number", machine().ufs().with(tree{count: "two"}), devices.ReasonUnitsUnknown},
		{"a count that is too small", machine().ufs().with(tree{count: "0x01"}), devices.ReasonUnitUnreachable},
		{"a unit that is not counted", machine().ufs().with(tree{ufsHost + "/target0:0:0/0:0:0:2/type": "0"}), devices.ReasonUnitUnreachable},
		{"a unit without blocks", machine().ufs().with(tree{unit + "/block/sdb/size": "0"}), devices.ReasonUnitUnreachable},
	} {
		if d := one(t, c.host); d.State != devices.StateBlocked || len(d.Reasons) == 0 || d.Reasons[0].Code != c.code || d.Reasons[0].Hint == "" {
			t.Errorf("%s: %s %+v", c.name, d.State, d.Reasons)
		}
	}
}

// What a namespace's block device does not show can be read in raw mode: it is refused, but for what fsdax
// mode keeps for itself.
func TestMemoryThatIsNotShown(t *testing.T) {
	namespace, pfn := ndBus+"/region0/namespace0.0", ndBus+"/region0/pfn0.0"
	sized := func(h tree, size, node string) tree {
		return h.with(tree{namespace + "/size": size, pfn + "/block/pmem0/size": node})
	}
	for _, c := range []struct {
		name string
		host tree
		code string // "" for ready
	}{
		{"sector mode", machine().pmem("btt0.0", "pmem0s"), devices.ReasonSectorMode},
		{"raw, and the node is smaller", machine().pmem("", "pmem0").with(tree{namespace + "/size": "2101248"}), devices.ReasonRestOfNamespace},
		{"raw, and the node is larger", machine().pmem("", "pmem0").with(tree{namespace + "/size": "2093056"}), devices.ReasonRestOfNamespace},
		{"raw, of no size", machine().pmem("", "pmem0").with(tree{namespace + "/size": ""}), devices.ReasonRestOfNamespace},
		{"fsdax, of no size", machine().pmem("pfn0.0", "pmem0").with(tree{namespace + "/size": ""}), devices.ReasonRestOfNamespace},
		// 1 GiB has 16 MiB of pages and, with a header of 8 KiB, 18 MiB when aligned.
		{"fsdax, pages in the namespace", sized(machine().pmem("pfn0.0", "pmem0"), "1073741824", "2060288").with(tree{pfn + "/mode": "pmem"}), ""},
		{"fsdax, pages in the host's memory", sized(machine().pmem("pfn0.0", "pmem0"), "1073741824", "2093056").with(tree{pfn + "/mode": "ram"}), ""},
		{"fsdax, pages in the namespace and more", sized(machine().pmem("pfn0.0", "pmem0"), "1073741824", "2060280").with(tree{pfn + "/mode": "pmem"}), devices.ReasonRestOfNamespace},
		{"fsdax, pages in the host's memory and more", sized(machine().pmem("pfn0.0", "pmem0"), "1073741824", "2060288").with(tree{pfn + "/mode": "ram"}), devices.ReasonRestOfNamespace},
		{"fsdax, pages where is not told", sized(machine().pmem("pfn0.0", "pmem0"), "1073741824", "2060288"), devices.ReasonRestOfNamespace},
	} {
		d := one(t, c.host)
		if codes(d.Reasons) != c.code || (c.code == "") != (d.State == devices.StateReady) {
			t.Errorf("%s: %s %+v", c.name, d.State, d.Reasons)
		}
		if c.code != "" && !strings.Contains(d.Reasons[0].Hint, "ndctl create-namespace -m raw -f -e namespace0.0") {
			t.Errorf("%s: hint %q", c.name, d.Reasons[0].Hint)
		}
	}
}

// Any use of any part speaks against all of the drive.
func TestUsesOfCards(t *testing.T) {
	for _, c := range []struct {
		name  string
		host  tree
		state devices.State
		code  string
	}{
		{"a boot partition mounted", machine().emmc().mount("179:8", "/srv", "/dev/mmcblk0boot0"), devices.StateInUse, "mounted"},
		{"a general purpose partition mounted", machine().emmc().mount("179:24", "/srv", "/dev/mmcblk0gp0"), devices.StateInUse, "mounted"},
		{"the system's", machine().emmc().mount("179:1", "/", "/dev/mmcblk0p1"), devices.StateSystem, "mounted"},
		{"held", machine().emmc().with(tree{emmcCard + "/block/mmcblk0/mmcblk0gp0/holders/dm-0": ""}), devices.StateInUse, "held"},
		{"the second unit of UFS", machine().ufs().mount("8:16", "/srv", "/dev/sdb"), devices.StateInUse, "mounted"},
		{"a unit of UFS that is write-protected", machine().ufs().with(tree{ufsHost + "/target0:0:0/0:0:0:1/block/sdb/ro": "1"}), devices.StateBlocked, "read_only"},
		{"fsdax mounted", machine().pmem("pfn0.0", "pmem0").mount("259:0", "/srv", "/dev/pmem0"), devices.StateInUse, "mounted"},
		{"a locked module", machine().pmem("pfn0.0", "pmem0").with(tree{ndBus + "/nmem0/security": "locked"}), devices.StateBlocked, devices.ReasonMemoryLocked},
		{"a module that erases itself", machine().pmem("pfn0.0", "pmem0").with(tree{ndBus + "/nmem0/security": "overwrite"}), devices.StateBlocked, devices.ReasonMemoryOverwriting},
	} {
		if d := one(t, c.host); d.State != c.state || codes(d.Reasons) != c.code {
			t.Errorf("%s: %s %+v", c.name, d.State, d.Reasons)
		}
	}
}

// An area of a card is no drive, and naming it says which is.
func TestSelectAreaOfACard(t *testing.T) {
	host := machine().emmc().with(tree{"dev/mmcblk0boot0": "", "dev/mmcblk0": ""}).build(t)
	list, err := host.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var bad *devices.SelectError
	if _, err := host.Select(list, []string{"/dev/mmcblk0boot0"}); !errors.As(err, &bad) || bad.Reason.Code != "partition" || !strings.Contains(bad.Reason.Hint, "/dev/mmcblk0") {
		t.Errorf("%v", err)
	}
}

// Persistent memory that no block device shows is never passed over in silence.
func TestMemoryNotReached(t *testing.T) {
	for name, c := range map[string]struct {
		host   tree
		driver string // "" for nothing to report
	}{
		"all of a region in use": {machine().pmem("", "pmem0").with(tree{ndBus + "/region0/available_size": "0"}), ""},
		"devdax":                 {machine().pmem("dax0.0", ""), "device_dax"},
		"disabled":               {machine().pmem("", ""), "nd"},
		"fsdax":                  {machine().pmem("pfn0.0", "pmem0"), ""},
		"raw":                    {machine().pmem("", "pmem0"), ""},
		"a seed has no blocks":   {machine().pmem("pfn0.0", "pmem0").with(tree{ndBus + "/region0/namespace0.1/size": "0", "sys/bus/nd/devices/namespace0.1": "->../../../" + strings.TrimPrefix(ndBus, "sys/") + "/region0/namespace0.1"}), ""},
		"no such bus":            {machine(), ""},
	} {
		list, err := c.host.build(t).NotReached()
		if err != nil {
			t.Fatal(err)
		}
		if c.driver == "" && len(list) == 0 {
			continue
		}
		if len(list) != 1 || list[0].Driver != c.driver || list[0].Reason.Code != devices.ReasonNoBlockNode || list[0].Reason.Hint == "" || !slices.Contains([]string{"region0"}, list[0].Where) {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// Memory whose namespace was deleted still holds what was in it, and so may a module that is in no region.
func TestMemoryWithoutNamespace(t *testing.T) {
	region, link := ndBus+"/region0", "->../../../"+strings.TrimPrefix(ndBus, "sys/")
	for _, c := range []struct {
		name        string
		host        tree
		where, code string
	}{
		{"deleted", machine().pmem("", "").with(tree{region + "/namespace0.0/size": "0", region + "/available_size": "2097152"}), "region0", devices.ReasonUnallocatedMemory},
		{"deleted, and the kernel does not say what is free", machine().pmem("", "").with(tree{region + "/namespace0.0/size": "0"}), "region0", devices.ReasonUnallocatedMemory},
		{"one of several deleted", machine().pmem("", "pmem0").with(tree{region + "/available_size": "1048576", region + "/size": "3145728"}), "region0", devices.ReasonUnallocatedMemory},
		{"no namespace at all", machine().pmem("", "").without("sys/bus/nd/devices/namespace0.0").without(region + "/namespace0.0/size"), "region0", devices.ReasonUnallocatedMemory},
		{"a module in no region", machine().pmem("", "pmem0").with(tree{ndBus + "/nmem1/security": "disabled", "sys/bus/nd/devices/nmem1": link + "/nmem1"}), "nmem1", devices.ReasonNoRegion},
	} {
		list, err := c.host.build(t).NotReached()
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || list[0].Name != c.where || list[0].Reason.Code != c.code || list[0].Reason.Hint == "" || list[0].Nodes == nil {
			t.Errorf("%s: %+v", c.name, list)
		}
	}
}
