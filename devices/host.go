package devices

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/jaypipes/ghw"
	"github.com/jaypipes/ghw/pkg/block"
)

// Host is a machine's drives, seen below a root directory: "/" or a rack.
type Host struct {
	fs   sysfs
	open Opener
	log  hclog.Logger

	lookout   lookout[[]Drive]
	nodes     lookout[[]blockdev]
	libraries lookout[map[string]*block.Disk]
	asked     unanswered
}

// NewHost makes a host of a root directory and the function that opens its nodes. log may be nil.
func NewHost(root string, open Opener, log hclog.Logger) *Host {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Host{fs: sysfs{root}, open: open, log: log.Named("devices")}
}

// list looks at the host.
func (h *Host) list(ctx context.Context) ([]Drive, error) {
	devs, err := h.fs.blockdevs()
	if err != nil {
		return nil, err
	}
	known := h.library()
	uses := h.fs.readUses(devs)
	drives := make([]Drive, 0, len(devs))
	for _, group := range h.fs.gather(devs) {
		d := h.fs.identify(group[0], known[group[0].name])
		d.join(group)
		switch d.Protocol {
		case ProtocolSCSI, ProtocolUFS:
			d.joinUnits(h.fs, group)
		case ProtocolMMC:
			d.joinUnits(h.fs, storage(group))
		}
		h.judge(group, &d, uses)
		switch d.Protocol {
		case ProtocolMMC:
			h.fs.judgeCard(group, &d)
		case ProtocolUFS:
			h.fs.judgeUFS(group, &d)
		case ProtocolNVDIMM:
			h.fs.judgeNVDIMM(group[0], &d)
			h.fs.besideNVDIMM(group[0], &d)
		}
		for _, b := range group {
			d.Notes = append(d.Notes, h.fs.notes(b)...)
		}
		drives = append(drives, d)
	}
	h.askAll(ctx, drives)
	for i := range drives {
		drives[i].needZones()
	}
	drives = append(drives, h.fs.bare(devs)...)
	slices.SortFunc(drives, func(a, b Drive) int { return compareNodes(a.Nodes[0], b.Nodes[0]) })
	drives = mergePaths(drives)
	markDuplicates(drives)
	h.fs.place(drives)
	return drives, nil
}

// join adds what a drive has beside its first block device: the other namespaces.
func (d *Drive) join(group []blockdev) {
	if d.Protocol != ProtocolNVMe {
		return
	}
	d.Nodes = nil
	for i, b := range group {
		n := Namespace{
			NSID: uint32(integer(b.dir, "nsid")), Node: nodePath(b.name), Attached: true, Number: b.number,
			SizeBytes: b.sizeBytes(), LogicalBlock: int(integer(b.dir, "queue/logical_block_size")), Zoned: b.zoned(),
		}
		d.Nodes, d.Namespaces = append(d.Nodes, n.Node), append(d.Namespaces, n)
		if i > 0 {
			d.SizeBytes += n.SizeBytes
			d.LogicalBlock = min(d.LogicalBlock, n.LogicalBlock)
			d.PhysicalBlock = max(d.PhysicalBlock, int(integer(b.dir, "queue/physical_block_size")))
			d.ReadOnly = d.ReadOnly || text(b.dir, "ro") == "1"
		}
	}
}

// compareNodes sorts sdb before sdaa.
func compareNodes(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// library asks ghw for its view of the same tree, by kernel name. Its failure only loses
// names that sysfs does not have: the list is made of /sys/block itself.
func (h *Host) library() map[string]*block.Disk {
	known, err := h.libraries.wait(func() (map[string]*block.Disk, error) {
		info, err := ghw.Block(ghw.WithChroot(h.fs.root), ghw.WithDisableTools(), ghw.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return nil, err
		}
		found := map[string]*block.Disk{}
		for _, d := range info.Disks {
			found[d.Name] = d
		}
		return found, nil
	})
	if err != nil {
		h.log.Debug("hardware library had no answer", "err", err)
	}
	return known
}

// judge decides a drive's state.
func (h *Host) judge(group []blockdev, d *Drive, u *uses) {
	var reasons, blocked []Reason
	system := false
	for _, b := range group {
		of, sys := u.of(b.name)
		reasons, system = append(reasons, of...), system || sys
		d.kernelZones.managed = d.kernelZones.managed || b.zoned()
	}
	if r, ok := unsuitable(group[0], *d); ok {
		blocked = append(blocked, r)
	}
	unidentified := d.Serial == "" && d.WWN == ""
	if unidentified && len(blocked) == 0 {
		blocked = append(blocked, Reason{"no_identity", "it reports neither serial number nor WWN", d.Protocol.hintIdentity()})
	}
	blocked = append(blocked, u.unknown...)
	d.Reasons = append(slices.Clip(reasons), blocked...)
	switch {
	case system:
		d.State = StateSystem
	case len(reasons) > 0:
		d.State = StateInUse
	case len(blocked) == 1 && blocked[0].Code == "no_identity":
		d.State = StateUnreadable
	case len(blocked) > 0:
		d.State = StateBlocked
	default:
		d.State = StateReady
	}
	if d.Reasons == nil {
		d.Reasons = []Reason{}
	}
}

// hintIdentity is what to do with a drive that does not tell who it is.
func (p Protocol) hintIdentity() string {
	switch p {
	case ProtocolMMC:
		return "put the card in again, or into another reader, and list again; one whose identification register (CID) is blank is to be destroyed"
	case ProtocolUFS:
		return "no serial number in its descriptors, or none that the kernel can print: destroy it"
	case ProtocolNVDIMM:
		return "its modules must tell serial numbers (nfit/id or cxl/id in sysfs): update the host's firmware, or use the modules' own erase and record that"
	}
	return "attach it without the bridge or dock that hides them"
}

// mapped are the drivers whose devices are made of other devices, or of other machines.
var mapped = map[string]string{
	"dm-": "device mapper", "md": "software RAID", "bcache": "bcache", "nbd": "network block device",
	"rbd": "Ceph", "drbd": "DRBD", "zd": "ZFS volume", "zram": "", "ram": "",
}

// unsuitable says why a device is no drive that could be chosen, whatever its use.
func unsuitable(b blockdev, d Drive) (Reason, bool) {
	kind := strings.TrimRight(b.name, "0123456789")
	switch {
	case kind == "ram" || kind == "zram":
		return Reason{"volatile_memory", "it is the machine's memory, which keeps nothing without power", ""}, true
	case kind == "sr" || text(b.dir, "device/type") == "5":
		return Reason{"optical", "an optical drive: its media are to be destroyed", ""}, true
	case kind == "fd":
		return Reason{"floppy", "a floppy drive: its media are to be destroyed", ""}, true
	case mapped[kind] != "":
		return Reason{"mapped_device", "made of other devices (" + mapped[kind] + ")", "choose the drives it is made of"}, true
	case d.SizeBytes == 0 && (d.Protocol != ProtocolSCSI || text(b.dir, "removable") == "1"):
		return Reason{"no_medium", "it holds no medium", ""}, true
	case d.ReadOnly:
		return Reason{"read_only", "it is write-protected", "remove the write protection, then list again"}, true
	case d.Fabric != "":
		return Reason{"fabric", fmt.Sprintf("reached over %s: it may be somebody else's storage", d.Fabric), "if it is yours to erase: --allow-fabric"}, true
	}
	return Reason{}, false
}

// notes tells what old signatures udev saw: worth knowing, no reason to refuse.
func (s sysfs) notes(b blockdev) []Reason {
	var notes []Reason
	for _, p := range append([]partition{{name: b.name, number: b.number}}, b.partitions...) {
		for line := range strings.Lines(text(s.root, "run/udev/data", fmt.Sprintf("b%d:%d", p.number.Major, p.number.Minor)) + "\n") {
			if kind, ok := strings.CutPrefix(strings.TrimSpace(line), "E:ID_FS_TYPE="); ok && kind != "" {
				notes = append(notes, Reason{Code: "signature", Message: fmt.Sprintf("%s carries %s", nodePath(p.name), cleanASCII(kind))})
			}
		}
	}
	if n := len(b.partitions); n > 0 {
		notes = append(notes, Reason{Code: "partitions", Message: fmt.Sprintf("%d partitions", n)})
	}
	return notes
}

// markDuplicates refuses drives of which two claim one identity and are not known to be paths of one:
// which is meant cannot be told, and one that could not be asked may be a path that is in use.
func markDuplicates(drives []Drive) {
	by := map[string][]int{}
	for i, d := range drives {
		if d.Serial == "" && d.WWN == "" {
			continue
		}
		also := "wwn " + d.WWN
		// Some NVMe models give all their drives one NQN, and what a bridge says is its own.
		if d.WWN == "" || d.Protocol == ProtocolNVMe || d.Bridge != "" && d.Identity == IdentityHost {
			also = "name " + d.Model + "\n" + d.Serial
		}
		for _, k := range []string{"id " + string(d.ID), also} {
			by[k] = append(by[k], i)
		}
	}
	marked := map[int]bool{}
	for _, k := range slices.Sorted(maps.Keys(by)) {
		same := by[k]
		if len(same) < 2 {
			continue
		}
		var nodes []string
		for _, i := range same {
			nodes = append(nodes, drives[i].Nodes[0])
		}
		for _, i := range same {
			if marked[i] {
				continue
			}
			marked[i] = true
			d := &drives[i]
			d.Reasons = append(d.Reasons, Reason{"duplicate_identity",
				strings.Join(nodes, " and ") + " claim the same identity, and whether they are one drive cannot be told",
				"leave one path to the drive, or attach drives of equal serial one at a time"})
			if d.State == StateReady {
				d.State = StateBlocked
			}
		}
	}
}
