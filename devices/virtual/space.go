package virtual

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// Space is a range of a drive's blocks that the host addresses by a node of its own: a namespace, a
// logical unit, or all of a drive that has neither. What of it the node shows may be less.
type Space struct {
	Node      string `json:"node,omitempty"` // "" when it is attached to no controller
	NSID      uint32 `json:"nsid,omitempty"`
	LUN       int    `json:"lun,omitempty"` // of an eMMC, the number of the area
	Offset    int64  `json:"offset"`
	SizeBytes int64  `json:"size_bytes"`
	Number    string `json:"number,omitempty"` // major:minor
	Path      int    `json:"path,omitempty"`   // further ways to the same blocks are counted from 1
	Mapped    bool   `json:"mapped,omitempty"` // device mapper's way
}

// spaces lays a drive's address space out.
func (p Profile) spaces(name string, index int, s Spec) []Space {
	switch p.Protocol {
	case devices.ProtocolNVMe:
		list := []Space{{Node: "/dev/" + name + "n1", NSID: 1, SizeBytes: s.SizeBytes, Number: fmt.Sprintf("259:%d", index*4)}}
		if s.SecondNamespace {
			second := Space{NSID: 2, Offset: s.SizeBytes, SizeBytes: s.SizeBytes / 2}
			if s.AttachAll {
				second.Node, second.Number = "/dev/"+name+"n2", fmt.Sprintf("259:%d", index*4+1)
			}
			list = append(list, second)
		}
		return append(list, p.furtherPaths(list, index, s)...)
	case devices.ProtocolMMC:
		return p.cardSpaces(name, index, s)
	case devices.ProtocolNVDIMM:
		return []Space{{Node: "/dev/" + name, SizeBytes: s.SizeBytes, Number: fmt.Sprintf("259:%d", 1<<16+index*4)}}
	case devices.ProtocolATA, devices.ProtocolSCSI, devices.ProtocolUFS:
		units := max(1, p.units)
		var list []Space
		for n := range units {
			part := s.SizeBytes / int64(units)
			list = append(list, Space{Node: "/dev/" + p.kernelName(index+n), LUN: n, Offset: int64(n) * part, SizeBytes: part, Number: fmt.Sprintf("8:%d", (index+n)*16)})
		}
		return append(list, p.furtherPaths(list, index, s)...)
	}
	return []Space{{Node: "/dev/" + name, SizeBytes: s.SizeBytes, Number: fmt.Sprintf("253:%d", index*16)}}
}

// kernelName names the n-th drive of a kind as a kernel does: vda, sda, nvme0.
func (p Profile) kernelName(n int) string {
	switch p.Protocol {
	case devices.ProtocolNVMe:
		return fmt.Sprintf("nvme%d", n)
	case devices.ProtocolMMC:
		return fmt.Sprintf("mmcblk%d", n)
	case devices.ProtocolNVDIMM:
		return fmt.Sprintf("pmem%d", n)
	case devices.ProtocolATA, devices.ProtocolSCSI, devices.ProtocolUFS:
		return "sd" + letters(n)
	}
	return "vd" + letters(n)
}

// letters counts a, …, z, aa.
func letters(n int) string {
	s := ""
	for n++; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}

// addressable is the size of all spaces.
func (i Info) addressable() int64 {
	var n int64
	for _, s := range i.own() {
		n += s.SizeBytes
	}
	return n
}

// own are the spaces of a drive, each once, however many ways lead to it.
func (i Info) own() []Space {
	return slices.DeleteFunc(slices.Clone(i.Spaces), func(s Space) bool { return s.Path > 0 })
}

// area is a range of the medium's bytes.
type area struct{ off, size int64 }

// region is what an operation of a logical unit reaches: the blocks that the host can address, and
// those that it cannot, of which each of several units has its share.
func (i Info) region(units, unit int) (addressable, hidden area) {
	all, spare := i.addressable(), i.Spec.HiddenBytes
	if units < 2 {
		return area{0, all}, area{all, spare}
	}
	s, share := i.Spaces[unit], spare/int64(units)
	return area{s.Offset, s.SizeBytes}, area{all + int64(unit)*share, share}
}
