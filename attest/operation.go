package attest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Operation is one thing that the drive did by itself.
type Operation struct {
	Technique string `json:"technique"`
	Kind      string `json:"kind"` // the command as its standard calls it
	Command   string `json:"command"`
	// Code is what the command was sent with, "0x" and eight hex digits: CDW10 of NVMe Sanitize and Format,
	// FEATURE and COUNT of ATA SANITIZE DEVICE, 1 for an enhanced SECURITY ERASE UNIT, byte 1 of the
	// CDB of SCSI SANITIZE, the logical block length after SCSI FORMAT UNIT, the way of a TCG erase.
	Code     string `json:"code"`
	Unit     int64  `json:"unit,omitempty"` // which of the drive's logical units, from 0
	Commands int64  `json:"commands"`       // sent; more than one only after one that was never begun
	Started  string `json:"started"`
	Finished string `json:"finished,omitempty"`
	Complete bool   `json:"complete"`
	Because  string `json:"because,omitempty"` // what ties the success to this operation
	Status   string `json:"status,omitempty"`  // the drive's last word
	// StatusPage is the drive's own account as PackPage spells it: NVMe log page 81h or Identify
	// Namespace, the sense data of SANITIZE STATUS EXT or REQUEST SENSE, IDENTIFY DEVICE, TCG Level 0 discovery. StatusPageBefore is what it was when
	// the command had not been sent yet.
	StatusPage       string `json:"statusPage,omitempty"`
	StatusPageBefore string `json:"statusPageBefore,omitempty"`
	EstimateSeconds  *int64 `json:"estimateSeconds,omitempty"` // the drive's own, before the command
	ElapsedSeconds   int64  `json:"elapsedSeconds"`
	Timing           string `json:"timing,omitempty"`
}

// steps are the operations of techniques that the drive carries out.
var steps = map[string][]string{
	"block erase": {"block erase"}, "cryptographic erase": {"cryptographic erase"}, "drive overwrite": {"drive overwrite"},
	"cryptographic erase followed by block erase": {"cryptographic erase", "block erase"},
	"security erase":          {"security erase"},
	"enhanced security erase": {"enhanced security erase"},
	"cryptographic format":    {"cryptographic format"},
	"format":                  {"format"},
	"TCG revert":              {"TCG revert"},
}

// commands are what each kind of operation is sent with, by technique: the protocol of the drive, and
// the part of the code that selects the erase.
var commands = map[string]struct {
	protocol string
	mask     uint64
	codes    map[string]uint64
}{
	"NVMe Sanitize":           {"nvme", 7, map[string]uint64{"cryptographic erase": 4, "block erase": 2, "drive overwrite": 3}},
	"NVMe Format":             {"nvme", 0xfffffe00, map[string]uint64{"format": 0x200, "cryptographic format": 0x400}},
	"ATA SANITIZE DEVICE":     {"ata", 0xffff0000, map[string]uint64{"cryptographic erase": 0x110000, "block erase": 0x120000, "drive overwrite": 0x140000}},
	"ATA SECURITY ERASE UNIT": {"ata", 0xffffffff, map[string]uint64{"enhanced security erase": 1, "security erase": 0}},
	"SCSI SANITIZE":           {"scsi", 0x1f, map[string]uint64{"cryptographic erase": 3, "block erase": 2, "drive overwrite": 1}},
	"SCSI FORMAT UNIT":        {"scsi", 0, map[string]uint64{"format": 0}},
	// Codes 1 to 3, and 4 and 5, by different ways: isCommand tells them apart.
	"TCG Revert":          {"", 0, map[string]uint64{"TCG revert": 0}},
	"TCG GenKey or Erase": {"", 0, map[string]uint64{"TCG revert": 0}},
}

// isCommand says whether kind and code are those by which a drive of the protocol carries the
// technique out.
func (o Operation) isCommand(protocol string) bool {
	c, known := commands[o.Kind]
	want, fits := c.codes[o.Technique]
	code, err := strconv.ParseUint(strings.TrimPrefix(o.Code, "0x"), 16, 32)
	if c.protocol == "" { // security commands, which three protocols have
		way := code & 0xff
		revert := way >= 1 && way <= 3
		right := o.Kind == "TCG Revert" && revert || o.Kind == "TCG GenKey or Erase" && (way == 4 || way == 5)
		return known && fits && err == nil && len(o.Code) == 10 && right && slices.Contains([]string{"nvme", "ata", "scsi"}, protocol)
	}
	return known && fits && err == nil && c.protocol == protocol && len(o.Code) == 10 && code&c.mask == want
}

// checkOperations: what the drive is said to have done by itself is what it says itself. A drive of
// several logical units does all of it on each, one after another.
func (r Result) checkOperations(done bool) error {
	s, m := r.Sanitization, r.Verification.Markers
	sequence, byDrive := steps[s.Technique]
	var want []string
	for range max(1, len(r.Device.LogicalUnits)) {
		want = append(want, sequence...)
	}
	for i, o := range s.Operations {
		if err := checkRules([]rule{
			{byDrive && i < len(want) && o.Technique == want[i] && o.Unit == int64(i/len(sequence)) && o.isCommand(r.Device.Protocol), "the operations are not those of the technique"},
			{o.Commands > 0 && o.Command != "" && isTime(o.Started) && optional(o.Finished, isTime) && o.ElapsedSeconds >= 0, "an operation is impossible"},
			{(o.EstimateSeconds == nil || *o.EstimateSeconds >= 0) && o.Complete == (o.Finished != "") && o.Complete == (o.Because != ""), "an operation is impossible"},
			{isPage(o.StatusPage) && isPage(o.StatusPageBefore), "the page of an operation is not one, or not packed as it should be"},
			{!o.Complete || o.succeeded(), "an operation is called complete, and the drive's own page does not say so"},
		}); err != nil {
			return err
		}
	}
	complete := len(s.Operations) == len(want) && !slices.ContainsFunc(s.Operations, func(o Operation) bool { return !o.Complete })
	marked := m != nil && m.Set > 0 && m.Changed+m.Unreadable == m.Set && m.Unchanged == 0 && 2*m.Changed >= m.Set && isHash(m.Seed) && m.PRNG != ""
	return checkRules([]rule{
		{!done || !byDrive || complete, "not every operation of the technique is complete"},
		{!done || !byDrive || len(s.RestsOn) > 0, "it is not said that the result rests on the drive's report"},
		{!done || !byDrive || r.Verification.Mode == "status" || marked || s.BlocksBarred && s.barredBefore() || s.reformatted(), "no markers show that the drive did what it reported"},
		{!done || byDrive || len(s.Operations) == 0, "the host did it, and the drive too"},
		{m == nil || m.Set >= 0 && m.Changed >= 0 && m.Unchanged >= 0 && m.Unreadable >= 0, "a number of markers is impossible"},
		{!done || m == nil || m.Unchanged == 0, "marked blocks are still there"},
	})
}

// barredBefore says whether the drive itself told, before the first command, that an earlier erase had
// failed, so that nothing could be marked.
func (s Sanitization) barredBefore() bool {
	if len(s.Operations) == 0 {
		return false
	}
	page := unpackPage(s.Operations[0].StatusPageBefore)
	switch s.Operations[0].Kind {
	case "NVMe Sanitize":
		return len(page) == 512 && page[2]&7 == 3
	case "ATA SANITIZE DEVICE":
		d := ataReturn(page)
		return d != nil && d[13]&1 != 0
	case "TCG Revert", "TCG GenKey or Erase":
		d, ok := parseDiscovery(page)
		return ok && d.shut
	case "SCSI SANITIZE", "SCSI FORMAT UNIT":
		// MEDIUM ERROR: SANITIZE COMMAND FAILED, FORMAT COMMAND FAILED, MEDIUM FORMAT CORRUPTED.
		return len(page) >= 14 && page[0]&0x7f == 0x70 && page[12] == 0x31 || len(page) >= 8 && page[0]&0x7f == 0x72 && page[2] == 0x31
	}
	return false
}

// reformatted says whether the logical blocks were changed, so that no block can be found again.
func (s Sanitization) reformatted() bool {
	return slices.ContainsFunc(s.Reshaped, func(x Reshape) bool { return x.Why == "format" })
}

// sizeBefore is the drive's size when the work was announced, before anything changed it.
func (r Result) sizeBefore() int64 {
	if len(r.Sanitization.Reshaped) > 0 {
		return r.Sanitization.Reshaped[0].FromBytes
	}
	return r.Device.SizeBytes
}

// checkReshaped: each change follows from the one before, and leads to the size that is stated.
func (r Result) checkReshaped() error {
	list := r.Sanitization.Reshaped
	for i, x := range list {
		grows := x.ToBytes > x.FromBytes && x.ToLogicalBlockBytes == x.FromLogicalBlockBytes
		next := i+1 == len(list)
		if err := checkRules([]rule{
			{slices.Contains(reshapes, x.Why) && x.FromBytes > 0 && x.ToBytes > 0 && x.FromLogicalBlockBytes > 0 && x.ToLogicalBlockBytes > 0, "a change of the drive's size is impossible"},
			{x.Why == "format" && r.Sanitization.Technique == "format" && next || x.Why != "format" && grows, "a change of the drive's size is impossible"},
			{next || list[min(i+1, len(list)-1)].FromBytes == x.ToBytes, "the changes of the drive's size do not follow each other"},
			{!next || x.ToBytes == r.Device.SizeBytes && x.ToLogicalBlockBytes == r.Device.LogicalBlockBytes, "the drive's size is not what the changes left"},
		}); err != nil {
			return err
		}
	}
	return nil
}

// reshapes are why a drive's size can change.
var reshapes = []string{"host protected area", "accessible max address", "device configuration overlay", "format"}

// succeeded reads the drive's own page.
func (o Operation) succeeded() bool {
	page, before := unpackPage(o.StatusPage), unpackPage(o.StatusPageBefore)
	switch o.Kind {
	case "NVMe Sanitize":
		// Log page 81h: a successful status, the command that this operation is, and global data
		// erased (NVMe base 2.0, figure 244).
		if len(page) != 512 {
			return false
		}
		status, command := binary.LittleEndian.Uint16(page[2:]), binary.LittleEndian.Uint32(page[4:])
		return (status&7 == 1 || status&7 == 4) && status&(1<<8) != 0 && o.Code == fmt.Sprintf("0x%08x", command)
	case "NVMe Format":
		// Identify Namespace: a namespace, and no format under way (NVM command set 1.0, figure 97). That
		// the command was completed is the agent's word.
		return len(page) == 4096 && binary.LittleEndian.Uint64(page) != 0 && (page[32]&0x80 == 0 || page[32]&0x7f == 0)
	case "ATA SANITIZE DEVICE":
		// COUNT of the ATA status return descriptor, whole, in sense data of a success: completed without
		// error, and not in progress (ACS-4 7.36, SAT-4 12.2.2.6).
		d := ataReturn(page)
		return d != nil && page[1] == 1 && page[2] == 0 && page[3] == 0x1d && d[2]&1 != 0 && d[13]&0x21 == 0 && d[13] != 0 && d[4]&0xc0 == 0x80
	case "ATA SECURITY ERASE UNIT":
		// IDENTIFY DEVICE word 128: security was enabled by the password that an erase takes, and is not
		// any more (ACS-4 7.13, 4.20).
		return len(page) == 512 && len(before) == 512 && before[256]&2 != 0 && page[256]&3 == 1
	case "TCG Revert":
		// The Locking SP was active, without which nothing is erased, and is not any more, of a drive that
		// encrypts; nothing is locked, and no removal of data runs or was cut off (Opal 2.30 3.1.1, 5.1.2).
		was, okBefore := parseDiscovery(before)
		is, ok := parseDiscovery(page)
		return okBefore && ok && was.encrypts && was.active && is.encrypts && !is.active && !is.shut && !is.removing && !is.interrupted
	case "TCG GenKey or Erase":
		// That the command was completed for every range is the agent's word.
		was, okBefore := parseDiscovery(before)
		is, ok := parseDiscovery(page)
		return okBefore && ok && was.active && is.active && is.encrypts && !is.shut && !is.removing && !is.interrupted
	case "SCSI SANITIZE", "SCSI FORMAT UNIT":
		// Sense data of a drive that is at rest: no sense, nothing in progress (SPC-5 4.4).
		return atRest(page)
	}
	return false
}

// ataReturn finds the ATA status return descriptor in sense data; nil where there is none.
func ataReturn(sense []byte) []byte {
	if len(sense) < 8 || sense[0]&0x7f != 0x72 {
		return nil
	}
	for rest := sense[8:]; len(rest) >= 2; {
		n := int(rest[1]) + 2
		if n > len(rest) {
			return nil
		}
		if rest[0] == 0x09 && n == 14 {
			return rest[:n]
		}
		rest = rest[n:]
	}
	return nil
}

func atRest(sense []byte) bool {
	switch {
	case len(sense) >= 14 && sense[0]&0x7f == 0x70:
		return sense[2]&0x0f == 0 && sense[12] == 0 && sense[13] == 0
	case len(sense) >= 8 && sense[0]&0x7f == 0x72:
		return sense[1]&0x0f == 0 && sense[2] == 0 && sense[3] == 0
	}
	return false
}
