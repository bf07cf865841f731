package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/internal/durable"
)

// audited is a copy of what an auditor gets.
type audited struct {
	t                 *testing.T
	log, certificates string
	key               logKeys
}

// logKeys are both private keys of a log.
type logKeys struct {
	ed ed25519.PrivateKey
	pq *mldsa.PrivateKey
}

func readLogKeys(t *testing.T, file string) (k logKeys) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		key, err := pqx509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		switch key := key.(type) {
		case ed25519.PrivateKey:
			k.ed = key
		case *mldsa.PrivateKey:
			k.pq = key
		}
	}
	return k
}

// sign signs a checkpoint as whoever has both keys can.
func (k logKeys) sign(t *testing.T, name, text string, size uint64, root []byte) string {
	t.Helper()
	id := sha256.Sum256(append([]byte(name+"\n\x01"), k.ed.Public().(ed25519.PublicKey)...))
	first := base64.StdEncoding.EncodeToString(append(id[:4:4], ed25519.Sign(k.ed, []byte(text))...))
	signer, err := cosign.NewMLDSASigner("PRIVATE+KEY+" + name + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{6}, k.pq.Bytes()...)))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.SignSubtree(1, name, 0, size, root)
	if err != nil {
		t.Fatal(err)
	}
	second := base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, signer.KeyHash()), sig...))
	return text + "\n— " + name + " " + first + "\n— " + name + " " + second + "\n"
}

// places says where the intents, results and manifests of a log are, and how many entries it has: {i0} is the first
// intent, {r1-2} two before the second result, {n} behind the last entry.
type places struct{ intents, results, manifests []int }

func (a audited) places() (p places) {
	a.t.Helper()
	for i, data := range a.leaves() {
		var l struct{ Kind string }
		if err := json.Unmarshal(data, &l); err != nil {
			a.t.Fatal(err)
		}
		switch l.Kind {
		case "intent":
			p.intents = append(p.intents, i)
		case "result":
			p.results = append(p.results, i)
		case "manifest":
			p.manifests = append(p.manifests, i)
		}
	}
	return p
}

var place = regexp.MustCompile(`\{([irmn])([0-9]*)([+-][0-9]+)?\}`)

func (p places) in(text string, size int) string {
	return place.ReplaceAllStringFunc(text, func(s string) string {
		m := place.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		at := size
		switch m[1] {
		case "i":
			at = p.intents[n]
		case "r":
			at = p.results[n]
		case "m":
			at = p.manifests[n]
		}
		more, _ := strconv.Atoi(m[3])
		return fmt.Sprint(at + more)
	})
}

func (a audited) file(name string) string { return filepath.Join(a.log, name) }

func (a audited) edit(name string, change func([]byte) []byte) {
	a.t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(data), 0o644)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a audited) remove(names ...string) {
	a.t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			a.t.Fatal(err)
		}
	}
}

// certificate is the file of a drive's certificate, the newest one first.
func (a audited) certificate(serial string) string {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(a.certificates, "*/*/certificate.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			a.t.Fatal(err)
		}
		var c struct{ Result struct{ Payload []byte } }
		if err := json.Unmarshal(data, &c); err != nil {
			a.t.Fatal(err)
		}
		if bytes.Contains(c.Result.Payload, fmt.Appendf(nil, `"serial":%q`, serial)) && !bytes.Contains(c.Result.Payload, []byte("unproven")) {
			return f
		}
	}
	a.t.Fatalf("no certificate of %s", serial)
	return ""
}

// leaves are those of a log with less than 256.
func (a audited) leaves() [][]byte {
	a.t.Helper()
	names, err := filepath.Glob(a.file("tile/entries/000.p/*"))
	if err != nil || len(names) != 1 {
		a.t.Fatalf("%q, %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		a.t.Fatal(err)
	}
	var list [][]byte
	for len(data) > 0 {
		n := 2 + binary.BigEndian.Uint16(data)
		list, data = append(list, data[2:n]), data[n:]
	}
	return list
}

// rebuild is what somebody with the key can do: a log of these leaves, in which everything fits.
func (a audited) rebuild(leaves [][]byte) {
	a.t.Helper()
	if err := errors.Join(os.RemoveAll(a.file("tile")), os.MkdirAll(a.file("tile/0/000.p"), 0o755), os.MkdirAll(a.file("tile/entries/000.p"), 0o755)); err != nil {
		a.t.Fatal(err)
	}
	var tile, entries []byte
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) (list []tlog.Hash, _ error) {
		for _, i := range at {
			list = append(list, stored[i])
		}
		return list, nil
	})
	for i, l := range leaves {
		hash := tlog.RecordHash(l)
		tile = append(tile, hash[:]...)
		entries = append(binary.BigEndian.AppendUint16(entries, uint16(len(l))), l...)
		more, err := tlog.StoredHashes(int64(i), l, reader)
		if err != nil {
			a.t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(int64(len(leaves)), reader)
	if err != nil {
		a.t.Fatal(err)
	}
	name, _, _ := strings.Cut(a.text("checkpoint"), "\n")
	text := fmt.Sprintf("%s\n%d\n%s\n", name, len(leaves), base64.StdEncoding.EncodeToString(root[:]))
	width := fmt.Sprint(len(leaves))
	for file, data := range map[string]string{
		"tile/0/000.p/" + width: string(tile), "tile/entries/000.p/" + width: string(entries), "checkpoint": a.key.sign(a.t, name, text, uint64(len(leaves)), root[:]),
	} {
		if err := os.WriteFile(a.file(file), []byte(data), 0o644); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a audited) text(name string) string {
	a.t.Helper()
	data, err := os.ReadFile(a.file(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(data)
}

// putBack puts an older log, or its checkpoint alone, in place of the log.
func (a audited) putBack(from string, whole bool) {
	a.t.Helper()
	if !whole {
		data, err := os.ReadFile(filepath.Join(from, "checkpoint"))
		if err == nil {
			err = os.WriteFile(a.file("checkpoint"), data, 0o644)
		}
		if err != nil {
			a.t.Fatal(err)
		}
		return
	}
	if err := errors.Join(os.RemoveAll(a.log), os.CopyFS(a.log, os.DirFS(from))); err != nil {
		a.t.Fatal(err)
	}
}

type auditDocument struct {
	ExitStatus int `json:"exit_status"`
	Result     struct {
		Size, Intents, Results, Drives, Certificates int
		Simulated                                    bool
		Findings                                     []struct {
			Grade, Code, Message, Serial, Job, File string
			Index                                   *int
		}
	}
	Errors []struct{ Code, Hint string }
}

// found lists codes with the entries that they are about.
func (d auditDocument) found() string {
	var list []string
	for _, f := range d.Result.Findings {
		code := f.Code
		if f.Index != nil {
			code += fmt.Sprintf(":%d", *f.Index)
		}
		list = append(list, code)
	}
	return strings.Join(list, " ")
}

func auditOn(t *testing.T, rack *virtual.Rack, want int, args ...string) auditDocument {
	t.Helper()
	stdout, stderr, code := on(t, rack, append([]string{"audit", "--json"}, args...)...)
	var d auditDocument
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	if code != want || d.ExitStatus != want || (want == exitOK) != (len(d.Errors) == 0) {
		t.Fatalf("exit %d, %d, want %d: %s %+v", code, d.ExitStatus, want, d.found(), d.Errors)
	}
	return d
}

// Real runs make a log; every way to take something from it, or to change it, is found, and nothing
// else is.
func TestAuditFindsWhatWasDone(t *testing.T) {
	rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	do := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := on(t, rack, args...)
		if code != want {
			t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}
	agentDir := filepath.Join(rack.Root(), "agent")
	keep := func() string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "log")
		if err := os.CopyFS(to, os.DirFS(filepath.Join(agentDir, "log"))); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, serial := range []string{"A", "B", "C"} {
		do(exitOK, "rack", "add", "--serial", serial, "--size", "16M")
	}
	do(exitOK, "run", "A", "--confirm", "A")
	if d := auditOn(t, rack, exitOK); d.found() != "" || d.Result.Results != 1 || d.Result.Certificates != 1 || !d.Result.Simulated {
		t.Fatalf("a log of one run: %+v", d)
	}
	early := keep()
	do(exitOK, "rack", "fault", "B", "drop-writes")
	do(exitUnproven, "run", "B", "--confirm", "B")
	do(exitOK, "rack", "fault", "B", "--clear")
	do(exitOK, "run", "B", "--confirm", "B")
	do(exitOK, "rack", "fault", "C", "power-cut:9")
	do(exitInterrupted, "run", "C", "--confirm", "C")

	where := func(text string) string {
		a := audited{t: t, log: filepath.Join(agentDir, "log")}
		return a.places().in(text, len(a.leaves()))
	}
	// Work that can be gone on with is told, and is no omission; to one who has only log and
	// certificates it is; and so it is when the journal was taken away.
	if d := auditOn(t, rack, exitOK); d.found() != where("failure_before_success:{r2} intent_unfinished:{i3}") {
		t.Fatal(d.found())
	}
	elsewhere := []string{"--log", filepath.Join(agentDir, "log"), "--certificates", filepath.Join(agentDir, "jobs")}
	if d := auditOn(t, rack, exitPolicy, elsewhere...); d.found() != where("intent_open:{i3} failure_before_success:{r2}") || d.Result.Findings[0].Serial != "C" || d.Result.Findings[0].Job == "" {
		t.Fatalf("%s %+v", d.found(), d.Result.Findings)
	}
	var listed struct {
		Items []struct {
			ID     string
			Drives []struct{ Serial string }
		}
	}
	if err := json.Unmarshal([]byte(do(exitOK, "jobs", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	job := ""
	for _, j := range listed.Items {
		if j.Drives[0].Serial == "C" {
			job = j.ID
		}
	}
	journals, err := filepath.Glob(filepath.Join(agentDir, "jobs", job, "*", "journal"))
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	if err := os.Rename(journals[0], journals[0]+".away"); err != nil {
		t.Fatal(err)
	}
	if d := auditOn(t, rack, exitPolicy); d.found() != where("intent_open:{i3} failure_before_success:{r2}") {
		t.Error(d.found())
	}
	if err := os.Rename(journals[0]+".away", journals[0]); err != nil {
		t.Fatal(err)
	}
	beforeLast := keep()
	do(exitOK, "jobs", "resume", job)
	if d := auditOn(t, rack, exitOK, elsewhere...); d.found() != where("failure_before_success:{r2}") || d.Result.Results != 4 || d.Result.Drives != 3 {
		t.Fatalf("%s %+v", d.found(), d.Result)
	}

	// A certificate that is about to be written is not one that was taken away.
	live := audited{t: t, certificates: filepath.Join(agentDir, "jobs")}.certificate("A")
	if err := os.Rename(live, live+".away"); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.TryLock(filepath.Join(filepath.Dir(filepath.Dir(live)), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if d := auditOn(t, rack, exitOK); d.found() != where("result_without_certificate:{r0} failure_before_success:{r2}") || d.Result.Findings[0].Grade != "note" {
		t.Errorf("%+v", d.Result.Findings)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if d := auditOn(t, rack, exitPolicy); d.found() != where("result_without_certificate:{r0} failure_before_success:{r2}") || d.Result.Findings[0].Grade != "omission" {
		t.Errorf("%+v", d.Result.Findings)
	}
	if err := os.Rename(live+".away", live); err != nil {
		t.Fatal(err)
	}

	key := readLogKeys(t, filepath.Join(agentDir, "keys", "log.pem"))
	now := audited{t: t, log: filepath.Join(agentDir, "log")}
	at, size := now.places(), len(now.leaves())
	i0, r0, i1, r1, i3, r3 := at.intents[0], at.results[0], at.intents[1], at.results[1], at.intents[3], at.results[3]
	tile, entries := fmt.Sprintf("tile/0/000.p/%d", size), fmt.Sprintf("tile/entries/000.p/%d", size)
	const usual = " failure_before_success:{r2}"
	flip := func(at int) func([]byte) []byte {
		return func(d []byte) []byte { d[(at+len(d))%len(d)] ^= 1; return d }
	}
	drop := func(list [][]byte, i int) [][]byte { return slices.Delete(list, i, i+1) }
	envelopeOf := func(a audited, i int) string {
		var l struct{ Envelope string }
		if err := json.Unmarshal(a.leaves()[i], &l); err != nil {
			t.Fatal(err)
		}
		return a.file("envelopes/" + l.Envelope + ".json")
	}
	for _, c := range []struct {
		name string
		do   func(a audited)
		want string
		code int
	}{
		{"nothing", func(audited) {}, usual, exitOK},
		{"rebuilt as it was", func(a audited) { a.rebuild(a.leaves()) }, usual, exitOK},
		{"tile deleted", func(a audited) { a.remove(a.file(tile)) }, "tile_missing:0" + usual, exitInvalid},
		{"tile cut", func(a audited) { a.edit(a.file(tile), func(d []byte) []byte { return d[:100] }) }, "tile_cut:0" + usual, exitInvalid},
		{"byte of a tile", func(a audited) { a.edit(a.file(tile), flip(70)) }, "tile_altered:2" + usual, exitInvalid},
		{"tile longer", func(a audited) { a.edit(a.file(tile), func(d []byte) []byte { return append(d, d...) }) }, "tile_altered:{n}" + usual, exitInvalid},
		{"entries deleted", func(a audited) { a.remove(a.file(entries)) }, "leaves_missing:0" + usual, exitInvalid},
		{"entries cut", func(a audited) { a.edit(a.file(entries), func(d []byte) []byte { return d[:len(d)-1] }) }, "leaves_cut:{n-1}" + usual, exitInvalid},
		{"entries longer", func(a audited) {
			a.edit(a.file(entries), func(d []byte) []byte { return append(d, 0, 1, 'x') })
		}, "leaves_cut:{n}" + usual, exitInvalid},
		{"byte of a leaf", func(a audited) { a.edit(a.file(entries), flip(40)) }, "leaf_altered:0" + usual, exitInvalid},
		{"byte of a leaf, and its tile made to fit", func(a audited) {
			leaves := a.leaves()
			leaves[i0] = bytes.Replace(leaves[i0], []byte(`"job":"j-`), []byte(`"job":"k-`), 1)
			checkpoint := a.text("checkpoint")
			a.rebuild(leaves)
			a.edit(a.file("checkpoint"), func([]byte) []byte { return []byte(checkpoint) })
		}, "log_forked certificate_without_leaf:{i0} statement_altered:{i0} result_without_intent:{r0} session_mismatch:{i1-1} session_mismatch:{i2-1} session_mismatch:{i3-1} session_mismatch:{r3-1} intent_open:{i0}" + usual, exitInvalid},
		{"last leaf dropped, nothing signed", func(a audited) {
			checkpoint := a.text("checkpoint")
			a.rebuild(drop(a.leaves(), size-1))
			a.edit(a.file("checkpoint"), func([]byte) []byte { return []byte(checkpoint) })
		}, "tile_missing:0 leaves_missing:{n-1}" + usual, exitInvalid},
		{"last leaf dropped, and signed", func(a audited) { a.rebuild(drop(a.leaves(), size-1)) }, "log_rewound certificate_without_leaf:{n-1} manifest_missing:{i3}" + usual, exitInvalid},
		{"a failure dropped, and signed", func(a audited) { a.rebuild(drop(drop(a.leaves(), r1), i1)) },
			"log_forked log_rewound manifest_mismatch:{m1-2} certificate_without_leaf:{r1} session_mismatch:{i2-3} certificate_without_leaf:{m1} chain_broken:{i2-2} intent_mismatch:{r2-2} manifest_mismatch:{m2-2} certificate_without_leaf:{r2} session_mismatch:{i3-3} certificate_without_leaf:{m2} session_mismatch:{r3-3} intent_mismatch:{r3-2} manifest_mismatch:{m3-2} certificate_without_leaf:{r3} certificate_without_leaf:{m3}", exitInvalid},
		{"checkpoint from before the last", func(a audited) { a.putBack(beforeLast, false) }, "log_rewound certificate_without_leaf:{r3} certificate_without_leaf:{m3}" + usual, exitInvalid},
		{"checkpoint from the beginning", func(a audited) { a.putBack(early, false) },
			"log_rewound certificate_without_leaf:{r1} certificate_without_leaf:{m1} certificate_without_leaf:{r2} certificate_without_leaf:{m2} certificate_without_leaf:{r3} certificate_without_leaf:{m3}", exitInvalid},
		{"log from the beginning", func(a audited) { a.putBack(early, true) },
			"log_rewound certificate_without_leaf:{r1} certificate_without_leaf:{m1} certificate_without_leaf:{r2} certificate_without_leaf:{m2} certificate_without_leaf:{r3} certificate_without_leaf:{m3}", exitInvalid},
		{"checkpoint deleted", func(a audited) { a.remove(a.file("checkpoint")) }, "checkpoint_missing" + usual, exitInvalid},
		{"byte of the checkpoint's signature", func(a audited) { a.edit(a.file("checkpoint"), flip(-9)) }, "checkpoint_invalid" + usual, exitInvalid},
		{"byte of the checkpoint's root", func(a audited) { a.edit(a.file("checkpoint"), flip(90)) }, "checkpoint_invalid" + usual, exitInvalid},
		{"certificate deleted", func(a audited) { a.remove(a.certificate("A")) }, "result_without_certificate:{r0}" + usual, exitPolicy},
		{"certificate and statements deleted", func(a audited) {
			a.remove(a.certificate("A"), envelopeOf(a, i0), envelopeOf(a, r0))
		}, "statement_missing:{i0} result_without_certificate:{r0}" + usual, exitPolicy},
		{"byte of a certificate", func(a audited) { a.edit(a.certificate("A"), flip(300)) }, "certificate_invalid result_without_certificate:{r0}" + usual, exitInvalid},
		{"statement deleted", func(a audited) { a.remove(envelopeOf(a, r0)) }, usual, exitOK},
		{"byte of a statement", func(a audited) { a.edit(envelopeOf(a, r0), flip(60)) }, "statement_altered:{r0}" + usual, exitInvalid},
		{"statement of another", func(a audited) {
			a.edit(envelopeOf(a, r0), func([]byte) []byte { return []byte(a.text("envelopes/" + filepath.Base(envelopeOf(a, r3)))) })
		}, "statement_altered:{r0}" + usual, exitInvalid},
		{"result twice", func(a audited) { a.rebuild(append(a.leaves(), a.leaves()[r0])) }, "result_repeated:{n}" + usual, exitInvalid},
		{"intent twice", func(a audited) { a.rebuild(append(a.leaves(), a.leaves()[i0])) }, "intent_repeated:{n}" + usual, exitInvalid},
		{"no entry of this program", func(a audited) { a.rebuild(append(a.leaves(), []byte("{}"))) }, "leaf_malformed:{n}" + usual, exitInvalid},
		{"all certificates deleted, last leaves dropped, and signed", func(a audited) {
			a.removeAll()
			a.rebuild(drop(drop(a.leaves(), size-1), r3))
		}, "result_without_certificate:{r0} record_missing:{m0} result_without_certificate:{r1} record_missing:{m1} result_without_certificate:{r2} record_missing:{m2} intent_open:{i3}" + usual, exitPolicy},
		{"all certificates and the intent of a result deleted, and signed", func(a audited) {
			a.removeAll()
			a.rebuild(drop(a.leaves(), i3))
		}, "session_mismatch:{r3-2} result_without_intent:{r3-1} manifest_mismatch:{m3-1} result_without_certificate:{r0} record_missing:{m0} result_without_certificate:{r1} record_missing:{m1} result_without_certificate:{r2} record_missing:{m2} result_without_certificate:{r3-1} record_missing:{m3-1}" + usual, exitInvalid},
		{"all certificates deleted, a failure dropped, and signed", func(a audited) {
			a.removeAll()
			a.rebuild(drop(drop(a.leaves(), r1), i1))
		}, "manifest_mismatch:{m1-2} session_mismatch:{i2-3} chain_broken:{i2-2} intent_mismatch:{r2-2} manifest_mismatch:{m2-2} session_mismatch:{i3-3} session_mismatch:{r3-3} intent_mismatch:{r3-2} manifest_mismatch:{m3-2} result_without_certificate:{r0} record_missing:{m0} record_missing:{m1-2} result_without_certificate:{r2-2} record_missing:{m2-2} result_without_certificate:{r3-2} record_missing:{m3-2}", exitInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := audited{t: t, log: filepath.Join(t.TempDir(), "log"), certificates: filepath.Join(t.TempDir(), "certificates"), key: key}
			if err := errors.Join(os.CopyFS(a.log, os.DirFS(filepath.Join(agentDir, "log"))), os.CopyFS(a.certificates, os.DirFS(filepath.Join(agentDir, "jobs")))); err != nil {
				t.Fatal(err)
			}
			c.do(a)
			d := auditOn(t, rack, c.code, "--log", a.log, "--certificates", a.certificates, "--key", filepath.Join(agentDir, "keys", "simulation.pub"))
			if want := at.in(strings.TrimSpace(c.want), size); d.found() != want {
				t.Errorf("found %s\nwant  %s", d.found(), want)
				for _, f := range d.Result.Findings {
					t.Logf("%+v", f)
				}
			}
		})
	}
}

// removeAll removes all certificates.
func (a audited) removeAll() {
	a.t.Helper()
	if err := errors.Join(os.RemoveAll(a.certificates), os.Mkdir(a.certificates, 0o755)); err != nil {
		a.t.Fatal(err)
	}
}
