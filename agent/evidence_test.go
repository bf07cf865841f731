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
)

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
