package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// maxSlot is the number of an enclosure's last bay.
const maxSlot = 60

// defaultShelf is the enclosure of a SATA or SAS drive that is given a slot and no name of one.
const defaultShelf = "SHELF"

// slotDefaults fills in the enclosure that a slot is in.
func (s *Spec) slotDefaults(p Profile) {
	if s.Slot != 0 && p.shelved() {
		orElse(&s.Enclosure, defaultShelf)
	}
}

// slotBounds says what is wrong with a drive's slot.
func (s Spec) slotBounds(p Profile) error {
	name := s.Enclosure
	switch {
	case s.Slot == 0 && name == "":
		return nil
	case s.Slot < 1 || s.Slot > maxSlot:
		return fmt.Errorf("slot %d: 1 to %d", s.Slot, maxSlot)
	case !p.shelved() && !p.slotted():
		return fmt.Errorf("slot %d: profile %s is in no enclosure", s.Slot, p.Name)
	case p.slotted() && name != "":
		return fmt.Errorf("enclosure %q: a drive of profile %s is in a PCI slot", name, p.Name)
	case len(name) > 16 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("enclosure %q: at most 16 characters of printable ASCII", name)
	}
	return nil
}

// shelved says whether drives of the profile can be in an enclosure, slotted whether in a PCI slot.
func (p Profile) shelved() bool {
	return (p.Protocol == devices.ProtocolATA || p.Protocol == devices.ProtocolSCSI) && p.bridge == ""
}

func (p Profile) slotted() bool { return p.Protocol == devices.ProtocolNVMe && p.bridge == "" }

// seat finds the enclosure of a new drive among those of the others, by number from 1.
func (i *Info) seat(others []Info) error {
	s := i.Spec
	if s.Slot == 0 {
		return nil
	}
	last := 0
	for _, other := range others {
		last = max(last, other.Shelf)
		if other.Spec.Enclosure != s.Enclosure || other.Spec.Slot == 0 {
			continue
		}
		if other.Spec.Slot == s.Slot {
			return fmt.Errorf("slot %d is that of %s", s.Slot, other.Spec.Serial)
		}
		i.Shelf = other.Shelf
	}
	if s.Enclosure != "" && i.Shelf == 0 {
		i.Shelf = last + 1
	}
	return nil
}

// shelf is the enclosure's SES process that is reached beside a space's path, as a kernel names it and where it is.
func (i Info) shelf(s Space) (name, dir string) {
	host := 1000 + 10*i.Shelf + s.Path
	name = fmt.Sprintf("%d:0:0:0", host)
	return name, fmt.Sprintf("sys/devices/pci0000:00/0000:03:00.0/host%d/target%d:0:0/%s/enclosure/%s", host, host, name, name)
}

// bay is the directory of the drive's slot in its enclosure.
func (i Info) bay(s Space) string {
	_, dir := i.shelf(s)
	return fmt.Sprintf("%s/Slot %02d", dir, i.Spec.Slot)
}

// seated are the spaces that an enclosure knows to be in a slot: the first unit behind each port.
func (i Info) seated() []Space {
	if i.Shelf == 0 {
		return nil
	}
	var list []Space
	for _, s := range i.nodes() {
		if s.LUN == 0 && !s.Mapped {
			list = append(list, s)
		}
	}
	return list
}

// laySlot makes what a kernel shows of the slot that a drive is in. Its lights are files that remember.
func (r *Rack) laySlot(info Info) error {
	if info.Spec.Slot != 0 && info.Shelf == 0 {
		function := strings.TrimPrefix(strings.SplitAfter(info.bus(Space{NSID: 1}), ".0")[0], "sys/devices/pci0000:00/")
		slot := fmt.Sprintf("sys/bus/pci/slots/%d", info.Spec.Slot)
		return r.write(map[string]string{slot + "/address": strings.TrimSuffix(function, ".0"), slot + "/attention": "0", slot + "/power": "1"})
	}
	var err error
	for _, s := range info.seated() {
		name, dir := info.shelf(s)
		device, bay := strings.TrimSuffix(dir, "/enclosure/"+name), info.bay(s)
		err = errors.Join(err, r.write(map[string]string{
			device + "/vendor": fmt.Sprintf("%-8.8s", "VIRTUAL"), device + "/model": fmt.Sprintf("%-16.16s", info.Spec.Enclosure), device + "/rev": "0001", device + "/type": "13",
			dir + "/components": fmt.Sprint(maxSlot), dir + "/id": "0x" + wwn("enclosure "+info.Spec.Enclosure),
			bay + "/slot": fmt.Sprint(info.Spec.Slot), bay + "/type": "array device", bay + "/status": "OK", bay + "/active": "0", bay + "/fault": "0", bay + "/locate": "0",
		}))
		for at, to := range map[string]string{dir + "/device": device, "sys/class/enclosure/" + name: dir} {
			if made := r.link(map[string]string{at: to}); made != nil && !errors.Is(made, fs.ErrExist) {
				err = errors.Join(err, made)
			}
		}
	}
	return err
}

// slotLinks are the links between a drive and its slot, which are there while it is.
func (i Info) slotLinks() map[string]string {
	links := map[string]string{}
	for _, s := range i.seated() {
		bay := i.bay(s)
		links[bay+"/device"] = i.bus(s)
		links[fmt.Sprintf("%s/enclosure_device:Slot %02d", i.bus(s), i.Spec.Slot)] = bay
	}
	return links
}
