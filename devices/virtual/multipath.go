package virtual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// names is how many kernel names of its kind a drive takes.
func (p Profile) names() int { return max(1, p.units, p.paths) }

// furtherPaths are the nodes by which the same blocks are reached again. Below a head they have none.
func (p Profile) furtherPaths(list []Space, index int, s Spec) []Space {
	if p.head {
		return nil
	}
	var more []Space
	for path := 1; path < p.paths; path++ {
		s := list[0]
		s.Path, s.Node, s.Number = path, "/dev/"+p.kernelName(index+path), fmt.Sprintf("8:%d", (index+path)*16)
		if p.Protocol == devices.ProtocolNVMe {
			s.Node, s.Number = s.Node+"n1", fmt.Sprintf("259:%d", (index+path)*4)
		}
		more = append(more, s)
	}
	if s.Mapped {
		m := list[0]
		m.Path, m.Mapped, m.Node, m.Number = p.paths, true, fmt.Sprintf("/dev/dm-%d", index), fmt.Sprintf("252:%d", index)
		more = append(more, m)
	}
	return more
}

// subsystem is the directory of an NVMe subsystem, by the number of its first controller.
func (i Info) subsystem() string {
	return fmt.Sprintf("sys/devices/virtual/nvme-subsystem/nvme-subsys%d", i.Index)
}

// head says whether the drive's node is one of native NVMe multipath.
func (i Info) head() bool {
	p, _ := profileByName(i.Spec.Profile) // it was checked when the drive was added
	return p.head
}

// hiddenPaths are the kernel's own block devices below a head: they have no number and no node.
func (i Info) hiddenPaths() map[string]string {
	dirs := map[string]string{}
	if p, err := profileByName(i.Spec.Profile); err == nil && p.head {
		for path := range p.paths {
			name := fmt.Sprintf("nvme%dc%dn1", i.Index, i.Index+path)
			dirs[name] = i.bus(Space{NSID: 1, Path: path}) + "/" + name
		}
	}
	return dirs
}

// layHead makes what native multipath has beside controllers: attributes of the subsystem, and the
// paths below the node.
func (r *Rack) layHead(info Info, p Profile) error {
	sub := info.subsystem()
	files := map[string]string{sub + "/model": p.model, sub + "/serial": info.Spec.Serial, sub + "/firmware_rev": firmware, sub + "/iopolicy": "numa", sub + "/subsystype": "nvm"}
	err := r.link(map[string]string{sub + "/subsystem": "sys/class/nvme-subsystem"})
	for _, dir := range info.hiddenPaths() {
		for name, value := range map[string]string{"hidden": "1", "ro": "0", "size": fmt.Sprint(info.Spec.SizeBytes / 512), "nsid": "1", "ana_state": "optimized", "queue/rotational": "0"} {
			files[dir+"/"+name] = value
		}
		for _, name := range []string{"holders", "slaves"} {
			err = errors.Join(err, os.MkdirAll(filepath.Join(r.dir, dir, name), 0o755))
		}
		err = errors.Join(err, r.link(map[string]string{dir + "/device": filepath.Dir(dir)}))
	}
	return errors.Join(err, r.write(files))
}

// layMap makes what device mapper shows of a multipath map: it holds the drive's other nodes.
func (r *Rack) layMap(info Info) error {
	at := len(info.Spaces) - 1
	if !info.Spaces[at].Mapped {
		return nil
	}
	m := info.Spaces[at]
	name, dir := filepath.Base(m.Node), info.dir(m)
	err := r.write(map[string]string{dir + "/dm/name": "mpath" + letters(info.Index), dir + "/dm/uuid": "mpath-3" + wwn(unitName(info.Spec.Serial, 0)), dir + "/dm/suspended": "0"})
	for _, s := range info.Spaces[:at] {
		err = errors.Join(err, r.link(map[string]string{info.dir(s) + "/holders/" + name: dir, dir + "/slaves/" + filepath.Base(s.Node): info.dir(s)}))
	}
	return err
}

// controllers are those of an NVMe drive that this host has, by kernel name.
func (i Info) controllers() map[string]string {
	p, _ := profileByName(i.Spec.Profile) // it was checked when the drive was added
	list := map[string]string{}
	for path := range max(1, p.paths) {
		if strings.HasPrefix(i.Name, "nvme") {
			list[p.kernelName(i.Index+path)] = i.bus(Space{NSID: 1, Path: path})
		}
	}
	return list
}
