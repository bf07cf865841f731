package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/ata"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// Other people's tools see the drives as our codecs do.
func TestPeersAgree(t *testing.T) {
	tools := peerTools(t, peers...)
	b := newBench(t)
	specs := []virtual.Spec{
		{Profile: "sata-ssd", EraseSeconds: 600}, {Profile: "sata-hdd", EraseSeconds: 36000}, {Profile: "sata-hdd-hpa"}, {Profile: "sata-hdd-dco"}, {Profile: "sata-ssd-ama"},
		{Profile: "sata-ssd-frozen"}, {Profile: "sata-hdd-locked"}, {Profile: "sata-ssd", LogicalBlock: 4096}, {Profile: "sata-ssd-basic"},
		{Profile: "sas-hdd", GrownDefects: 3}, {Profile: "sas-ssd", WriteAfterErase: 1}, {Profile: "sas-520"}, {Profile: "sas-dual"}, {Profile: "sas-hdd", Sanitize: []string{"overwrite"}, LogicalBlock: 4096},
	}
	for i, spec := range specs {
		spec.Serial = serialOf(i)
		b.add(spec)
	}
	g := b.bootWith(tools)
	listed := g.list()
	for i, spec := range specs {
		t.Run(fmt.Sprint(spec.Profile, " ", serialOf(i)), func(t *testing.T) {
			s := b.see(g.in(t), uint16(i), serialOf(i))
			d := listed[s.sd]
			s.common(d)
			if d.Protocol == devices.ProtocolATA {
				s.sata(d)
			} else {
				s.sas(d)
			}
		})
	}
}

// common are the facts that SATA and SAS drives tell by the same pages.
func (s seen) common(d devices.Drive) {
	s.t.Helper()
	j := s.smart()
	s.same("smartctl's serial", j.Serial, d.Serial)
	s.same("smartctl's bytes", j.Capacity.Bytes, map[bool]int64{true: s.firstUnit(d), false: d.SizeBytes}[len(d.Units) > 0])
	s.same("smartctl's logical block", j.Logical, d.LogicalBlock)
	if j.Rotation == nil {
		s.t.Error("smartctl knows no rotation")
	} else {
		s.same("smartctl's medium", map[bool]devices.Media{true: devices.MediaFlash, false: devices.MediaMagnetic}[*j.Rotation == 0], d.Media)
	}
	if d.PowerOnHours == nil {
		s.t.Fatal("the program knows no hours")
	}
	s.same("smartctl's hours", j.Hours.Hours, *d.PowerOnHours)
	s.same("smartctl's opinion", j.Status.Passed, true)
	c, err := scsi.ParseCapacity(s.ask(scsi.ReadCapacity16{}.Command()))
	if err != nil {
		s.t.Fatal(err)
	}
	capacity := s.text("sg_readcap", "--16")
	s.same("sg_readcap's last block", find(capacity, `Last LBA=(\d+)`), c.LastLBA)
	s.same("sg_readcap's block length", find(capacity, `Logical block length=(\d+)`), c.BlockLength)
	s.same("sg_readcap's exponent", find(capacity, `block exponent=(\d+)`), c.PhysicalPerExp)
	s.same("sg_readcap's protection", find(capacity, `prot_en=(\d)`), map[bool]int{true: 1}[c.ProtectionType != 0])
	s.same("sg_readcap's LBPRZ", find(capacity, `lbprz=(\d)`), map[bool]int{true: 1}[c.ReadsZeroesUnmap])
	serial, err := scsi.ParseUnitSerial(s.ask(scsi.Inquiry{EVPD: true, PageCode: scsi.PageUnitSerial}.Command()))
	s.same("sg_vpd's page 80h", find(s.text("sg_vpd", "-p", "0x80"), `serial number: (.*)$`), serial)
	naa, errNAA := scsi.ParseNAA(s.ask(scsi.Inquiry{EVPD: true, PageCode: scsi.PageIdentification}.Command()))
	names := s.text("sg_vpd", "-p", "0x83")
	s.same("sg_vpd's name", find(names, `Addressed logical unit:\n.*NAA.*\n\s+0x([0-9a-f]{16})$`), naa)
	if len(d.Units) == 0 {
		s.same("the program's name", d.WWN, naa)
	}
	inquiry, errInquiry := scsi.ParseInquiry(s.ask(scsi.Inquiry{}.Command()))
	if err != nil || errNAA != nil || errInquiry != nil {
		s.t.Error(err, errNAA, errInquiry)
	}
	text := s.text("sg_inq")
	for label, ours := range map[string]string{"Vendor identification": inquiry.Vendor, "Product identification": inquiry.Product, "Product revision level": inquiry.Revision} {
		s.same("sg_inq's "+label, find(text, label+": (.*)$"), ours)
	}
	s.same("sg_inq's version", find(text, `version=0x([0-9a-f]+)`), fmt.Sprintf("%02x", inquiry.Version))
	pages, err := scsi.ParsePages(s.ask(scsi.Inquiry{EVPD: true}.Command()))
	if err != nil {
		s.t.Error(err)
	}
	s.same("sg_vpd's count of pages", strings.Count(s.text("sg_vpd", "-p", "0"), "["), len(pages))
	s.pagesOfBlocks()
	s.cache(d)
}

func (s seen) firstUnit(d devices.Drive) int64 {
	if len(d.Units) == 0 {
		return 0
	}
	return d.Units[0].SizeBytes
}

// pagesOfBlocks compares block limits, characteristics and provisioning.
func (s seen) pagesOfBlocks() {
	s.t.Helper()
	c, err := scsi.ParseCharacteristics(s.ask(scsi.Inquiry{EVPD: true, PageCode: scsi.PageCharacter}.Command()))
	kind, errKind := scsi.ParseProvisioning(s.ask(scsi.Inquiry{EVPD: true, PageCode: scsi.PageProvisioning}.Command()))
	if err != nil || errKind != nil {
		s.t.Fatal(err, errKind)
	}
	text := s.text("sg_vpd", "-p", "0xb1")
	rotation := find(text, `Nominal rotation rate: (\d+) rpm`)
	if says(text, "Non-rotating medium") == "true" {
		rotation = "1"
	}
	s.same("sg_vpd's rotation", rotation, c.RotationRate)
	s.same("sg_vpd's WABEREQ", find(text, `WABEREQ=(\d)`), c.WABEREQ)
	s.same("sg_vpd's WACEREQ", find(text, `WACEREQ=(\d)`), c.WACEREQ)
	s.same("sg_vpd's ZONED", find(text, `ZONED=(\d)`), c.Zoned)
	s.same("sg_vpd's form factor", says(text, `form factor: 2.5 inch`), c.FormFactor == 3)
	provisioning := s.text("sg_vpd", "-p", "0xb2")
	s.same("sg_vpd's provisioning", find(provisioning, `Provisioning type: (\d)`), kind)
	// No UNMAP, on any page.
	s.same("sg_vpd's LBPU", find(provisioning, `\(LBPU\): (\d)`), 0)
	s.same("sg_vpd's limits", says(s.text("sg_vpd", "-p", "0xb0"), `Unmap command not implemented`), true)
}

// cache compares what says whether the write cache is on: the tools and the guest's kernel.
func (s seen) cache(d devices.Drive) {
	s.t.Helper()
	kernel := strings.TrimSpace(s.Must("cat", s.Must("ls", fmt.Sprintf("/sys/class/scsi_disk/*:0:%d:0/cache_type", s.target))))
	s.same("the kernel's write cache", kernel, "write back")
	s.same("sg_modes' write cache", find(s.text("sg_modes", "-p", "8"), `00\s+(?:08|88) 12 (\w\w)`), "04")
	if d.Protocol == devices.ProtocolATA {
		s.same("hdparm's write cache", find(s.text("hdparm", "-W"), `write-caching =\s+(\d)`), 1)
	}
}

// sas are the facts of SAS drives.
func (s seen) sas(d devices.Drive) {
	s.t.Helper()
	j := s.smart()
	s.same("smartctl's model", j.SCSIModel, d.Model)
	s.same("smartctl's revision", j.Revision, d.Firmware)
	if len(d.Units) == 0 {
		s.same("smartctl's name", j.LogicalUnit, "0x"+d.WWN)
	}
	s.same("smartctl's grown defects", *j.GrownDefects, *d.GrownDefects)
	temperature, _, err := scsi.ParseTemperature(s.ask(scsi.LogSense(scsi.LogTemperature)))
	if err != nil {
		s.t.Error(err)
	}
	s.same("smartctl's temperature", j.Temperature.Current, temperature)
	for code, has := range map[string]bool{"0x48,1": d.Sanitize.Overwrite, "0x48,2": d.Sanitize.Block, "0x48,3": d.Sanitize.Crypto, "4": d.Format} {
		text := s.text("sg_opcodes", "-o", code)
		s.same("sg_opcodes of "+code, says(text, `Command is supported \[conforming`), has)
		s.same("sg_opcodes of "+code, says(text, `Command is NOT supported`), !has)
		if action, ok := strings.CutPrefix(code, "0x48,"); ok && has {
			s.same("sg_opcodes' usage data of "+code, find(text, `Usage data: 48 [0-9a-f]([0-9a-f])`), action)
		}
	}
	s.same("sg_luns", find(s.text("sg_luns"), `imples (\d+) lun`), max(1, len(d.Units)))
	for _, options := range [][]string{{}, {"-d"}} {
		s.same("sg_requests", says(s.text(append([]string{"sg_requests"}, options...)...), `Sense key: No Sense`), d.Sanitize.State == devices.SanitizeIdle)
	}
}

// sata are the facts of SATA drives: those of IDENTIFY DEVICE, and of what hides blocks.
func (s seen) sata(d devices.Drive) {
	s.t.Helper()
	i, page, err := devices.ReadIdentity(s.t.Context(), s.transport())
	if err != nil {
		s.t.Fatal(err)
	}
	raw := s.Must("sg_sat_identify", "-r", s.sg)
	s.same("sg_sat_identify", []byte(raw), page)
	copied, err := scsi.ParseATAInformation(s.ask(scsi.Inquiry{EVPD: true, PageCode: scsi.PageATAInformation, Allocation: 1024}.Command()))
	if err != nil {
		s.t.Error(err)
	}
	s.same("page 89h", copied, page)
	information := s.text("sg_vpd", "-p", "0x89")
	s.same("sg_vpd's model", find(information, `model: (.*)$`), i.Model)
	s.same("sg_vpd's serial", find(information, `serial number: (.*)$`), i.Serial)
	s.same("sg_vpd's firmware", find(information, `firmware revision: (.*)$`), i.Firmware)

	j := s.smart()
	s.same("smartctl's model", j.Model, d.Model)
	s.same("smartctl's firmware", j.Firmware, d.Firmware)
	s.same("smartctl's blocks", j.Capacity.Blocks, i.Sectors)
	s.same("smartctl's physical block", j.Physical, i.PhysicalBytes)
	s.same("smartctl's name", fmt.Sprintf("%x%06x%09x", j.WWN.NAA, j.WWN.OUI, j.WWN.ID), i.WWN)
	s.same("smartctl's form factor", j.Form.ATA, 3)
	s.same("smartctl's trim", j.Trim, struct{ Supported, Deterministic, Zeroed bool }{i.TrimSupported, i.ReadsDeterministic, i.ReadsZeroes})
	s.same("smartctl's SMART", j.Support.Available && j.Support.Enabled, i.SMARTSupported)
	if c, err := ata.SMARTReadData().SCSI(); err != nil {
		s.t.Error(err)
	} else if m, err := ata.ParseSMART(s.ask(c)); err != nil {
		s.t.Error(err)
	} else {
		s.same("smartctl's count of attributes", len(j.Attributes.Table), len(m.Attributes))
		for n, a := range j.Attributes.Table[:min(len(j.Attributes.Table), len(m.Attributes))] {
			s.same("smartctl's attribute", ata.Attribute{ID: a.ID, Flags: a.Flags.Value, Value: a.Value, Worst: a.Worst, Raw: a.Raw.Value}, m.Attributes[n])
		}
		celsius, _ := m.Temperature()
		s.same("smartctl's temperature", j.Temperature.Current, celsius)
	}
	s.identity(s.text("hdparm", "-I"), i, d)
	s.limits(i, d)
	if i.Sanitize {
		status := s.text("hdparm", "--sanitize-status")
		s.same("hdparm's sanitize state", says(status, "SD0 Sanitize Idle"), d.Sanitize != nil && d.Sanitize.State == devices.SanitizeIdle)
	}
}

// identity compares hdparm's reading of IDENTIFY DEVICE.
func (s seen) identity(text string, i ata.Identity, d devices.Drive) {
	s.t.Helper()
	feature := func(name string) string { return says(text, `^\s+\*\s+`+name) }
	security, supported := i.SecurityState(), `^Security:(?s:.*?)`
	for what, x := range map[string][2]any{
		"model": {find(text, `Model Number:(.*)$`), i.Model}, "serial": {find(text, `Serial Number:(.*)$`), i.Serial}, "firmware": {find(text, `Firmware Revision:(.*)$`), i.Firmware},
		"name":            {find(text, `Logical Unit WWN Device Identifier: (.*)$`), i.WWN},
		"sectors":         {find(text, `LBA48 +user addressable sectors: +(\d+)`), i.Sectors},
		"logical sector":  {find(text, `Logical +Sector size: +(\d+)`), i.LogicalBytes},
		"physical sector": {find(text, `Physical Sector size: +(\d+)`), i.PhysicalBytes},
		"rotation":        {strings.Replace(find(text, `Nominal Media Rotation Rate: (.*)$`), "Solid State Device", "1", 1), i.RotationRate},
		"sanitize":        {feature("SANITIZE feature set"), i.Sanitize},
		"crypto scramble": {feature("CRYPTO_SCRAMBLE_EXT command"), i.CryptoScramble},
		"block erase":     {feature("BLOCK_ERASE_EXT command"), i.BlockErase},
		"overwrite":       {feature("OVERWRITE_EXT command"), i.Overwrite},
		"antifreeze":      {feature("SANITIZE_ANTIFREEZE_LOCK_EXT command"), i.AntifreezeSupported},
		"encryption":      {feature("Device encrypts all user data"), i.EncryptsAll},
		"trim":            {feature("Data Set Management TRIM supported"), i.TrimSupported},
		"zeros":           {feature("Deterministic read ZEROs after TRIM"), i.ReadsZeroes},
		"48 bits":         {feature("48-bit Address feature set"), i.Extended()},
		"HPA":             {feature("Host Protected Area feature set"), i.HPA()},
		"DCO":             {feature("Device Configuration Overlay feature set"), i.DCO()},
		"AMA":             {says(text, `unknown 119\[8\]|ACCESSIBLE`), i.AMA()},
		"SMART":           {feature("SMART feature set"), i.SMARTSupported},
		"checksum":        {says(text, "^Checksum: correct"), true},
		"security":        {says(text, supported+`^\t\tsupported$`), security.Supported},
		"password":        {says(text, supported+`^\t\tenabled`), security.Enabled},
		"lock":            {says(text, supported+`^\t\tlocked`), security.Locked},
		"freeze":          {says(text, supported+`^\t\tfrozen`), security.Frozen},
		"tries":           {says(text, supported+`^\t\texpired: security count`), security.CountExpired},
		"enhanced erase":  {says(text, supported+`^\t\tsupported: enhanced erase`), security.EnhancedSupported},
		"master":          {find(text, `Master password revision code = (\d+)`), map[bool]any{true: security.MasterID, false: ""}[security.Supported]},
		"erase time":      {find(text, `(\d+)min for SECURITY ERASE UNIT`), minutes(security.EraseMinutes)},
		"enhanced time":   {find(text, `(\d+)min for ENHANCED SECURITY`), minutes(security.EnhancedMinutes)},
		"more than that":  {says(text, `more than \d+min for SECURITY ERASE UNIT`), security.EraseAtLeast},
	} {
		s.same("hdparm's "+what, x[0], x[1])
	}
	if security.Supported {
		s.same("the program's security", *d.Security, devices.SecurityState{Supported: true, Enabled: security.Enabled, Locked: security.Locked, Frozen: security.Frozen, CountExpired: security.CountExpired,
			Enhanced: security.EnhancedSupported, MasterMaximum: security.MasterMaximum, EraseMinutes: d.Security.EraseMinutes, EnhancedMinutes: d.Security.EnhancedMinutes})
	}
}

// minutes is a time as hdparm has it: nothing where the drive has none.
func minutes(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// limits compares how many sectors can be made accessible.
func (s seen) limits(i ata.Identity, d devices.Drive) {
	s.t.Helper()
	native, hidden := i.Sectors, map[devices.HiddenKind]bool{}
	for _, h := range d.Hidden {
		native, hidden[h.Kind] = uint64(h.NativeBytes)/uint64(i.LogicalBytes), true
	}
	shown := fmt.Sprint(i.Sectors, "/", native)
	text := s.text("hdparm", "-N")
	switch {
	case i.AMA():
		s.same("hdparm's sectors", find(text, `max sectors += (\S+), ACCESSIBLE`), shown)
		s.same("hdparm's AMA", says(text, "ACCESSIBLE MAX ADDRESS enabled"), hidden[devices.AccessibleMax])
	case i.HPA() && !hidden[devices.Overlay]:
		s.same("hdparm's sectors", find(text, `max sectors += (\S+),`), shown)
		s.same("hdparm's HPA", says(text, "HPA is enabled"), hidden[devices.HostProtectedArea])
	case i.HPA():
		s.same("hdparm's HPA", says(text, "HPA is disabled"), true)
	}
	if i.DCO() {
		text := s.text("hdparm", "--dco-identify")
		s.same("hdparm's overlay", find(text, `Real max sectors: (\d+)`), native)
		s.same("hdparm's overlay checksum", says(text, "DCO Checksum verified"), true)
	}
}
