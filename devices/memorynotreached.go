package devices

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Codes of persistent memory that no block device shows.
const (
	ReasonNoBlockNode       = "no_block_node" // a namespace that is given to programs as memory (devdax), or to nobody
	ReasonUnallocatedMemory = "no_namespace"  // a part of a region that belongs to no namespace, as when it was deleted
	ReasonNoRegion          = "no_region"     // a module that is in no region
	hintMakeNamespace       = "make a namespace of it in raw mode (ndctl create-namespace -m raw -r %s), then list again; or erase its modules by their own command and record that"
	hintMakeRegion          = "make a region of it that is persistent (in the firmware's setup, or with its maker's tool), then list again; or erase it by its own command and record that"
	hintMakeBlockDevice     = "put it into raw mode, so that it has a block device, then list again; or erase its modules by their own command and record that"
)

// memoryNotReached lists persistent memory that no block device shows: namespaces that have none, what of a
// region belongs to no namespace, and modules in no region. A namespace that was deleted leaves its contents.
func (h *Host) memoryNotReached() ([]NotReached, error) {
	entries, err := names(h.fs.root, "sys/bus/nd/devices")
	if err != nil {
		return nil, fmt.Errorf("list persistent memory: %w", err)
	}
	devs, err := h.fs.blockdevs()
	if err != nil {
		return nil, fmt.Errorf("list persistent memory: %w", err)
	}
	reached, claims := map[string]bool{}, map[string]string{}
	for _, b := range devs {
		if p, ok := h.fs.ndPlace(b); ok {
			reached[p.namespace] = true
		}
	}
	for _, name := range entries {
		dir, err := filepath.EvalSymlinks(h.fs.path("sys/bus/nd/devices", name))
		if of := text(dir, "namespace"); err == nil && of != "" && filepath.Base(of) == of {
			claims[filepath.Join(filepath.Dir(dir), of)] = name
		}
	}
	var list []NotReached
	for _, name := range entries {
		dir, err := filepath.EvalSymlinks(h.fs.path("sys/bus/nd/devices", name))
		// Of each region there is one of no size, from which the next is made.
		if err != nil || !strings.HasPrefix(name, "namespace") || reached[dir] || integer(dir, "size") == 0 {
			continue
		}
		n := NotReached{Name: name, Driver: "nd", Where: filepath.Base(filepath.Dir(dir)), Nodes: []string{}}
		why := "persistent memory that no block device shows"
		if claim := claims[dir]; strings.HasPrefix(claim, "dax") {
			n.Driver, why = "device_dax", "persistent memory that programs are given as memory (devdax, "+claim+"): it has no block device"
		}
		n.Reason = Reason{ReasonNoBlockNode, fmt.Sprintf("%s, of %d bytes", why, integer(dir, "size")),
			hintMakeBlockDevice}
		list = append(list, n)
	}
	return append(list, h.fs.memoryWithoutNamespace(entries)...), nil
}

// memoryWithoutNamespace lists what of each region belongs to no namespace, and the modules that are in no
// region. entries are the names of the devices on the bus.
func (s sysfs) memoryWithoutNamespace(entries []string) []NotReached {
	var list []NotReached
	inRegion, bus := map[string]bool{}, map[string]string{}
	var modules []string
	for _, name := range entries {
		dir, err := filepath.EvalSymlinks(s.path("sys/bus/nd/devices", name))
		switch {
		case err != nil:
		case strings.HasPrefix(name, "nmem"):
			modules, bus[name] = append(modules, name), filepath.Base(filepath.Dir(dir))
		case strings.HasPrefix(name, "region"):
			for _, m := range regionModules(dir) {
				inRegion[filepath.Base(m)] = true
			}
			// available_size is not there where the firmware makes one namespace of all of a region.
			rest := integer(dir, "size")
			namespaces, _ := filepath.Glob(filepath.Join(dir, "namespace[0-9]*")) // the pattern is well-formed
			for _, n := range namespaces {
				rest -= integer(n, "size")
			}
			if rest = max(rest, integer(dir, "available_size")); rest > 0 {
				list = append(list, NotReached{Name: name, Driver: busND, Where: name, Nodes: []string{}, Reason: Reason{ReasonUnallocatedMemory,
					fmt.Sprintf("%d bytes of persistent memory that belong to no namespace, and keep what was in one that was deleted", rest), fmt.Sprintf(hintMakeNamespace, name)}})
			}
		}
	}
	for _, name := range modules {
		if inRegion[name] {
			continue
		}
		words := "a memory module that is in no region: no block device shows what it holds"
		if id := moduleID(s.path("sys/bus/nd/devices", name)); id != "" {
			words = "memory module " + cleanASCII(id) + ", which is in no region: no block device shows what it holds"
		}
		list = append(list, NotReached{Name: name, Driver: busND, Where: bus[name], Nodes: []string{}, Reason: Reason{ReasonNoRegion, words, hintMakeRegion}})
	}
	return list
}
