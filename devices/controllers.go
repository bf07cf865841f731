package devices

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// controllersOf lists the NVMe controllers by which a block device is reached, as directories of
// sysfs. Below a multipath head they are in the subsystem's directory, those that are live first.
func controllersOf(block string) ([]string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(block, "device"))
	if err != nil {
		return nil, err
	}
	if text(dir, "transport") != "" {
		return []string{dir}, nil
	}
	return controllersIn(dir)
}

// controllersIn lists the controllers that a subsystem's directory names.
func controllersIn(subsystem string) ([]string, error) {
	entries, err := names(subsystem)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range entries {
		if digits := strings.TrimPrefix(name, "nvme"); digits == name || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		dir, err := filepath.EvalSymlinks(filepath.Join(subsystem, name))
		if err != nil {
			return nil, err
		}
		if text(dir, "transport") != "" {
			list = append(list, dir)
		}
	}
	dead := func(dir string) int {
		if text(dir, "state") == "live" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b string) int { return dead(a) - dead(b) })
	return list, nil
}

// siblings lists every controller of this host that belongs to the subsystem of one.
func (s sysfs) siblings(controller string) []string {
	subsystems, err := names(s.root, "sys/class/nvme-subsystem")
	if err != nil {
		return nil
	}
	for _, sub := range subsystems {
		list, err := controllersIn(s.path("sys/class/nvme-subsystem", sub))
		if err == nil && slices.Contains(list, controller) {
			return list
		}
	}
	return nil
}

// gather makes one drive of the block devices that are namespaces of one NVMe controller, logical
// units of one SCSI or UFS drive, or areas of one card. What is neither stays alone. The first of each group is the one by which the drive is known.
func (s sysfs) gather(devs []blockdev) [][]blockdev {
	var groups [][]blockdev
	at := map[string]int{}
	for _, b := range devs {
		key := ""
		if sub := b.subsystem(); sub == "nvme" || sub == "nvme-subsystem" {
			if dir, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device")); err == nil {
				key = dir
			}
		} else if unit, _, ok := s.unitKey(b); ok {
			key = unit
		}
		if i, known := at[key]; known && key != "" {
			groups[i] = append(groups[i], b)
			continue
		}
		at[key] = len(groups)
		groups = append(groups, []blockdev{b})
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b blockdev) int {
			_, x, unit := s.unitKey(a)
			_, y, _ := s.unitKey(b)
			if unit && x != y {
				return cmp.Compare(x, y)
			}
			return compareNodes(a.name, b.name)
		})
	}
	return groups
}

// bare lists NVMe controllers of which no namespace has a block device: a drive that is there and
// cannot be reached. One whose subsystem is reached by another controller is that drive's.
func (s sysfs) bare(devs []blockdev) []Drive {
	reached := map[string]bool{}
	for _, b := range devs {
		if list, err := controllersOf(b.dir); err == nil {
			for _, c := range list {
				reached[c] = true
				for _, other := range s.siblings(c) {
					reached[other] = true
				}
			}
		}
	}
	entries, err := names(s.root, "sys/class/nvme")
	if err != nil {
		return nil
	}
	var list []Drive
	for _, name := range entries {
		dir, err := filepath.EvalSymlinks(s.path("sys/class/nvme", name))
		if _, gone := os.Stat(dir); err != nil || gone != nil || reached[dir] {
			continue
		}
		d := Drive{
			Nodes: []string{"/dev/" + name}, Controllers: []string{"/dev/" + name}, Protocol: ProtocolNVMe, Media: MediaFlash, Identity: IdentityHost,
			Model: cleanASCII(text(dir, "model")), Serial: cleanASCII(text(dir, "serial")), Firmware: cleanASCII(text(dir, "firmware_rev")), WWN: cleanASCII(text(dir, "subsysnqn")),
			State: StateBlocked,
			Reasons: []Reason{{"no_namespace", "no namespace of this controller has a block device: nothing on it can be reached",
				"attach its namespaces to this controller, then list again"}},
		}
		d.ID = NewID(d.Model, d.Serial, d.WWN)
		list = append(list, d)
	}
	return list
}
