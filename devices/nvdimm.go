package devices

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// busND is the bus of non-volatile memory: regions, which are sets of interleaved modules (nmemN), the
// namespaces in them, and what makes a block device of a namespace (pfn, btt) or none (dax).
const busND = "nd"

// ndPlace is where a block device of persistent memory sits.
type ndPlace struct {
	region    string   // its directory
	namespace string   // that of the namespace
	claim     string   // what claims the namespace: its directory, or that of the namespace itself
	modules   []string // directories of the modules that the region is interleaved over
}

func (s sysfs) ndPlace(b blockdev) (ndPlace, bool) {
	claim, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device"))
	if err != nil || b.subsystem() != busND {
		return ndPlace{}, false
	}
	p := ndPlace{region: filepath.Dir(claim), namespace: claim, claim: claim}
	if name := text(claim, "namespace"); name != "" && filepath.Base(name) == name {
		p.namespace = filepath.Join(p.region, name)
	}
	p.modules = regionModules(p.region)
	return p, true
}

// regionModules are the directories of the modules that a region is interleaved over.
func regionModules(region string) []string {
	var modules []string
	maps, _ := filepath.Glob(filepath.Join(region, "mapping[0-9]*")) // the pattern is well-formed
	for _, m := range maps {
		if name, _, ok := strings.Cut(text(m), ","); ok && filepath.Base(name) == name {
			modules = append(modules, filepath.Join(filepath.Dir(region), name))
		}
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// kind is the mode of the namespace as people know it.
func (p ndPlace) kind() string {
	switch strings.TrimRight(filepath.Base(p.claim), "0123456789.") {
	case "btt":
		return "sector"
	case "pfn":
		return "fsdax"
	}
	return "raw"
}

// serialCXLForm is that of a CXL device's serial number, which is printed with a sign.
var serialCXLForm = regexp.MustCompile(`^-?[1-9][0-9]*$`)

// moduleID is what a memory module is known by: the identifier that the firmware's table gives it (ACPI
// NFIT), which has its serial number, or the serial number of CXL memory (CXL 2.0 8.1.12.2); "" where it has none.
func moduleID(dir string) string {
	id := text(dir, "nfit/id")
	if serial := text(dir, "cxl/id"); id == "" && serialCXLForm.MatchString(serial) && serial != "-1" {
		return "cxl-" + serial
	}
	if at := strings.LastIndex(id, "-"); at < 0 || blankHex(id[at+1:]) {
		return "" // without a serial number
	}
	return id
}

// identifyNVDIMM: a namespace of persistent memory is known by the modules that it lies on and by its UUID.
// Where no module tells who it is, only this host can tell one from another.
func (s sysfs) identifyNVDIMM(b blockdev, d *Drive) {
	d.Protocol = ProtocolNVDIMM
	p, ok := s.ndPlace(b)
	if !ok {
		return
	}
	var ids []string
	for _, m := range p.modules {
		if id := moduleID(m); id != "" {
			ids = append(ids, id)
		}
	}
	d.Model = "NVDIMM, " + p.kind()
	switch {
	case len(p.modules) == 0:
		d.Model = "persistent memory, " + p.kind()
		d.Serial = "HOST-" + short(busND, text(p.region, "resource"), text(p.region, "size"), filepath.Base(p.region), filepath.Base(p.namespace))
	case len(ids) < len(p.modules):
		return // judged by what is missing
	case len(ids) > 2:
		d.Serial = fmt.Sprintf("%d-MODULES-%s", len(ids), short(ids...))
		d.Notes = append(d.Notes, Reason{Code: "modules", Message: "it is interleaved over " + cleanASCII(strings.Join(ids, ", "))})
	default:
		d.Serial = strings.Join(ids, "+")
	}
	if uuid := text(p.namespace, "uuid"); strings.Trim(uuid, "0-") != "" {
		d.WWN = "uuid." + uuid
	}
	d.lack(ReasonNVDIMMSecurity, "persistent memory, whose own erase and overwrite (of its modules' security) are not sent by this version of expunge", hintDestroy)
}

// Codes of persistent memory whose modules' security keeps it from being used, or of which the block
// device does not show all that users stored.
const (
	ReasonMemoryLocked      = "memory_locked"
	ReasonMemoryOverwriting = "memory_overwriting"
	ReasonSectorMode        = "sector_mode"
	ReasonRestOfNamespace   = "rest_of_namespace"
)

// fsdaxAlign is the alignment, in bytes, of what the kernel puts before and after the blocks of a namespace
// in fsdax mode, unless somebody asked for another.
const fsdaxAlign = 2 << 20

// keeps is how many bytes of a namespace of that size its mode may keep for itself: nothing in raw mode; in
// fsdax mode a header of 8 KiB, 64 bytes for each page of 4 KiB where these are kept in the namespace
// and not in the host's memory, and what fills that up to the alignment.
func (p ndPlace) keeps(namespace int64) int64 {
	if p.kind() != "fsdax" {
		return 0
	}
	header := int64(8 << 10)
	if text(p.claim, "mode") == "pmem" {
		header += namespace / 4096 * 64
	}
	return (header + fsdaxAlign - 1) / fsdaxAlign * fsdaxAlign
}

// judgeNVDIMM refuses persistent memory whose modules are locked, or erase themselves, and a namespace
// of which the block device does not show all that users stored: what it does not show can be read in raw mode.
func (s sysfs) judgeNVDIMM(b blockdev, d *Drive) {
	p, ok := s.ndPlace(b)
	if !ok {
		d.refuse(StateBlocked, Reason{ReasonRestOfNamespace, "of which namespace of persistent memory it is cannot be told", "mount sysfs whole, then list again"})
		return
	}
	raw := "put the namespace into raw mode (ndctl create-namespace -m raw -f -e " + cleanASCII(filepath.Base(p.namespace)) + "), then list again"
	switch namespace := integer(p.namespace, "size"); {
	case p.kind() == "sector":
		d.refuse(StateBlocked, Reason{ReasonSectorMode, "it is in sector mode, which keeps blocks free that hold what was overwritten last, and that no write reaches", raw})
	case namespace == 0:
		d.refuse(StateBlocked, Reason{ReasonRestOfNamespace, "how large its namespace is cannot be told, so that its block device may not show all of it", raw})
	case d.SizeBytes > namespace:
		d.refuse(StateBlocked, Reason{ReasonRestOfNamespace, fmt.Sprintf("its namespace is said to have %d bytes, fewer than its block device", namespace), raw})
	case namespace-d.SizeBytes > p.keeps(namespace):
		d.refuse(StateBlocked, Reason{ReasonRestOfNamespace, fmt.Sprintf("its block device does not show %d bytes of the namespace, more than its mode keeps for itself", namespace-d.SizeBytes), raw})
	}
	for _, m := range p.modules {
		name := filepath.Base(m)
		switch state := text(m, "security"); state {
		case "locked":
			d.refuse(StateBlocked, Reason{ReasonMemoryLocked, name + " is locked by a passphrase", "unlock it, then list again"})
		case "overwrite":
			d.refuse(StateBlocked, Reason{ReasonMemoryOverwriting, name + " overwrites itself", "wait until it is done, then list again"})
		case "":
		default:
			d.Notes = append(d.Notes, Reason{Code: "security", Message: fmt.Sprintf("the security of %s is %s", name, cleanASCII(state))})
		}
	}
}

// besideNVDIMM lists what of the modules is not reached through the block device.
func (s sysfs) besideNVDIMM(b blockdev, d *Drive) {
	p, ok := s.ndPlace(b)
	if !ok {
		return
	}
	beside := func(code, format string, args ...any) {
		d.Beside = append(d.Beside, Reason{Code: code, Message: fmt.Sprintf(format, args...)})
	}
	if len(p.modules) > 0 {
		d.area(AreaLabels, AreaPresent, 0)
		beside("label_area", "the label areas of its memory modules")
	}
	if p.kind() == "fsdax" {
		d.area(AreaFsdax, AreaPresent, max(0, integer(p.namespace, "size")-d.SizeBytes))
		beside("fsdax_metadata", "%d bytes that its fsdax mode keeps for itself, with what fills them up and may be of an earlier mode: in raw mode a namespace has none",
			max(0, integer(p.namespace, "size")-d.SizeBytes))
	}
	region, namespace := integer(p.region, "size"), integer(p.namespace, "size")
	if rest := region - namespace; region > 0 && namespace > 0 && rest > 0 {
		d.area(AreaRestOfRegion, AreaPresent, rest)
		beside("rest_of_region", "%d bytes of the region that belong to other namespaces or to none", rest)
	}
}
