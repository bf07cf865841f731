package attest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

var update = flag.Bool("update", false, "write golden files anew")

func hash(c string) string { return strings.Repeat(c, 64) }

func testKey(b byte, role string) *Key {
	k, err := NewKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize)), role)
	if err != nil {
		panic(err)
	}
	return k
}

func testLogKey(b byte) *LogKey {
	k, err := NewLogKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b, 1}, ed25519.SeedSize/2)), bytes.Repeat([]byte{b, 2}, 16))
	if err != nil {
		panic(err)
	}
	return k
}

func testNow() time.Time { return time.Date(2026, 1, 2, 3, 6, 0, 0, time.UTC) }

func testRun(role string) *Run {
	return &Run{Agent: Agent{"expunge", "test"}, Host: Host{Kernel: "6.12", BootID: "b"}, Simulated: role == RoleSimulation}
}

func testDevice(serial string) Device {
	return Device{Model: "virtio disk", Serial: serial, Protocol: "virtio", Media: "unknown", Identity: "host-local",
		SizeBytes: 4 << 20, LogicalBlockBytes: 512, Nodes: []string{"/dev/vda"}}
}

func testIntent(serial, job string) Intent {
	return Intent{Agent: Agent{"expunge", "test"}, Device: testDevice(serial), Scope: "logical", Job: job, PlanSHA256: hash("a"),
		Policy: Policy{"nist-800-88r2", hash("b"), "NIST SP 800-88r2"}, Method: "clear", Technique: "host overwrite",
		Verification: "sampled"}
}

func testResult(serial, job string, at Logged) Result {
	size := int64(4 << 20)
	return Result{
		Agent: Agent{"expunge", "test"}, Device: testDevice(serial), Scope: "logical",
		Outcome: Outcome{Status: "sanitized", Method: "clear", Exceptions: []Exception{}},
		Sanitization: Sanitization{Method: "clear", Technique: "host overwrite", Passes: []Pass{{1, "random", hash("c"), size, true}},
			Started: "2026-01-02T03:04:05Z", Finished: "2026-01-02T03:05:05Z", BytesWritten: size, Attempts: 1, Excludes: []string{"spare blocks"}},
		Verification: Verification{Mode: "sampled", Result: "passed", Samples: 2002, Bytes: size / 10, CoveragePPM: 100000,
			Seed: hash("d"), PRNG: "aes-256-ctr/u64be/reject", Expected: "keystream"},
		Policy: Policy{"nist-800-88r2", hash("b"), "NIST SP 800-88r2"}, Evidence: Evidence{JournalSHA256: hash("e"), JournalRecords: 12, PlanSHA256: hash("a")},
		History: History{job, at.Index, at.Leaf},
	}
}

func testIssuer(t testing.TB, k *Key) Issuer {
	t.Helper()
	return Issuer{Key: k, Run: testRun(k.Role), Log: OpenLog(t.TempDir(), testLogKey(k.spki[len(k.spki)-1]), testNow), Now: testNow}
}

// issue makes a certificate, after changing the result.
func issue(t testing.TB, is Issuer, serial, job string, change func(*Result)) ([]byte, error) {
	t.Helper()
	at, err := is.Intent(testIntent(serial, job))
	if err != nil {
		t.Fatal(err)
	}
	r := testResult(serial, job, at)
	if change != nil {
		change(&r)
	}
	return is.Result(r)
}

// mustIssue issues a certificate and leaves the log at rest.
func mustIssue(t testing.TB, is Issuer, serial, job string) []byte {
	t.Helper()
	data, err := issue(t, is, serial, job, nil)
	if err = errors.Join(err, is.Log.Settle()); err != nil {
		t.Fatal(err)
	}
	return data
}

func trustIn(t testing.TB, k *Key) Trust {
	t.Helper()
	trust, err := ParseTrust(k.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func TestCertificateVerifies(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	for n := range 300 { // more than one tile
		if n%60 == 0 || n > 254 && n < 260 {
			r := Verify(mustIssue(t, is, fmt.Sprintf("S%d", n), fmt.Sprintf("j%d", n)), trustIn(t, is.Key))
			if r.Code != CodeOK || r.Trust != "trusted" || r.Result.Device.Serial != fmt.Sprintf("S%d", n) {
				t.Fatalf("certificate %d: %d %v", n, r.Code, r.Reasons)
			}
			continue
		}
		if _, err := is.Intent(testIntent("S", fmt.Sprintf("k%d", n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := is.Log.Check(); err != nil {
		t.Fatal(err)
	}
}

// Every single byte of the file is covered: none can be changed, removed or added. With the race detector, which
// takes ten times as long and is not about that, every 37th byte is; make test has the whole without it.
func TestEveryByteCounts(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "S", "j")
	trust := NewVerifier(trustIn(t, is.Key))
	step := 1
	if testing.Short() {
		step = 149
	}
	for i := 0; i < len(data); i += step {
		changes := [][]byte{append(append(bytes.Clone(data[:i]), data[i]^byte(1<<(i%8))), data[i+1:]...)}
		if i%16 == 0 {
			changes = append(changes, append(bytes.Clone(data[:i]), data[i+1:]...), append(append(bytes.Clone(data[:i]), ' '), data[i:]...), data[:i])
		}
		for _, changed := range changes {
			if r := trust.Verify(changed); r.Code != CodeInvalid || r.Result != nil {
				t.Fatalf("byte %d: code %d", i, r.Code)
			}
		}
	}
	for _, more := range []string{"\n", " ", "{}", "\x00"} {
		if r := trust.Verify(append(bytes.Clone(data), more...)); r.Code != CodeInvalid {
			t.Fatalf("%q after the end: code %d", more, r.Code)
		}
	}
}

// What a dishonest holder, or an insider with a key of their own, can put together.
func TestAttacks(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	a, b := mustIssue(t, is, "A", "ja"), mustIssue(t, is, "B", "jb")
	again := mustIssue(t, is, "A", "jc")
	other := testIssuer(t, testKey(2, RoleHost))
	foreign := mustIssue(t, other, "A", "ja")
	decode := func(data []byte) (c Certificate) {
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	B, A2, F := decode(b), decode(again), decode(foreign)
	resign := func(e Envelope, k *Key, change func(string) string) Envelope {
		payload, err := decodeBase64(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		e, err = seal([]byte(change(string(payload))), k)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	run := is.Run.key
	same := func(s string) string { return s }
	cases := map[string]func(*Certificate){
		"result of another drive":            func(c *Certificate) { c.Result = B.Result },
		"result and proof of another":        func(c *Certificate) { c.Result, c.Proofs[2] = B.Result, B.Proofs[2] },
		"intent of another job":              func(c *Certificate) { c.Intent, c.Proofs[1] = A2.Intent, A2.Proofs[1] },
		"payload under another signature":    func(c *Certificate) { c.Result.Payload = B.Result.Payload },
		"no signature":                       func(c *Certificate) { c.Result.Signatures = []Signature{} },
		"the same signature twice":           func(c *Certificate) { c.Result.Signatures = append(c.Result.Signatures, c.Result.Signatures[0]) },
		"another payload type":               func(c *Certificate) { c.Result.PayloadType = "application/json" },
		"keyid of another key":               func(c *Certificate) { c.Result.Signatures[0].KeyID = is.Key.ID },
		"result signed by the host":          func(c *Certificate) { c.Result = resign(c.Result, is.Key, same) },
		"another key":                        func(c *Certificate) { c.Keys = F.Keys },
		"result signed by another key":       func(c *Certificate) { c.Result = resign(c.Result, other.Key, same) },
		"everything of another log's proofs": func(c *Certificate) { c.Proofs = F.Proofs },
		"proofs swapped":                     func(c *Certificate) { c.Proofs[1], c.Proofs[2] = c.Proofs[2], c.Proofs[1] },
		"one proof missing":                  func(c *Certificate) { c.Proofs = c.Proofs[:2] },
		"proof index":                        func(c *Certificate) { c.Proofs[2] = strings.Replace(c.Proofs[2], "index 2", "index 02", 1) },
		"older checkpoint":                   func(c *Certificate) { c.Checkpoint = B.Checkpoint },
		"checkpoint without ML-DSA":          func(c *Certificate) { c.Checkpoint = c.Checkpoint[:strings.LastIndex(c.Checkpoint, "— ")] },
		"checkpoint without Ed25519": func(c *Certificate) {
			lines := strings.SplitAfter(c.Checkpoint, "\n")
			c.Checkpoint = strings.Join(append(lines[:4:4], lines[5:]...), "")
		},
		"checkpoint's signatures swapped": func(c *Certificate) {
			lines := strings.SplitAfter(c.Checkpoint, "\n")
			lines[4], lines[5] = lines[5], lines[4]
			c.Checkpoint = strings.Join(lines, "")
		},
		"checkpoint with a line in it": func(c *Certificate) { c.Checkpoint = strings.Replace(c.Checkpoint, "\n\n", "\nmore\n\n", 1) },
		"checkpoint of another log":    func(c *Certificate) { c.Checkpoint = F.Checkpoint },
		"no session":                   func(c *Certificate) { c.Sessions, c.Proofs = []Envelope{}, c.Proofs[1:] },
		"session of another":           func(c *Certificate) { c.Sessions = F.Sessions },
		"a session that signed nothing": func(c *Certificate) {
			c.Sessions, c.Proofs = append(c.Sessions, F.Sessions...), append([]string{c.Proofs[0]}, c.Proofs...)
		},
		"the session twice": func(c *Certificate) {
			c.Sessions, c.Proofs = append(c.Sessions, c.Sessions...), append([]string{c.Proofs[0]}, c.Proofs...)
		},
		"a key that signed nothing": func(c *Certificate) {
			c.Keys = append(c.Keys, other.Key.text())
			slices.Sort(c.Keys)
		},
		"keys in another order":  func(c *Certificate) { slices.Reverse(c.Keys) },
		"a key missing":          func(c *Certificate) { c.Keys = c.Keys[1:] },
		"a key twice":            func(c *Certificate) { c.Keys = slices.Insert(c.Keys, 1, c.Keys[0]) },
		"no key":                 func(c *Certificate) { c.Keys[0] = "AA==" },
		"summary of another":     func(c *Certificate) { c.Summary = B.Summary },
		"summary of another log": func(c *Certificate) { c.Summary = F.Summary },
		"summary that flatters":  func(c *Certificate) { c.Summary = strings.Replace(c.Summary, "CLEARED", "PURGED", 1) },
		"no summary":             func(c *Certificate) { c.Summary = "" },
		"insider: session over a session": func(c *Certificate) { // a run vouches for another
			c.Sessions[0] = resign(c.Sessions[0], run, same)
		},
		"schema of the future": func(c *Certificate) { c.Schema += "2" },
		"intent as result":     func(c *Certificate) { c.Result = c.Intent },
		"insider: not in the log": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string { return strings.Replace(s, `"attempts":1`, `"attempts":2`, 1) })
		},
		"insider: subject of another": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string {
				return strings.Replace(s, testDevice("A").DriveID(), testDevice("B").DriveID(), 1)
			})
		},
		"insider: drive of another subject": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string { return strings.Replace(s, `"serial":"A"`, `"serial":"B"`, 1) })
		},
		"insider: id beside the subject": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string {
				return strings.Replace(s, `"identity":`, `"id":"`+testDevice("A").DriveID()+`","identity":`, 1)
			})
		},
		"insider: white space": func(c *Certificate) { c.Result = resign(c.Result, run, func(s string) string { return " " + s }) },
		"insider: unknown member": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string { return strings.Replace(s, `"scope"`, `"scopeX":"device","scope"`, 1) })
		},
		"insider: case of a member": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string { return strings.Replace(s, `"scope"`, `"Scope"`, 1) })
		},
		"insider: purge by overwrite": func(c *Certificate) {
			c.Result = resign(c.Result, run, func(s string) string { return strings.ReplaceAll(s, `"method":"clear"`, `"method":"purge"`) })
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			c := decode(a)
			change(&c)
			data, err := Canonical(c)
			if err != nil {
				t.Fatal(err)
			}
			if r := Verify(append(data, '\n'), trustIn(t, is.Key)); r.Code != CodeInvalid || r.Result != nil {
				t.Fatalf("code %d, %v", r.Code, r.Reasons)
			}
		})
	}
	if r := Verify(a, trustIn(t, is.Key)); r.Code != CodeOK {
		t.Fatalf("unchanged: %v", r.Reasons)
	}
}

// Neither the signer nor the verifier accepts a statement that contradicts itself.
func TestNoContradictionIsSigned(t *testing.T) {
	cases := map[string]func(*Result){
		"mismatches":  func(r *Result) { r.Verification.Mismatches = 1 },
		"read errors": func(r *Result) { r.Verification.ReadErrors = 1 },
		"blocks above write pointers": func(r *Result) {
			r.Verification.Bytes -= r.Device.LogicalBlockBytes
			r.Verification.UnwrittenBlocks = 1
		},
		"more blocks than there are": func(r *Result) { r.Verification.UnwrittenBlocks = 1 },
		"fewer than none":            func(r *Result) { r.Verification.UnwrittenBlocks = -1 },
		"exceptions": func(r *Result) {
			r.Outcome.Exceptions, r.Outcome.ExceptionBytes = []Exception{{"write error", 0, 512}}, 512
		},
		"not verified":            func(r *Result) { r.Verification.Result = "incomplete" },
		"passed without numbers":  func(r *Result) { r.Verification.Samples, r.Verification.Bytes, r.Verification.CoveragePPM = 0, 0, 0 },
		"full, not all of it":     func(r *Result) { r.Verification.Mode = "full" },
		"status with a result":    func(r *Result) { r.Verification.Mode = "status" },
		"no seed":                 func(r *Result) { r.Verification.Seed = "" },
		"device scope":            func(r *Result) { r.Scope = "device" },
		"purge":                   func(r *Result) { r.Outcome.Method, r.Sanitization.Method = "purge", "purge" },
		"more than planned":       func(r *Result) { r.Outcome.Method = "purge" },
		"failed with a method":    func(r *Result) { r.Outcome.Status, r.Outcome.Reason = "failed", "why" },
		"failed without a reason": func(r *Result) { r.Outcome.Status, r.Outcome.Method = "failed", "" },
		"nothing written":         func(r *Result) { r.Sanitization.BytesWritten, r.Sanitization.Passes = 0, []Pass{} },
		"half written":            func(r *Result) { r.Sanitization.BytesWritten, r.Sanitization.Passes[0].Bytes = 512, 512 },
		"pass not complete":       func(r *Result) { r.Sanitization.Passes[0].Complete = false },
		"bytes do not add up":     func(r *Result) { r.Sanitization.BytesWritten++ },
		"never attempted":         func(r *Result) { r.Sanitization.Attempts = 0 },
		"no times":                func(r *Result) { r.Sanitization.Started, r.Sanitization.Finished = "", "" },
		"local time":              func(r *Result) { r.Sanitization.Started = "2026-01-02T03:04:05+01:00" },
		"no evidence":             func(r *Result) { r.Evidence.JournalSHA256 = "" },
		"unknown outcome":         func(r *Result) { r.Outcome.Status = "done" },
		"no identity":             func(r *Result) { r.Device.Serial = "" },
		"escape sequence":         func(r *Result) { r.Device.Model = "x\x1b[2J" },
		"another plan":            func(r *Result) { r.Evidence.PlanSHA256 = hash("9") },
		"another intent":          func(r *Result) { r.History.IntentLeaf = hash("9") },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			is := testIssuer(t, testKey(1, RoleHost))
			if data, err := issue(t, is, "S", "j", change); err == nil {
				t.Fatalf("signed: %s", data)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	host, sim := testIssuer(t, testKey(1, RoleHost)), testIssuer(t, testKey(3, RoleSimulation))
	real := mustIssue(t, host, "S", "j")
	failed, err := issue(t, host, "T", "j", func(r *Result) {
		r.Outcome = Outcome{Status: "failed", Reason: "flush: input/output error", Exceptions: []Exception{}}
	})
	if err != nil {
		t.Fatal(err)
	}
	i := testIntent("V", "j")
	i.Simulated = true
	at, err := sim.Intent(i)
	if err != nil {
		t.Fatal(err)
	}
	r := testResult("V", "j", at)
	r.Simulated = true
	simulated, err := sim.Result(r)
	if err != nil {
		t.Fatal(err)
	}
	bare := func(k *Key) []byte { p := k.PublicPEM(); return p[bytes.Index(p, []byte("-----")):] }
	for _, c := range []struct {
		name  string
		data  []byte
		trust []byte
		allow bool
		want  int
	}{
		{"trusted", real, host.Key.PublicPEM(), false, CodeOK},
		{"bare PEM", real, bare(host.Key), false, CodeOK},
		{"unknown key", real, sim.Key.PublicPEM(), false, CodePolicy},
		{"unknown key, simulations allowed", real, sim.Key.PublicPEM(), true, CodePolicy},
		{"two keys", real, append(sim.Key.PublicPEM(), host.Key.PublicPEM()...), false, CodeOK},
		{"failed", failed, host.Key.PublicPEM(), false, CodeOutcome},
		{"simulated", simulated, sim.Key.PublicPEM(), false, CodePolicy},
		{"simulated, allowed", simulated, sim.Key.PublicPEM(), true, CodeOK},
		{"simulated, unknown key", simulated, host.Key.PublicPEM(), true, CodePolicy},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust, err := ParseTrust(c.trust)
			if err != nil {
				t.Fatal(err)
			}
			got := Verify(c.data, trust)
			if c.allow {
				got = got.AllowSimulated()
			}
			if got.Code != c.want {
				t.Fatalf("code %d, want %d: %v", got.Code, c.want, got.Reasons)
			}
		})
	}
	// A host's key does not vouch for simulations, nor a simulation's for the real thing.
	if trust := trustIn(t, sim.Key); trust.trusts(signing{key: sim.Key.ID, role: RoleHost}) || trustIn(t, host.Key).trusts(signing{key: host.Key.ID, role: RoleSimulation}) {
		t.Fatal("a key's role is not kept")
	}
	if r := Verify(real, Trust{}); r.Code != CodePolicy {
		t.Fatalf("no trust at all: code %d", r.Code)
	}
}

// Another implementation of DSSE accepts our envelopes.
func TestEnvelopeIsDSSE(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	var c Certificate
	if err := json.Unmarshal(mustIssue(t, is, "S", "j"), &c); err != nil {
		t.Fatal(err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(dsseKey{is.Run.key})
	if err != nil {
		t.Fatal(err)
	}
	e := dsse.Envelope{PayloadType: c.Result.PayloadType, Payload: c.Result.Payload}
	for _, s := range c.Result.Signatures {
		e.Signatures = append(e.Signatures, dsse.Signature{KeyID: s.KeyID, Sig: s.Sig})
	}
	if _, err := verifier.Verify(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	e.Payload = base64.StdEncoding.EncodeToString([]byte("{}"))
	if _, err := verifier.Verify(t.Context(), &e); err == nil {
		t.Fatal("the other implementation accepts anything: the test shows nothing")
	}
}

// A certificate of this version must verify for ever.
func TestGolden(t *testing.T) {
	is := testIssuer(t, testKey(7, RoleHost))
	name := filepath.Join("testdata", "certificate.v1.json")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(name, mustIssue(t, is, "GOLDEN-1", "j-golden"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(want, trustIn(t, is.Key)); r.Code != CodeOK {
		t.Fatalf("%v", r.Reasons)
	}
}

// What is accepted is what was issued, and nothing else. The files are those of TestGolden and TestGoldenRecords: each process of a
// fuzzer would make others.
func FuzzVerify(f *testing.F) {
	var issued [][]byte
	for _, name := range append(slices.Clone(goldenRecords), "certificate.v1.json") {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		issued = append(issued, data)
		f.Add(data)
	}
	trust := trustIn(f, testKey(7, RoleHost))
	f.Add([]byte("{}\n"))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r := Verify(data, trust); r.Code != CodeInvalid && !slices.ContainsFunc(issued, func(i []byte) bool { return bytes.Equal(i, data) }) {
			t.Fatalf("accepted: %s", data)
		}
	})
}
