package render

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/expunge-dev/expunge/attest"
)

func hash(c string) string { return strings.Repeat(c, 64) }

var fixedKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// issuer signs with a key and a clock that stand still, so that certificates and forms are the same in each run.
func issuer(t testing.TB) attest.Issuer {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(fixedKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := attest.LoadOrCreateKey(dir, attest.RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC) }
	return attest.Issuer{Key: key, Run: &attest.Run{Agent: attest.Agent{Name: "expunge", Version: "test"}}, Log: attest.OpenLog(log, logKey(t), now), Now: now}
}

func logKey(t testing.TB) *attest.LogKey {
	t.Helper()
	k, err := attest.NewLogKey(fixedKey, bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signNote makes a C2SP signed note of a text, as the log's key would.
func signNote(text string) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(fixedKey.Public())
	if err != nil {
		return nil, err
	}
	id := sha256Hex(der)
	s, err := noteSigner("expunge.log/" + id)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, s)
}

// sample is a form of a certificate that was issued, after changing the result.
func sample(t testing.TB, change func(*attest.Result)) *Form {
	t.Helper()
	is := issuer(t)
	r := purged()
	if change != nil {
		change(&r)
	}
	is.Run.Simulated = r.Simulated
	bundle := issued(t, is, r)
	f, err := New(attest.Verify(bundle, attest.TrustKey(is.Key)), bundle, Site{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func issued(t testing.TB, is attest.Issuer, r attest.Result) []byte {
	t.Helper()
	size := r.Device
	if len(r.Sanitization.Reshaped) > 0 {
		size.SizeBytes = r.Sanitization.Reshaped[0].FromBytes
	}
	at, err := is.Intent(attest.Intent{Agent: r.Agent, Device: size, Scope: r.Scope, Simulated: r.Simulated, Job: r.History.Job, PlanSHA256: r.Evidence.PlanSHA256,
		Policy: r.Policy, Method: r.Sanitization.Method, Technique: r.Sanitization.Technique, Scheme: r.Sanitization.Scheme, Verification: r.Verification.Mode,
		Disposition: r.Disposition, Category: r.Category})
	if err != nil {
		t.Fatal(err)
	}
	r.History.IntentIndex, r.History.IntentLeaf = at.Index, at.Leaf
	bundle, err := is.Result(r)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func n(v int64) *int64 { return &v }

func sanitizePage(code byte) string {
	page := make([]byte, 512)
	page[2], page[3], page[4] = 1, 1, code
	return attest.PackPage(page)
}

// purged is what most certificates of an NVMe drive are like.
func purged() attest.Result {
	size := int64(1024209543168)
	operation := func(technique, action string, code byte) attest.Operation {
		return attest.Operation{Technique: technique, Kind: "NVMe Sanitize", Command: "NVMe Sanitize, action " + action + ", no deallocate", Code: "0x0000000" + string('0'+rune(code)), Commands: 1,
			Started: "2026-03-04T14:58:00Z", Finished: "2026-03-04T15:01:12Z", Complete: true, Because: "the drive's account shows the success with this command's code, and did not before the command was sent",
			Status: "completed successfully", StatusPage: sanitizePage(code), StatusPageBefore: sanitizePage(0), EstimateSeconds: n(180), ElapsedSeconds: 96, Timing: "within the drive's own estimate"}
	}
	return attest.Result{
		Agent: attest.Agent{Name: "expunge", Version: "1.0.0"},
		Device: attest.Device{Model: "SAMSUNG MZVL21T0HCLR-00B00", Serial: "S676NX0R123456", WWN: "nqn.1994-11.com.samsung:nvme:PM9A1:M.2:S676NX0R123456", Firmware: "GXA7401Q", Protocol: "nvme", Media: "ssd",
			Identity: "drive", SizeBytes: size, LogicalBlockBytes: 512, PowerOnHours: n(4380), Nodes: []string{"/dev/nvme0n1"}, Namespaces: []attest.Namespace{{NSID: 1, Attached: true, SizeBytes: size}}},
		Scope:   "device",
		Outcome: attest.Outcome{Status: "sanitized", Method: "purge", Exceptions: []attest.Exception{}},
		Sanitization: attest.Sanitization{Method: "purge", Technique: "cryptographic erase followed by block erase", Passes: []attest.Pass{}, Started: "2026-03-04T14:55:01Z", Finished: "2026-03-04T15:06:05Z", Attempts: 1,
			Excludes:   []string{"boot partitions, of which the drive has two of 128 KiB: no erase reaches them", "the replay protected memory block: no erase reaches it"},
			Operations: []attest.Operation{operation("cryptographic erase", "4", 4), operation("block erase", "2", 2)},
			RestsOn:    []string{"that blocks which the host cannot read were erased rests on the drive's report of success"}},
		Verification: attest.Verification{Mode: "sampled", Result: "passed", Samples: 2002, Bytes: size / 10 / 512 * 512, CoveragePPM: 100012, Seed: hash("d"), PRNG: "aes-256-ctr/u64be/reject",
			Expected: "no block that begins like a partition table, a volume or a file", ZeroBlocks: 1, Markers: &attest.Markers{Set: 2002, Changed: 2002, Seed: hash("4"), PRNG: "aes-256-ctr/u64be/reject"}},
		Health: &attest.Health{Before: &attest.Condition{PowerOnHours: n(4380), UsedPercent: n(3), MediaErrors: n(0)}, After: &attest.Condition{PowerOnHours: n(4380), UsedPercent: n(3), MediaErrors: n(0)}, Samples: 2},
		Policy: attest.Policy{Name: "nist-800-88r2", SHA256: hash("b"), Standard: "NIST SP 800-88r2, IEEE 2883-2022"}, Disposition: "decommission", Category: "moderate",
		Given: &attest.Given{Operator: &attest.Person{Name: "Zoë Müller", Title: "Technician", Organization: "Recycling Nord GmbH", Location: "Hamburg", Contact: "zoe@example.org"},
			Organization: "Example Bank plc", Processor: "Recycling Nord GmbH", Site: "DC Frankfurt 3", Location: "room 2.14, rack 17", AssetTag: "EB-0047112", Source: "laptop of finance", Lot: "2026-W10",
			Ticket: "CHG-2291", Custody: "COC-88231", Received: "2026-03-01, sealed box 4", Seal: "0911827", Condition: "operational", BackedUp: "yes", Destination: "external reuse", Details: "Refurb Ltd, Leeds"},
		Evidence: attest.Evidence{JournalSHA256: hash("e"), JournalRecords: 23, PlanSHA256: hash("a")},
		History:  attest.History{Job: "j-0c1d2e3f4a5b"},
	}
}

// cleared is a host overwrite of a SATA disk.
func cleared(r *attest.Result) {
	size := int64(4000787030016)
	r.Device = attest.Device{Model: "WDC WD40EZRZ-00GXCB0", Serial: "WD-WCC7K1234567", WWN: "naa.50014ee2b1234567", Firmware: "80.00A80", Protocol: "ata", Media: "hdd", Identity: "drive",
		SizeBytes: size, LogicalBlockBytes: 512, PowerOnHours: n(31022), Nodes: []string{"/dev/sdc"}}
	r.Outcome.Method = "clear"
	r.Sanitization = attest.Sanitization{Method: "clear", Technique: "host overwrite", Passes: []attest.Pass{{Pass: 1, Pattern: "random", KeySHA256: hash("c"), Bytes: size, Complete: true}},
		Started: "2026-03-03T20:00:00Z", Finished: "2026-03-04T03:41:00Z", BytesWritten: size, Attempts: 2, Interruptions: 1,
		Excludes: []string{"spare blocks that the drive took out of use, of which it reports none", "blocks beyond the accessible maximum: none are hidden"}}
	r.Verification = attest.Verification{Mode: "sampled", Result: "passed", Samples: 2002, Bytes: size / 10 / 512 * 512, CoveragePPM: 100012, Seed: hash("d"), PRNG: "aes-256-ctr/u64be/reject", Expected: "the keystream of the last pass"}
	r.Health = &attest.Health{After: &attest.Condition{PowerOnHours: n(31029), Reallocated: n(0), Pending: n(0), Uncorrectable: n(0)}, Samples: 1}
}

func excepted(number int) func(*attest.Result) {
	return func(r *attest.Result) {
		cleared(r)
		r.Outcome.Status, r.Outcome.Reason = "exceptions", "write errors"
		for i := range number {
			e := attest.Exception{Kind: "write error", Offset: int64(i+1) * 1_000_000_512 / 512 * 512, Length: 512 * int64(1+i%9)}
			r.Outcome.Exceptions = append(r.Outcome.Exceptions, e)
			r.Outcome.ExceptionBytes += e.Length
		}
		r.Sanitization.Passes[0].Bytes -= r.Outcome.ExceptionBytes
		r.Sanitization.BytesWritten = r.Sanitization.Passes[0].Bytes
	}
}

func ended(status, reason string) func(*attest.Result) {
	return func(r *attest.Result) {
		r.Outcome = attest.Outcome{Status: status, Reason: reason, Exceptions: []attest.Exception{}}
	}
}

// samples are all outcomes, and what strains a page.
var samples = map[string]func(*attest.Result){
	"purge":     nil,
	"clear":     cleared,
	"simulated": func(r *attest.Result) { r.Simulated = true },
	"status": func(r *attest.Result) {
		r.Verification = attest.Verification{Mode: "status", Result: "none"}
		r.Given = nil
	},
	"logical": func(r *attest.Result) {
		cleared(r)
		r.Scope, r.Device.Identity, r.Device.Protocol, r.Device.Media, r.Given = "logical", "host-local", "virtio", "unknown", nil
	},
	"exceptions":      excepted(7),
	"many-exceptions": excepted(256),
	"failed": func(r *attest.Result) {
		ended("failed", "the drive reports that its sanitize failed: cryptographic erase: operation failed")(r)
		o := &r.Sanitization.Operations[0]
		o.Complete, o.Finished, o.Because, o.Timing, o.Status = false, "", "", "", "failed"
		r.Sanitization.Operations = r.Sanitization.Operations[:1]
		r.Verification = attest.Verification{Mode: "sampled", Result: "none"}
	},
	"failed-simulated": func(r *attest.Result) {
		r.Simulated = true
		ended("failed", "the drive reports that its sanitize failed")(r)
	},
	"unproven": func(r *attest.Result) {
		ended("unproven", "1,204 of 2,002 blocks that were marked before the erase are still there")(r)
		r.Verification.Result, r.Verification.Markers.Changed, r.Verification.Markers.Unchanged = "failed", 798, 1204
		r.Verification.Mismatches = 1204
	},
	"unknown": ended("unknown", "the drive answered nothing that could be understood when it was asked for the result"),
	"refused": func(r *attest.Result) {
		ended("refused", "the drive came into use before anything was sent: mounted at /srv/data")(r)
		r.Sanitization.Operations, r.Sanitization.Started, r.Sanitization.Finished, r.Sanitization.Attempts = nil, "", "", 0
		r.Verification = attest.Verification{Mode: "sampled", Result: "none"}
	},
	"foreign": func(r *attest.Result) {
		r.Given = &attest.Given{Operator: &attest.Person{Name: "山田太郎", Title: "Ingénieur"}, Organization: "株式会社サンプル", Site: "Αθήνα, Москва", AssetTag: "資産-42", Notes: "somebody says: PURGED verified"}
	},
	"nameless": func(r *attest.Result) { // no model, no serial number, nothing but its WWN
		cleared(r)
		r.Device.Model, r.Device.Serial, r.Device.Firmware = "", "", ""
	},
	"long": func(r *attest.Result) {
		r.Device.Model = strings.Repeat("VERYLONGMODELNAME-", 9)
		r.Device.Serial = strings.Repeat("SERIAL0123456789", 4)
		r.Given.Notes = strings.Repeat("what somebody had to say about it ", 14)
		for range 5 {
			r.Sanitization.Warnings = append(r.Sanitization.Warnings, "the drive reported a temperature above its warning threshold during the erase, and went on")
		}
	},
}
