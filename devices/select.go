package devices

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SelectError says which name did not select one drive, and why. It wraps ErrNotFound or
// ErrAmbiguous where that is what it is; other codes mean that what was asked makes no sense.
type SelectError struct {
	Name   string
	Reason Reason // code: empty, not_found, ambiguous, duplicate, partition, file, directory
	Err    error
}

func (e *SelectError) Error() string {
	if e.Name == "" {
		return e.Reason.Message
	}
	return fmt.Sprintf("%q: %s", e.Name, e.Reason.Message)
}

func (e *SelectError) Unwrap() error { return e.Err }

// Select finds the named drives among those listed, in the order of the names. A name is a serial
// number, a WWN, an id or a node. No names, a name of no or several drives, and two names of one
// drive are errors (*SelectError): nothing is ever selected by default.
func (h *Host) Select(drives []Drive, names []string) ([]Drive, error) {
	if len(names) == 0 {
		return nil, &SelectError{Reason: Reason{"empty", "no drive is named", "name drives by serial number: expunge list shows them"}}
	}
	var selected []Drive
	for _, name := range names {
		d, err := h.selectOne(drives, name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(selected, func(s Drive) bool { return s.Number == d.Number && s.ID == d.ID }) {
			return nil, &SelectError{Name: name, Reason: Reason{"duplicate", fmt.Sprintf("%s %s is named twice", d.Model, d.Serial), "name each drive once"}}
		}
		selected = append(selected, d)
	}
	return selected, nil
}

func (h *Host) selectOne(drives []Drive, name string) (Drive, error) {
	if strings.TrimSpace(name) == "" {
		return Drive{}, &SelectError{Reason: Reason{"empty", "a drive's name is empty", "name drives by serial number: expunge list shows them"}}
	}
	if strings.Contains(name, "/") {
		return h.selectNode(drives, name)
	}
	var found []Drive
	for _, d := range drives {
		if d.Serial == name || d.WWN == name || string(d.ID) == name {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Drive{}, &SelectError{name, Reason{"not_found", "no drive has this serial number, WWN or id", "expunge list shows all drives"}, ErrNotFound}
	}
	var nodes []string
	for _, d := range found {
		nodes = append(nodes, d.Nodes...)
	}
	return Drive{}, &SelectError{name, Reason{"ambiguous", "several drives answer to it: " + strings.Join(nodes, ", "), "name the drive by its WWN, id or node"}, ErrAmbiguous}
}

// selectNode finds a drive by a path below the host's root, such as /dev/sda or a link to it.
func (h *Host) selectNode(drives []Drive, name string) (Drive, error) {
	path := filepath.Clean(name)
	if strings.HasPrefix(path, "/dev/") {
		kernel := resolveNode(h.fs.root, path)
		for _, d := range drives {
			if slices.Contains(d.Nodes, nodePath(kernel)) {
				return d, nil
			}
		}
		if devs, err := h.fs.blockdevs(); err == nil {
			for _, b := range devs {
				if slices.ContainsFunc(b.partitions, func(p partition) bool { return p.name == kernel }) {
					return Drive{}, &SelectError{name, Reason{"partition", "it is a partition of " + nodePath(b.name) + ": part of a drive cannot be sanitized",
						"name the drive: " + nodePath(b.name)}, nil}
				}
			}
		}
		if whole, is := h.partOf(kernel); is {
			return Drive{}, &SelectError{name, Reason{"partition", "it is an area of " + whole + ": part of a drive cannot be sanitized", "name the drive: " + whole}, nil}
		}
		path = filepath.Join(h.fs.root, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return Drive{}, &SelectError{name, Reason{"directory", "it is a directory, not a drive", "expunge list shows all drives"}, nil}
	case err == nil && info.Mode().IsRegular():
		return Drive{}, &SelectError{name, Reason{"file", "it is a file, not a drive", "expunge list shows all drives"}, nil}
	}
	return Drive{}, &SelectError{name, Reason{"not_found", "no drive has this node", "expunge list shows all drives"}, ErrNotFound}
}
