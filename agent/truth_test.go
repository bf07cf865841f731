package agent

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

var printTruth = flag.Bool("truth", false, "print the matrix of TestTruth")

// Levels of what is left, and of what is claimed. A claim must never be above the truth.
const (
	holdsData = iota
	cleared
	purged
)

var levelNames = []string{"holds data", "cleared", "purged"}

// cell is one line of the matrix.
type cell struct{ profile, technique, fault string }

// unobservable are the lies that no host can see: blocks which it cannot address are as they
// were. docs/techniques.md lists them, and the certificate says what it rests on.
var unobservable = []string{"lie:hidden", "lie:deallocate"}

// few thins a long list out where tests are to be short: with the race detector, which is not about
// what is on the media.
func few[T any](list []T) []T {
	if !testing.Short() {
		return list
	}
	var some []T
	for i := 0; i < len(list); i += 97 {
		some = append(some, list[i])
	}
	return some
}

// whole skips a test where tests are to be short: of each kind of drive one is run with the race detector. What happens at once is the
// same in the others, and the run without it has them all.
func whole(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it is run whole without the race detector")
	}
}

// method is the strongest that the technique reaches on the profile's media under the default policy.
func (c cell) method() sanitize.Method {
	switch sanitize.Technique(c.technique) {
	case sanitize.HostOverwrite, sanitize.SecurityErase, sanitize.Format, sanitize.CryptographicFormat:
		return sanitize.Clear
	case sanitize.EnhancedSecurityErase:
		if c.of().Media != devices.MediaMagnetic {
			return sanitize.Clear
		}
	}
	return sanitize.Purge
}

// of is the cell's profile.
func (c cell) of() virtual.Profile {
	list := virtual.Profiles()
	return list[slices.IndexFunc(list, func(p virtual.Profile) bool { return p.Name == c.profile })]
}

// can says whether a profile's drive has a technique that reaches the method the cell asks for.
func can(p virtual.Profile, t sanitize.Technique) bool {
	has := func(words ...string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(p.Sanitize, w) })
	}
	switch t {
	case sanitize.CryptoThenBlock:
		return has("crypto", "block")
	case sanitize.CryptographicErase:
		return has("crypto")
	case sanitize.BlockErase:
		return has("block")
	case sanitize.DriveOverwrite:
		return has("overwrite")
	case sanitize.EnhancedSecurityErase, sanitize.SecurityErase:
		return p.Security
	case sanitize.Format:
		return p.Format || p.NVMeFormat
	case sanitize.CryptographicFormat:
		return p.NVMeFormat
	case sanitize.TCGRevert: // by what the drive tells, without a PIN that somebody has to give
		return slices.Contains([]string{"sata-opal-inactive", "nvme-opal", "nvme-opal-inactive", "nvme-ruby", "sas-enterprise"}, p.Name)
	}
	return true
}

// cells are all combinations that make sense. What a profile cannot do at all is one cell.
func cells() []cell {
	techniques := []sanitize.Technique{sanitize.HostOverwrite, sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase,
		sanitize.DriveOverwrite, sanitize.EnhancedSecurityErase, sanitize.SecurityErase, sanitize.Format, sanitize.CryptographicFormat, sanitize.TCGRevert}
	everywhere := []string{"", "write-error:100+4", "read-error:1000+2000", "drop-writes", "drop-writes:1000+800", "power-cut:2", "pulled:9", "pulled:40", "slow:200000000"}
	commands := []string{"log-missing:smart", "log-zero:smart"}
	own := []string{"reset:1", "reset:9", "reset:24", "reset:26", "reset:60", "skip-erase:4000+800", "sanitize-fail:40", "sanitize-power-cut:50", "sanitize-refused:2", "progress-stuck:20000",
		"progress-backward:60", "lie:nothing", "lie:ignored", "lie:hidden", "lie:deallocate", "log-missing:sanitize", "log-zero:sanitize"}
	ata := []string{"registers:none", "registers:zero", "hba-zero:count", "hba-zero:lba", "refuse:set-password", "refuse:erase-prepare", "refuse:erase-unit"}
	// These differ from another profile in one thing, and need not go through every fault.
	like := []string{"sata-hdd-hpa", "sata-hdd-dco", "sata-ssd-ama", "sata-ssd-frozen", "sata-fixed-sense", "usb-sata", "usb-sata-drops", "sata-old", "usb-stick",
		"nvme-overwrite", "nvme-verify", "nvme-purge-required", "nvme-boot", "usb-nvme", "nvme-multipath", "nvme-two-controllers", "sas-multipath", "sas-hdd-aware", "sata-hdd-smr", "sd-card", "ufs", "nvdimm",
		"sata-opal", "sata-opal-inactive", "sata-opal-sid-blocked", "nvme-opal", "nvme-opal-inactive", "nvme-opal-lockout", "nvme-ruby", "nvme-pyrite", "sas-enterprise"}
	keys := []string{"", "drop-writes", "pulled:60", "reset:24", "reset:40", "lie:nothing", "lie:keep-key", "lie:ignored", "session-lost:3", "session-lost:5", "revert-power-cut:50", "tcg-answer:no-discovery"}
	once := append(slices.Clone(neverReady), "nvme-pmr", "nvme-firmware-pending")
	some := []string{"", "write-error:100+4", "drop-writes", "pulled:40", "reset:24", "lie:nothing", "sanitize-fail:40"}
	var list []cell
	for _, p := range virtual.Profiles() {
		for _, t := range techniques {
			faults := []string{""}
			if can(p, t) && !slices.Contains(once, p.Name) {
				faults = slices.Clone(everywhere)
				if p.Protocol == devices.ProtocolNVMe || p.Protocol == devices.ProtocolATA || p.Protocol == devices.ProtocolSCSI {
					faults = append(faults, commands...)
				}
				byItself := len(p.Sanitize) > 0 || p.Security || p.Format || p.NVMeFormat
				if byItself {
					faults = append(faults, own...)
				}
				if p.NVMeFormat {
					faults = append(faults, "format-reset:40")
				}
				if len(p.Sanitize) == 0 {
					faults = slices.DeleteFunc(faults, func(f string) bool { return f == "log-missing:sanitize" || f == "log-zero:sanitize" })
				}
				if slices.Contains(zonedProfiles, p.Name) && t != sanitize.HostOverwrite {
					faults = append(faults, "lie:zones-reset")
				}
				if p.Protocol == devices.ProtocolATA && t != sanitize.HostOverwrite {
					faults = append(faults, ata...)
				}
				if slices.Contains(like, p.Name) {
					faults = slices.DeleteFunc(slices.Clone(some), func(f string) bool {
						locks := f == "pulled:40" && (p.Name == "sata-opal" || p.Name == "nvme-opal-lockout") // when it is back it is locked
						return locks || !byItself && (f == "lie:nothing" || f == "sanitize-fail:40")
					})
				}
			}
			if p.Name == "sas-hdd-aware" && can(p, t) && t != sanitize.HostOverwrite {
				faults = append(faults, "lie:zones-reset")
			}
			if t == sanitize.TCGRevert && can(p, t) {
				faults = keys
			}
			for _, f := range faults {
				list = append(list, cell{p.Name, string(t), f})
			}
		}
	}
	return list
}

// zonedProfiles are drives that the host writes zone by zone.
var zonedProfiles = []string{"nvme-zns", "sas-hdd-smr", "sata-hdd-smr"}

// neverReady are drives that are refused whatever is asked of them.
var neverReady = []string{"nvme-shared", "nvme-write-protected", "sata-hdd-locked", "nvme-opal-owned", "sas-enterprise-owned"}

// expected is what must come out of a cell: an outcome, or why there is none.
func (c cell) expected() string {
	p, t := c.of(), sanitize.Technique(c.technique)
	kind, _, _ := strings.Cut(c.fault, ":")
	byDrive := t != sanitize.HostOverwrite
	security := t == sanitize.EnhancedSecurityErase || t == sanitize.SecurityErase
	format := t == sanitize.Format || t == sanitize.CryptographicFormat
	bySanitize := byDrive && !security && !format
	// Whether a sanitize of the drive succeeds cannot be told.
	lost := kind == "registers" || c.profile == "sata-fixed-sense" || c.profile == "usb-sata-drops" // the ATA registers
	mute := lost || c.fault == "log-missing:sanitize" || c.fault == "log-zero:sanitize"
	// Whether the drive hides blocks, which only its sanitize reaches, cannot be told.
	veiled := lost && c.profile != "sata-ssd-basic" && !strings.HasPrefix(c.profile, "sata-opal")
	ata, scsi, nvme := p.Protocol == devices.ProtocolATA, p.Protocol == devices.ProtocolSCSI, p.Protocol == devices.ProtocolNVMe
	// Zones that are left empty show nothing of what is on the media.
	empties := (format || security) && (c.profile == "sas-hdd-aware" || slices.Contains(zonedProfiles, c.profile))
	switch {
	case t == sanitize.TCGRevert && c.profile == "nvme-opal-owned", c.fault == "tcg-answer:no-discovery":
		return "cannot" // without its PSID, or without an account of its keys
	case c.fault == "lie:keep-key":
		return "unproven"
	case slices.Contains(neverReady, c.profile), nvme && mute:
		return "refused"
	case !can(p, t), empties, byDrive && !security && mute, !bySanitize && veiled, t == sanitize.DriveOverwrite && kind == "hba-zero", security && strings.HasPrefix(c.profile, "usb-"),
		byDrive && c.profile == "nvme-firmware-pending", security && c.profile == "sata-ssd-frozen", !byDrive && c.profile == "nvme-two-namespaces":
		return "cannot"
	case (scsi || nvme) && c.fault == "pulled:9", c.profile == "sas-multipath" && c.fault == "pulled:40":
		return "refused" // while it was still being asked what it is
	case !byDrive && kind == "write-error":
		return "exceptions"
	case !byDrive && (kind == "read-error" || kind == "drop-writes"):
		return "unproven"
	case !byDrive:
		return "sanitized"
	case c.fault == "drop-writes", kind == "sanitize-fail", kind == "sanitize-refused", security && kind == "refuse", bySanitize && ata && c.fault == "hba-zero:lba":
		return "failed"
	case c.profile == "nvme-pmr":
		return "failed" // it refuses, until its power is cycled, and cannot be asked before
	case c.fault == "lie:ignored" && !scsi && !format:
		return "failed" // its account shows no success
	case c.fault == "lie:ignored", c.fault == "lie:nothing", kind == "skip-erase", c.fault == "lie:zones-reset":
		return "unproven"
	case c.fault == "lie:deallocate" && nvme && (t == sanitize.CryptographicErase || t == sanitize.CryptoThenBlock):
		return "unproven" // it was told not to
	}
	return "sanitized"
}

// Every profile, technique and fault: what is on the medium in the end, in blocks that the host can
// address and in those it cannot, and under which key, against what was claimed.
func TestTruth(t *testing.T) {
	var mu sync.Mutex
	lines := map[cell]string{}
	list := few(cells())
	t.Run("cells", func(t *testing.T) {
		for _, c := range list {
			t.Run(strings.ReplaceAll(strings.Join([]string{c.profile, c.technique, c.fault}, "/"), " ", "-"), func(t *testing.T) {
				t.Parallel()
				line := c.check(t)
				mu.Lock()
				defer mu.Unlock()
				lines[c] = line
			})
		}
	})
	if !*printTruth {
		return
	}
	fmt.Printf("%-20s %-44s %-24s %-12s %-12s %-12s %s\n", "PROFILE", "TECHNIQUE", "FAULT", "EXPECTED", "MEDIUM", "CLAIMED", "")
	for _, c := range list {
		fmt.Println(lines[c])
	}
}

func (c cell) check(t *testing.T) string {
	s, _ := newTimed(t)
	s.add(virtual.Spec{Profile: c.profile, Serial: "A", SizeBytes: 4 << 20, HiddenBytes: 64 << 10, EraseSeconds: 200})
	if c.fault != "" {
		s.fault("A", c.fault)
	}
	request := sanitize.Request{Method: c.method(), Technique: sanitize.Technique(c.technique)}
	outcome, claimed := "", holdsData
	var result DriveResult
	drives, err := s.rack.Drives()
	if err != nil {
		t.Fatal(err)
	}
	p := s.plan(request, drives[0].Node) // a dock has a serial number of its own
	switch {
	case len(p.Refused) == 1 && p.Refused[0].Cannot:
		outcome = "cannot"
	case len(p.Refused) == 1:
		outcome = "refused"
	default:
		result = c.carryOut(t, s, p)
		outcome = string(result.Outcome)
	}
	m, err := s.rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	addressable, hidden, err := m.CountCanary(canary)
	if err != nil {
		t.Fatal(err)
	}
	truth := purged
	switch {
	case addressable > 0:
		truth = holdsData
	case hidden > 0:
		truth = cleared
	}
	if result.Outcome == sanitize.Sanitized || result.Outcome == sanitize.Exceptions {
		claimed = map[sanitize.Method]int{sanitize.Clear: cleared, sanitize.Purge: purged}[result.Drive.Method]
		if result.Outcome == sanitize.Exceptions && addressable > 0 {
			truth = c.outsideExceptions(t, m, result)
		}
	}
	words := func(outcome string) string {
		if outcome == string(sanitize.Sanitized) {
			return map[sanitize.Method]string{sanitize.Clear: "cleared", sanitize.Purge: "purged"}[c.method()]
		}
		return outcome
	}
	line := fmt.Sprintf("%-20s %-44s %-24s %-12s %-12s %-12s", c.profile, c.technique, orDash(c.fault), words(c.expected()), levelNames[truth], words(outcome))
	switch {
	case claimed > truth && slices.Contains(unobservable, c.fault):
		line += " no host can see it; the certificate says what it rests on"
	case claimed > truth:
		line += " THE CLAIM EXCEEDS THE TRUTH"
		t.Error(line)
	}
	if outcome != c.expected() {
		t.Errorf("%s\n%v %v", line, result.Reasons, result.Err)
	}
	c.checkCertificate(t, s, result)
	return line
}

// carryOut runs a plan to its end, as a person would: what is interrupted is resumed, and a drive
// that was pulled is put back.
func (c cell) carryOut(t *testing.T, s *site, p sanitize.Plan) DriveResult {
	j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Drives[0]
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if j.Drives[0].Finished() {
			return j.Drives[0]
		}
		if strings.HasPrefix(c.fault, "pulled") {
			if err := s.rack.ClearFaults("A"); err != nil {
				t.Fatal(err)
			}
		}
		if j, err = s.agent.Resume(t.Context(), jobName(p), Observer{}); err != nil {
			t.Fatal(err)
		}
	}
	return j.Drives[0]
}

// outsideExceptions is the level of what is not listed as an exception.
func (c cell) outsideExceptions(t *testing.T, m *virtual.Medium, r DriveResult) int {
	buf := make([]byte, m.Addressable)
	if _, err := m.ReadAt(buf, 0); err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Evidence.Exceptions {
		clear(buf[x.Extent.Offset:x.Extent.End()])
	}
	if strings.Contains(string(buf), string(canary)) {
		return holdsData
	}
	return cleared
}

// checkCertificate: every end that touched the drive has one, which says the same as the result.
func (c cell) checkCertificate(t *testing.T, s *site, r DriveResult) {
	if r.Evidence == nil || r.Evidence.Attempts == 0 {
		return
	}
	if r.Certificate == "" {
		t.Errorf("no certificate: %v", r.Err)
		return
	}
	report := s.verify(r)
	want := attest.CodeOK
	if r.Outcome != sanitize.Sanitized {
		want = attest.CodeOutcome
	}
	if report.Code != want || report.Result.Outcome.Status != string(r.Outcome) {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
		return
	}
	byDrive := c.technique != string(sanitize.HostOverwrite)
	if byDrive && !slices.Contains(report.Result.Sanitization.RestsOn, sanitize.Reliance) {
		t.Error("the certificate does not say that it rests on the drive's report")
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// The lies that no host can see are named where people look for them, with the sentence.
func TestUnobservableLiesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/techniques.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append(slices.Clone(unobservable), sanitize.Reliance) {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
			t.Errorf("docs/techniques.md does not say %q", want)
		}
	}
}
