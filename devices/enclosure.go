package devices

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SlotKind says who knows of a slot.
type SlotKind string

// The kinds of slots.
const (
	SlotEnclosure SlotKind = "enclosure" // a bay of an enclosure that speaks SES (the kernel's enclosure class)
	SlotPCI       SlotKind = "pci"       // a PCI slot that the kernel has a number or name of
)

// Enclosure is the slot that a drive is in, as the kernel tells it. It says where a drive is and not which it is: it is
// no part of its identity. A slot that is told in two ways is not told: Drive.Enclosure is nil then.
type Enclosure struct {
	Kind    SlotKind `json:"kind"`              // of slot: enclosure or pci
	ID      string   `json:"id,omitempty"`      // logical identifier of the enclosure, in hexadecimal (SES-3 6.1.2.2)
	Name    string   `json:"name,omitempty"`    // what the kernel calls the enclosure: its SCSI address; changes between boots
	Product string   `json:"product,omitempty"` // vendor and model of the enclosure
	Slot    *int     `json:"slot,omitempty"`    // number of the bay; nil where only SlotName is known
	// SlotName is what the enclosure calls the bay, often as printed beside it; of a PCI slot its name.
	SlotName string `json:"slot_name"`
}

// String is the place in few words: "slot 3 of 0:0:8:0", "PCI slot 5".
func (e Enclosure) String() string {
	switch {
	case e.Kind == SlotPCI:
		return "PCI slot " + e.SlotName
	case e.Slot != nil:
		return fmt.Sprintf("slot %d of %s", *e.Slot, e.Name)
	}
	return fmt.Sprintf("slot %q of %s", e.SlotName, e.Name)
}

// bay is a slot with what sysfs has of it.
type bay struct {
	Enclosure
	dir   string // its directory, without links
	light light
}

// light is the file by which a slot's light is switched, and what means on and off in it.
type light struct{ file, on, off string }

// same says whether two bays are one that is told of twice: an enclosure with two ports has a SES process at each.
func (b bay) same(other bay) bool {
	if b.dir == other.dir {
		return true
	}
	return b.ID != "" && b.ID == other.ID && b.Slot != nil && other.Slot != nil && *b.Slot == *other.Slot
}

// bays are the slots of a host by what is in them: the directory of a SCSI device, or the address of a PCI device
// without its function. Reading them sends no command to an enclosure.
type bays map[string][]bay

// bays reads the slots of the kernel's enclosure class (drivers/misc/enclosure.c) and those of PCI. What cannot be
// read or does not look as the kernel writes it is left out.
func (s sysfs) bays() bays {
	found := bays{}
	enclosures, err := names(s.root, "sys/class/enclosure")
	if err != nil {
		enclosures = nil
	}
	for _, name := range enclosures {
		s.readEnclosure(name, found)
	}
	slots, err := names(s.root, "sys/bus/pci/slots")
	if err != nil {
		slots = nil
	}
	for _, name := range slots {
		dir := s.path("sys/bus/pci/slots", name)
		// "0000:3b:00"; a place that has no device number yet has two fields (drivers/pci/slot.c).
		if address := text(dir, "address"); pciFunction.MatchString(address + ".0") {
			b := bay{Enclosure: Enclosure{Kind: SlotPCI, SlotName: cleanASCII(name)}, dir: dir, light: light{filepath.Join(dir, "attention"), "1", "0"}}
			found[address] = append(found[address], b)
		}
	}
	return found
}

// readEnclosure adds the bays of one enclosure that hold something.
func (s sysfs) readEnclosure(name string, found bays) {
	dir, err := filepath.EvalSymlinks(s.path("sys/class/enclosure", name))
	if err != nil {
		return
	}
	components, err := names(dir)
	if err != nil {
		return
	}
	of := Enclosure{Kind: SlotEnclosure, Name: cleanASCII(name), ID: enclosureID(text(dir, "id")),
		Product: cleanASCII(strings.Join(strings.Fields(text(dir, "device/vendor")+" "+text(dir, "device/model")), " "))}
	holds := map[string]bay{}
	count := map[int]int{}
	for _, component := range components {
		at := filepath.Join(dir, component)
		if info, err := os.Lstat(at); err != nil || !info.IsDir() {
			continue
		}
		device, err := filepath.EvalSymlinks(filepath.Join(at, "device"))
		if err != nil {
			continue // empty
		}
		if kind := text(at, "type"); kind != "device" && kind != "array device" {
			continue
		}
		b := bay{Enclosure: of, dir: at, light: light{filepath.Join(at, "locate"), "1", "0"}}
		b.SlotName = cleanASCII(component)
		number, ok := slotNumber(at)
		if !ok {
			b.SlotName = "" // it makes the drive's place unknown, also when another bay claims it
		}
		if b.Slot = number; number != nil {
			count[*number]++
		}
		if _, twice := holds[device]; twice {
			found[device] = append(found[device], holds[device])
		}
		holds[device] = b
	}
	for device, b := range holds {
		if b.Slot != nil && count[*b.Slot] > 1 {
			b.Slot = nil // the parts of some enclosures count from the start each: the name alone tells them apart
		}
		found[device] = append(found[device], b)
	}
}

// slotNumber is the number of a bay. Kernels before 3.19 have none; what is no number makes the bay one that is not
// understood.
func slotNumber(dir string) (number *int, ok bool) {
	if _, err := os.Stat(filepath.Join(dir, "slot")); os.IsNotExist(err) {
		return nil, true
	}
	n, err := strconv.ParseUint(text(dir, "slot"), 10, 16)
	if err != nil {
		return nil, false
	}
	v := int(n)
	return &v, true
}

// enclosureID is a logical identifier without its prefix; "" for one that is none, or that was never set.
func enclosureID(s string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil || n == 0 || n == 1<<64-1 {
		return ""
	}
	return fmt.Sprintf("%016x", n)
}

// place says for each drive in which slot it is.
func (s sysfs) place(drives []Drive) {
	all := s.bays()
	if len(all) == 0 {
		return
	}
	for i := range drives {
		if b, ok := s.bayOf(drives[i], all); ok {
			e := b.Enclosure
			drives[i].Enclosure = &e
		}
	}
}

// bayOf is the one slot that a drive is in. There is none when no slot claims the drive, when two do, when the
// kernel's links of a device and a slot do not point at each other, and when the slot cannot be made out.
func (s sysfs) bayOf(d Drive, all bays) (bay, bool) {
	var claims []bay
	for _, node := range d.Nodes {
		name := strings.ReplaceAll(strings.TrimPrefix(node, "/dev/"), "/", "!")
		device, err := filepath.EvalSymlinks(s.path("sys/block", name, "device"))
		if err != nil {
			continue // on no bus
		}
		claims = append(claims, all[device]...)
		links, err := names(device)
		if err != nil {
			return bay{}, false
		}
		for _, link := range links {
			if !strings.HasPrefix(link, "enclosure_device:") {
				continue
			}
			back, err := filepath.EvalSymlinks(filepath.Join(device, link))
			if err != nil || !slices.ContainsFunc(all[device], func(b bay) bool { return b.dir == back }) {
				return bay{}, false
			}
		}
	}
	for _, node := range d.Controllers {
		path, err := filepath.EvalSymlinks(s.path("sys/class/nvme", strings.TrimPrefix(node, "/dev/")))
		if err != nil {
			continue
		}
		function := functionAbove(path)
		address, _, _ := strings.Cut(function, ".")
		for _, b := range all[address] {
			if s.behindVMD(path) {
				b.light.on, b.light.off = rawOn, rawOff
			}
			claims = append(claims, b)
		}
	}
	for _, c := range claims {
		if c.SlotName == "" || !c.same(claims[0]) {
			return bay{}, false
		}
	}
	if len(claims) == 0 {
		return bay{}, false
	}
	return claims[0], true
}

// Behind an Intel VMD the attention file has the bits of both indicators of a slot as they are in its register, and a
// backplane makes of them which of its lights is on: 7 is locate, 15 is none (as the kernel's pciehp passes them on).
const rawOn, rawOff = "7", "15"

// behindVMD says whether a PCI function above a device is an Intel VMD.
func (s sysfs) behindVMD(path string) bool {
	for ; path != "/" && path != "." && path != s.root; path = filepath.Dir(path) {
		if target, err := os.Readlink(filepath.Join(path, "driver")); err == nil && filepath.Base(target) == "vmd" {
			return true
		}
	}
	return false
}
