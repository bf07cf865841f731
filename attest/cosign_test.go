package attest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// witness is somebody else who cosigns checkpoints.
type witness struct {
	vkey string
	sign func(t *testing.T, checkpoint []byte) []byte // the checkpoint's text, with the witness's line
}

func edWitness(t *testing.T, name string) witness {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = cosign.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	s, err := cosign.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	return witness{vkey, func(t *testing.T, checkpoint []byte) []byte { return cosignedBy(t, checkpoint, s) }}
}

func pqWitness(t *testing.T, name string) witness {
	t.Helper()
	skey, vkey, err := cosign.GenerateMLDSAKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cosign.NewMLDSASigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return witness{vkey, func(t *testing.T, checkpoint []byte) []byte { return cosignedBy(t, checkpoint, s) }}
}

func cosignedBy(t *testing.T, checkpoint []byte, s note.Signer) []byte {
	t.Helper()
	text, _, _ := strings.Cut(string(checkpoint), "\n\n")
	out, err := note.Sign(&note.Note{Text: text + "\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func cosigners(t *testing.T, of ...witness) Cosigners {
	t.Helper()
	var text string
	for _, w := range of {
		text += w.vkey + "\n"
	}
	c, err := ParseCosigners([]byte("# witnesses\n\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCosignedCheckpoints(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	id := testDevice("S").DriveID()
	first := mustIssue(t, is, "S", "j")
	ed, pq, stranger := edWitness(t, "witness.example/ed"), pqWitness(t, "witness.example/pq"), edWitness(t, "stranger.example")
	early := filesOf(t, is.Log.dir)
	checkpoint, err := is.Log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	known := cosigners(t, ed, pq)
	for n, w := range []witness{ed, pq, stranger, ed} {
		c, err := is.AddCosigned(w.sign(t, checkpoint), known)
		if err != nil || c.Size != 3 || c.Lines != min(n+1, 3) && n < 3 {
			t.Fatalf("%v %+v", err, c)
		}
	}
	mustIssue(t, is, "T", "k") // the log goes on

	data, err := is.Reissue("j", id)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(trustIn(t, is.Key))
	v.Cosigners = known
	r := v.Verify(data)
	if r.Code != CodeOK || strings.Join(r.Cosigners, " ") != "witness.example/ed witness.example/pq" || r.NotChecked == 0 || r.LogSize != 3 {
		t.Fatalf("%d %s: %q, %d not checked, of %d entries", r.Code, codesOf(r), r.Cosigners, r.NotChecked, r.LogSize)
	}
	if d := r.DemandCosigners(2); d.Code != CodeOK {
		t.Errorf("%d %s", d.Code, codesOf(d))
	}
	if d := r.DemandCosigners(3).AllowSimulated(); d.Code != CodePolicy || codesOf(d) != "cosigners_missing" {
		t.Errorf("%d %s", d.Code, codesOf(d))
	}
	if d := v.Verify(first).DemandCosigners(1); d.Code != CodePolicy {
		t.Errorf("nobody cosigned it: %d %s", d.Code, codesOf(d))
	}
	if r := Verify(data, trustIn(t, is.Key)); r.Code != CodeOK || len(r.Cosigners) != 0 {
		t.Errorf("nobody's keys are known: %d %q", r.Code, r.Cosigners)
	}
	// A line of a known cosigner that does not fit is none.
	at := bytes.Index(data, []byte("— witness.example/ed ")) + len("— witness.example/ed ") + 40
	forged := bytes.Clone(data)
	forged[at] = map[bool]byte{true: 'B', false: 'A'}[forged[at] == 'A']
	if r := v.Verify(forged); r.Code != CodeInvalid {
		t.Errorf("a forged cosignature: %d %q", r.Code, r.Cosigners)
	}
	// What was said later is not under it.
	if data, err = is.Validate("j", id, judge(Reject), testKey(9, RoleValidator)); err != nil {
		t.Fatal(err)
	}
	again, err := is.Reissue("j", id)
	if r := v.Verify(again); err != nil || r.Code != CodeOutcome || len(r.Cosigners) != 0 || !bytes.Equal(again, data) {
		t.Errorf("%v: a reissue lost what was said: %d %s %q", err, r.Code, codesOf(r), r.Cosigners)
	}

	look := func(change func(log fstest.MapFS)) string {
		log := filesOf(t, is.Log.dir)
		change(log)
		a, err := auditOfResults(AuditInput{Log: log, Certificates: fstest.MapFS{"S.json": {Data: again}, "T.json": {Data: mustReissue(t, is, "T", "k")}}, Trust: trustIn(t, is.Key)})
		if err != nil {
			t.Fatal(err)
		}
		return foundIn(a)
	}
	if got := look(func(fstest.MapFS) {}); got != "" {
		t.Errorf("%s", got)
	}
	if got := look(func(log fstest.MapFS) { log["cosigned/3"].Data[0] ^= 1 }); got != "cosigned_invalid" {
		t.Errorf("%s", got)
	}
	if got := look(func(log fstest.MapFS) { log["cosigned/4"] = log["cosigned/3"]; delete(log, "cosigned/3") }); got != "cosigned_invalid" {
		t.Errorf("%s", got)
	}
	// A log from before what was cosigned, and no certificate to show it.
	now, err := is.Log.Checkpoint()
	if err == nil {
		_, err = is.AddCosigned(ed.sign(t, now), known)
	}
	if err != nil {
		t.Fatal(err)
	}
	early["cosigned/6"] = filesOf(t, is.Log.dir)["cosigned/6"]
	if a, err := auditOfResults(AuditInput{Log: early, Certificates: fstest.MapFS{}, Trust: trustIn(t, is.Key)}); err != nil || !strings.HasPrefix(foundIn(a), "log_rewound") {
		t.Errorf("%v: %s", err, foundIn(a))
	}
	if err := os.Remove(filepath.Join(is.Log.dir, "cosigned/6")); err != nil {
		t.Fatal(err)
	}
	// The same keys, another history: what was cosigned says so.
	other := Issuer{Key: is.Key, Run: testRun(RoleHost), Log: OpenLog(t.TempDir(), is.Log.key, testNow), Now: testNow}
	mustIssue(t, other, "X", "x")
	cp, err := other.Log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	_, err = is.AddCosigned(ed.sign(t, cp), known)
	refusedAs(t, err, "cosigned_refused")
	if _, err := other.AddCosigned(ed.sign(t, cp), known); err != nil {
		t.Fatal(err)
	}
	forks, err := os.ReadFile(filepath.Join(other.Log.dir, "cosigned/3"))
	if err != nil {
		t.Fatal(err)
	}
	if got := look(func(log fstest.MapFS) { log["cosigned/3"] = &fstest.MapFile{Data: forks} }); got != "log_forked" {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(filepath.Join(is.Log.dir, "cosigned/3"), forks, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := is.Reissue("k", testDevice("T").DriveID()); err != nil {
		t.Errorf("a cosigned size below all that there is of it is not used: %v", err)
	}
	if _, err := other.Reissue("x", testDevice("X").DriveID()); err != nil {
		t.Fatal(err)
	}
}

func mustReissue(t *testing.T, is Issuer, serial, job string) []byte {
	t.Helper()
	data, err := is.Reissue(job, testDevice(serial).DriveID())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCosignedIsRefused(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	mustIssue(t, is, "S", "j")
	cp, err := is.Log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	w := edWitness(t, "witness.example")
	good := string(w.sign(t, cp))
	another := testIssuer(t, testKey(2, RoleHost))
	mustIssue(t, another, "S", "j")
	foreign, err := another.Log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	longer := testIssuer(t, testKey(1, RoleHost))
	mustIssue(t, longer, "S", "j")
	mustIssue(t, longer, "T", "j")
	more, err := longer.Log.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	line := good[strings.Index(good, "\n\n")+2:]
	name, sig, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	text := strings.TrimSuffix(good, line)
	for why, data := range map[string]string{
		"nobody but the log":      string(cp),
		"another log":             string(w.sign(t, foreign)),
		"more entries":            string(w.sign(t, more)),
		"a size it never had":     strings.Replace(good, "\n3\n", "\n2\n", 1),
		"a forged line":           text + fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(raw)),
		"a signature of no kind":  text + fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(raw[:40])),
		"base64 that is not":      text + fmt.Sprintf("— %s %s\n", name, sig[:len(sig)-2]),
		"cut":                     good[:len(good)-1],
		"text behind the root":    strings.Replace(good, "\n\n", "\nmore\n\n", 1),
		"nothing":                 "",
		"many lines of one":       text + strings.Repeat(line, 30),
		"a terminal's escape":     text + "— x\x1b[2J " + sig + "\n",
		"not a note but its text": text,
	} {
		if _, err := is.AddCosigned([]byte(data), cosigners(t, w)); err == nil {
			t.Errorf("%s: accepted", why)
		} else {
			refusedAs(t, err, "cosigned_refused")
		}
		// Nobody's keys are known: a line that does not fit cannot be told then.
		if _, err := is.AddCosigned([]byte(data), Cosigners{}); err == nil && why != "a forged line" {
			t.Errorf("%s: accepted without a key", why)
		} else if err == nil {
			if err := os.Remove(filepath.Join(is.Log.dir, cosignedDir, "3")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if files, err := filepath.Glob(filepath.Join(is.Log.dir, cosignedDir, "*")); err != nil || len(files) > 0 {
		t.Errorf("%q %v", files, err)
	}
	for _, bad := range []string{"", "# none", "x+00000000+AQ==", w.vkey + "\n" + w.vkey, strings.Replace(w.vkey, "witness", "witnes", 1)} {
		if _, err := ParseCosigners([]byte(bad)); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}
