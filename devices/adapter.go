package devices

import (
	"path/filepath"
	"regexp"
)

var pciFunction = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)

// Adapter is the PCI function that the drive is behind, such as "0000:3b:00.0": a host adapter has many drives, which
// share what it can carry, and an NVMe controller is its own. It is empty where there is none.
func (h *Handle) Adapter() string {
	name := filepath.Base(h.spaces[0].Node)
	return functionAbove(h.host.fs.devicePath(blockdev{name: name, dir: h.host.fs.path("sys/block", name)}))
}

// functionAbove is the PCI function nearest to a device, by its place in the tree of buses; "" where there is none.
func functionAbove(path string) string {
	for ; path != "." && path != "/" && path != ""; path = filepath.Dir(path) {
		if name := filepath.Base(path); pciFunction.MatchString(name) {
			return name
		}
	}
	return ""
}
