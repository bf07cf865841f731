package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/tcg"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// certified is the result that a drive's certificate says, after it was verified.
func (s *site) certified(r DriveResult) attest.Result {
	s.t.Helper()
	if r.Err != nil || r.Certificate == "" {
		s.t.Fatalf("%s: no certificate: %v", r.Outcome, r.Err)
	}
	report := s.verify(r)
	if report.Result == nil {
		s.t.Fatalf("%v", report.Reasons)
	}
	return *report.Result
}

// What people say of drives is certified word for word, for each drive its own, and nothing is made up for those of
// which nothing is said.
func TestGivenIsCertifiedWordForWord(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C"} {
		s.add(virtual.Spec{Profile: "plain", Serial: serial, SizeBytes: small})
	}
	file := "operator:\n  name: Zoë Ŝmith\n  contact: \"+44 1 <x&y>\"\nlot: 0042\ncustody: CoC/7\n" +
		"drives:\n  A:\n    asset-tag: ЖТ-1\n    lot: L-A\n    source: 山田's laptop\n  B:\n    destination: external reuse\n"
	given, err := sanitize.ParseGiven([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	p := s.plan(sanitize.Request{Method: sanitize.Clear, Given: &given}, "A", "B")
	job, err := s.agent.Run(t.Context(), p, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	who := &attest.Person{Name: "Zoë Ŝmith", Contact: "+44 1 <x&y>"}
	wanted := map[string]attest.Given{
		"A": {Operator: who, Lot: "L-A", Custody: "CoC/7", AssetTag: "ЖТ-1", Source: "山田's laptop"},
		"B": {Operator: who, Lot: "0042", Custody: "CoC/7", Destination: "external reuse"},
	}
	for _, r := range job.Drives {
		is, _ := json.Marshal(s.certified(r).Given)
		want, _ := json.Marshal(wanted[r.Drive.Serial])
		if !bytes.Equal(is, want) {
			t.Errorf("%s: %s; given was %s", r.Drive.Serial, is, want)
		}
	}
	if r := s.certified(s.run(s.plan(sanitize.Request{}, "C"))); r.Given != nil {
		t.Errorf("nothing was given, and %+v is certified", r.Given)
	}
}

// What could not be signed, or is said of nobody, is refused before anything is planned.
func TestGivenIsRefusedInTime(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A", SizeBytes: small})
	s.add(virtual.Spec{Profile: "plain", Serial: "B", SizeBytes: small})
	for name, g := range map[string]sanitize.GivenRequest{
		"of another drive":      {Drives: map[string]sanitize.Given{"X": {Lot: "1"}}},
		"right to left":         {Given: sanitize.Given{Notes: "a\u202eb"}},
		"zero width":            {Given: sanitize.Given{Lot: "a\u200bb"}},
		"a control character":   {Given: sanitize.Given{Ticket: "a\x1b[2J"}},
		"two lines":             {Given: sanitize.Given{Ticket: "a\nb"}},
		"not UTF-8":             {Given: sanitize.Given{Site: "a\xff"}},
		"too long":              {Given: sanitize.Given{Notes: strings.Repeat("x", 501)}},
		"an unknown word":       {Given: sanitize.Given{Destination: "the sea"}},
		"nobody":                {Given: sanitize.Given{Operator: &sanitize.Person{Title: "chief"}}},
		"one tag of two drives": {Given: sanitize.Given{AssetTag: "1"}},
		"in one of them":        {Drives: map[string]sanitize.Given{"B": {Seal: "\u2066"}}},
	} {
		_, err := s.agent.Plan(t.Context(), []string{"A", "B"}, sanitize.Request{Given: &g})
		var request *sanitize.RequestError
		if !errors.As(err, &request) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "lot: 1\nlto: 2\n", "lot: 1\nlot: 2\n", "drives:\n  A:\n    nobody: x\n", "lot: &x 1\n", "- lot\n", "lot: [1]\n", "lot: 1\n---\nlot: 2\n"} {
		if g, err := sanitize.ParseGiven([]byte(text)); err == nil {
			t.Errorf("%q is taken: %+v", text, g)
		}
	}
}

// A plan whose words were changed after somebody confirmed them is another plan, and one that was made by hand is
// not begun when its words cannot be signed.
func TestForgedGivenIsRefused(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{Given: &sanitize.GivenRequest{Given: sanitize.Given{AssetTag: "TAG-1"}}}, "A")
	data, err := sanitize.MarshalPlan(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sanitize.ParsePlan(bytes.ReplaceAll(data, []byte("TAG-1"), []byte("TAG-2"))); !errors.Is(err, sanitize.ErrPlanEdited) {
		t.Errorf("an edited plan: %v", err)
	}
	forged := p
	forged.Drives = slices.Clone(p.Drives)
	forged.Drives[0].Given = &sanitize.Given{AssetTag: "\u202e1-GAT"}
	var refused *RefusedError
	if _, err := s.agent.Run(t.Context(), forged, Observer{}); !errors.As(err, &refused) {
		t.Errorf("a plan with words that cannot be signed: %v", err)
	}
	if holds(t, s.rack, "A") == 0 {
		t.Error("the drive was touched")
	}
}

// purging are techniques over all kinds of commands, by which evidence is tried.
var purging = []struct {
	name, profile string
	request       sanitize.Request
}{
	{"NVMe sanitize", "nvme-ssd", sanitize.Request{Method: sanitize.Purge}},
	{"NVMe format", "nvme-format", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.CryptographicFormat}},
	{"ATA sanitize", "sata-ssd", sanitize.Request{Method: sanitize.Purge}},
	{"ATA security", "sata-ssd-basic", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.SecurityErase}},
	{"SCSI sanitize", "sas-ssd", sanitize.Request{Method: sanitize.Purge}},
	{"two units", "sas-dual", sanitize.Request{Method: sanitize.Purge}},
	{"SCSI format", "sas-hdd", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.Format}},
	{"TCG revert", "nvme-opal-inactive", sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}},
	{"TCG bands", "sas-enterprise", sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}},
	{"hidden blocks", "sata-hdd-hpa", sanitize.Request{Method: sanitize.Purge}},
	{"host overwrite", "plain", sanitize.Request{Method: sanitize.Clear, Pattern: "random"}},
}

// The evidence bundle is the same each time, is the one that the certificate pins, and judged again says what the
// certificate says. Nothing can be changed in it, and a certificate is not enlarged beyond what a form can carry.
func TestEvidenceIsWhatIsCertified(t *testing.T) {
	for _, x := range purging {
		t.Run(x.name, func(t *testing.T) {
			s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 40})
			d := s.run(s.plan(x.request, "A"))
			want(t, d, sanitize.Sanitized, "")
			r := s.certified(d)
			bundle, err := s.agent.EvidenceBundle(d.Job, d.Drive.ID)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := s.agent.EvidenceBundle(d.Job, d.Drive.ID); err != nil || !bytes.Equal(again, bundle) {
				t.Fatalf("another bundle the second time: %v", err)
			}
			if err := CheckEvidence(r, bundle); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(d.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("certificate %d bytes, bundle %d bytes, %d commands", len(data), len(bundle), len(r.Sanitization.Commands))
			if len(data) > 16<<10 {
				t.Errorf("the certificate has %d bytes", len(data))
			}
			tamper(t, r, bundle)
		})
	}
}

// tamper changes a bundle in every way that somebody could, and has the certificate pin the changed one, too.
func tamper(t *testing.T, r attest.Result, bundle []byte) {
	t.Helper()
	lines := bytes.SplitAfter(bundle, []byte("\n"))
	lines = lines[:len(lines)-1] // behind the last newline there is nothing
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	middle := len(lines) / 2
	changed := map[string][]byte{"cut": bundle[:len(bundle)-1], "longer": append(bytes.Clone(bundle), '\n'), "empty": nil}
	for n := range lines {
		b := bytes.Clone(lines[n])
		b[len(b)/2] ^= 1
		changed[fmt.Sprintf("a bit of line %d", n+1)] = join(slices.Concat(lines[:n], [][]byte{b}, lines[n+1:])...)
		if n < len(lines)-1 { // a journal without its last line is one of a job that has not ended
			changed[fmt.Sprintf("without line %d", n+1)] = join(slices.Concat(lines[:n], lines[n+1:])...)
		}
	}
	changed["reordered"] = join(slices.Concat(lines[:middle], [][]byte{lines[middle+1], lines[middle]}, lines[middle+2:])...)
	changed["a plan that is good for longer"] = bytes.Replace(bundle, []byte(`"expires":"2`), []byte(`"expires":"3`), 1)
	for name, b := range changed {
		var wrong *EvidenceError
		if err := CheckEvidence(r, b); !errors.As(err, &wrong) || wrong.Code != EvidenceMismatch {
			t.Errorf("%s: %v", name, err)
		}
		pinned := r
		pinned.Evidence.BundleSHA256, pinned.Evidence.BundleBytes = digestOf(b), int64(len(b))
		if err := CheckEvidence(pinned, b); !errors.As(err, &wrong) || wrong.Code != EvidenceMismatch {
			t.Errorf("%s, and pinned: %v", name, err)
		}
	}
	// A certificate that claims otherwise than its evidence, whoever signed it.
	for name, change := range map[string]func(*attest.Result){
		"outcome":  func(r *attest.Result) { r.Outcome.Status, r.Outcome.Method = "exceptions", "clear" },
		"verified": func(r *attest.Result) { r.Verification.Bytes++ },
		"attempts": func(r *attest.Result) { r.Sanitization.Attempts++ },
		"drive":    func(r *attest.Result) { r.Device.Model = "better" },
		"given":    func(r *attest.Result) { r.Given = &attest.Given{Lot: "1"} },
		"areas":    func(r *attest.Result) { r.HiddenAreas = r.HiddenAreas[1:] },
		"policy":   func(r *attest.Result) { r.Policy.SHA256 = strings.Repeat("0", 64) },
		"health":   func(r *attest.Result) { r.Health = &attest.Health{Samples: 99} },
	} {
		other := r
		change(&other)
		var wrong *EvidenceError
		if err := CheckEvidence(other, bundle); !errors.As(err, &wrong) || wrong.Code != EvidenceContradicts {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// A journal that was written anew, chain and all, proves what it proves: another result is not covered by it.
func TestForgedJournalProvesOtherwise(t *testing.T) {
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-ssd", EraseSeconds: 40})
	d := s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A"))
	r := s.certified(d)
	bundle, err := s.agent.EvidenceBundle(d.Job, d.Drive.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sanitize.ParseBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.SplitAfterN(bundle, []byte("\n"), 3)
	forged := slices.Concat(head[0], head[1])
	prev, dropped := digestOf(nil), 0
	for _, record := range b.Journal.Records {
		if record.Kind == "markers_read" {
			dropped++
			continue // that some of them were still there
		}
		record.Seq, record.Prev = record.Seq-int64(dropped), prev
		line, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		line = append(line, '\n')
		prev, forged = digestOf(line), append(forged, line...)
	}
	if _, err := sanitize.ParseBundle(forged); err != nil || dropped == 0 {
		t.Fatalf("the forgery is not one: %v, %d records dropped", err, dropped)
	}
	var wrong *EvidenceError
	r.Evidence.BundleBytes = int64(len(forged))
	if err := CheckEvidence(r, forged); !errors.As(err, &wrong) || wrong.Code != EvidenceMismatch {
		t.Errorf("a bundle that is not the pinned one: %v", err)
	}
	r.Evidence.BundleSHA256 = digestOf(forged)
	r.Evidence.JournalSHA256, r.Evidence.JournalRecords = prev, r.Evidence.JournalRecords-int64(dropped)
	if err := CheckEvidence(r, forged); !errors.As(err, &wrong) || wrong.Code != EvidenceContradicts {
		t.Errorf("%v", err)
	}
}

// Neither PINs nor passwords nor keys are in what is handed out, in any spelling.
func TestEvidenceHasNoSecrets(t *testing.T) {
	for _, x := range []struct {
		profile, pin string
		request      sanitize.Request
	}{
		{"sata-opal", ownersPIN, sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: tcg.WaySIDRevert, TCGPIN: true}},
		{"sata-opal", "PSID", sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: tcg.WayPSIDRevert, TCGPIN: true}},
		{"sata-ssd-basic", "", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.SecurityErase}},
		{"sata-ssd", "", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite, Pattern: "random"}},
	} {
		s, _ := tcgSite(t, x.profile, x.pin)
		secrets := [][]byte{[]byte(ownersPIN)}
		if x.pin == "PSID" {
			label, err := s.rack.Label("A")
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, []byte(label.PSID))
		}
		d := s.run(s.plan(x.request, "A"))
		want(t, d, sanitize.Sanitized, "")
		kept, err := os.ReadFile(s.agent.driveFile(d.Job, d.Drive.ID, secretsFile))
		if err == nil {
			secrets = append(secrets, stringsIn(t, kept)...)
		}
		if x.pin == "" && len(secrets) < 2 {
			t.Errorf("%s has no secrets: the test shows nothing (%v)", x.profile, err)
		}
		bundle, err := s.agent.EvidenceBundle(d.Job, d.Drive.ID)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := os.ReadFile(d.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		result, err := json.Marshal(s.certified(d))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			raw, isHex := hex.DecodeString(string(secret))
			spellings := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret))[:len(secret)/3*4]}
			if isHex == nil {
				spellings = append(spellings, raw, []byte(base64.StdEncoding.EncodeToString(raw))[:len(raw)/3*4])
			}
			for _, spelled := range spellings {
				if out := slices.Concat(bundle, certificate, result); bytes.Contains(out, spelled) {
					t.Errorf("%s: %q is handed out", x.profile, spelled)
				}
			}
		}
	}
}

// stringsIn are the longer words of a JSON document.
func stringsIn(t *testing.T, data []byte) (list [][]byte) {
	t.Helper()
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if len(v) >= 16 {
				list = append(list, []byte(v))
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(tree)
	return list
}

// Every command that destroys is on disk before the drive begins, with its bytes, and in the certificate with how it
// was answered.
func TestCommandsAreNotedBeforeTheyAreSent(t *testing.T) {
	for _, x := range []struct{ profile, name, bytes string }{
		{"nvme-ssd", "Sanitize", "8400000000000000"}, {"sata-ssd", "SANITIZE DEVICE", "85"}, {"sas-ssd", "SANITIZE", "48"},
	} {
		s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 40})
		noted := 0
		s.agent.testOnlyObserve = func(r journal.Record) {
			if r.Kind == "command" && strings.Contains(string(r.Data), `"`+x.name+`"`) {
				if begun := s.begun(); len(begun) != noted {
					t.Errorf("%s: %q was begun before command %d was noted", x.profile, begun, noted+1)
				}
				noted++
			}
		}
		r := s.certified(s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A")))
		var sent []attest.Command
		for _, c := range r.Sanitization.Commands {
			if c.Name == x.name && strings.HasPrefix(c.Bytes, x.bytes) {
				sent = append(sent, c)
			}
		}
		if n := len(s.begun()); noted != n || len(sent) != n || n == 0 {
			t.Errorf("%s: %d commands begun, %d noted, certified %+v", x.profile, n, noted, r.Sanitization.Commands)
		}
		for _, c := range sent {
			if c.ElapsedMs == nil || c.Status == "unknown" {
				t.Errorf("%s: %+v has no answer", x.profile, c)
			}
		}
	}
}

// What is said of hidden areas is what the medium shows.
func TestHiddenAreasTellTheTruth(t *testing.T) {
	const spare = "over-provisioned and reallocated blocks"
	for _, x := range []struct {
		profile string
		request sanitize.Request
		area    string
		state   string
	}{
		{"sata-hdd-hpa", sanitize.Request{Method: sanitize.Purge}, "host protected area", "removed"},
		{"sata-hdd-hpa", sanitize.Request{Method: sanitize.Purge}, "accessible max address", "absent"},
		{"sata-hdd-dco", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "device configuration overlay", "removed"},
		{"sata-hdd-dco", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, spare, "not sanitized"},
		{"sata-ssd", sanitize.Request{Method: sanitize.Purge}, spare, "sanitized"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, spare, "not sanitized"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Purge}, "persistent memory region", "unknown"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Purge}, "replay protected memory block", "absent"},
		{"nvme-boot", sanitize.Request{Method: sanitize.Purge}, "boot partitions", "not sanitized"},
		{"nvme-boot", sanitize.Request{Method: sanitize.Purge}, "replay protected memory block", "not sanitized"},
		{"plain", sanitize.Request{Method: sanitize.Clear}, spare, "not sanitized"},
	} {
		s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 40})
		d := s.run(s.plan(x.request, "A"))
		want(t, d, sanitize.Sanitized, "")
		states := map[string]string{}
		for _, a := range s.certified(d).HiddenAreas {
			states[a.Kind] = a.State
		}
		if states[x.area] != x.state {
			t.Errorf("%s by %s: %s is %q, want %q", x.profile, d.Drive.Technique, x.area, states[x.area], x.state)
		}
		addressable, hidden, err := s.medium().CountCanary(canary)
		if err != nil || addressable > 0 {
			t.Errorf("%s: %d addressable blocks hold data, %v", x.profile, addressable, err)
		}
		if left := states[spare] == "not sanitized"; left != (hidden > 0) {
			t.Errorf("%s by %s: %d hidden blocks hold data, and the spare ones are %q", x.profile, d.Drive.Technique, hidden, states[spare])
		}
	}
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-ssd", EraseSeconds: 40}, "sanitize-fail:40")
	d := s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A"))
	want(t, d, sanitize.Failed, "")
	for _, a := range s.certified(d).HiddenAreas {
		if a.State == "sanitized" || a.State == "removed" {
			t.Errorf("a sanitize that failed: %s is %s", a.Kind, a.State)
		}
	}
}

// Counters come from the drive and go on: what the job wrote is in them, and so is a loss of power.
func TestCountersAdvance(t *testing.T) {
	for _, profile := range []string{"nvme-ssd", "sata-hdd", "sas-hdd"} {
		s, _ := erasing(t, virtual.Spec{Profile: profile})
		run := func() (before, after attest.Condition) {
			h := s.certified(s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "A"))).Health
			if h == nil || h.Before == nil || h.After == nil || h.After.DataUnitsWritten == nil || h.Before.DataUnitsWritten == nil {
				t.Fatalf("%s: %+v", profile, h)
			}
			return *h.Before, *h.After
		}
		cycles := func(c attest.Condition) *int64 {
			if profile == "sas-hdd" {
				return c.StartStopCycles
			}
			return c.PowerCycles
		}
		before, after := run()
		if units := *after.DataUnitsWritten - *before.DataUnitsWritten; units < 4<<20/512000 || units > 4<<20/512000+2 {
			t.Errorf("%s: 4 MiB were written, and it counts %d units", profile, units)
		}
		if err := s.rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
		next, _ := run()
		if cycles(after) == nil || cycles(next) == nil {
			t.Errorf("%s does not count its power cycles", profile)
		} else if *cycles(next) != *cycles(after)+1 {
			t.Errorf("%s: %d power cycles, and after one more %d", profile, *cycles(after), *cycles(next))
		}
	}
}
