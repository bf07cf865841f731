package attest

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

var keep = flag.String("keep", "", "directory to write the many certificates of benchmarks to, and their trust file")

// BenchmarkVerify is one certificate from bytes to verdict.
func BenchmarkVerify(b *testing.B) {
	is := testIssuer(b, testKey(1, RoleHost))
	data := mustIssue(b, is, "S", "j")
	trust, err := ParseTrust(is.Key.PublicPEM())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	v := NewVerifier(trust)
	for b.Loop() {
		if r := v.Verify(data); r.Code != CodeOK {
			b.Fatal(r.Reasons)
		}
	}
}

// BenchmarkVerifyMany is 2,000 different certificates on all cores; the rate is that of one core.
func BenchmarkVerifyMany(b *testing.B) {
	k := testKey(1, RoleHost)
	all := manyCertificates(b, k, 2000)
	trust, err := ParseTrust(append(k.PublicPEM(), testKey(99, RoleValidator).PublicPEM()...))
	if err != nil {
		b.Fatal(err)
	}
	v := NewVerifier(trust)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if r := v.Verify(all[n%len(all)]); r.Code != CodeOK {
				b.Error(r.Reasons)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/float64(runtime.GOMAXPROCS(0)), "certificates/s/core")
}

// BenchmarkLogEntry is what a drive of a run waits for, twice: its intent, and its result with the certificate made of
// it, each signed and on disk with the checkpoint that makes it count. TMPDIR says on which.
func BenchmarkLogEntry(b *testing.B) {
	median := func(b *testing.B, took []time.Duration) {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	}
	b.Run("intent", func(b *testing.B) {
		is := testIssuer(b, testKey(1, RoleHost))
		var took []time.Duration
		for n := 0; b.Loop(); n++ {
			from := time.Now()
			if _, err := is.Intent(testIntent(fmt.Sprint("S", n), fmt.Sprint("j", n))); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(from))
		}
		median(b, took)
	})
	b.Run("result", func(b *testing.B) {
		is := testIssuer(b, testKey(1, RoleHost))
		var took []time.Duration
		for n := 0; b.Loop(); n++ {
			serial, job := fmt.Sprint("S", n), fmt.Sprint("j", n)
			at, err := is.Intent(testIntent(serial, job))
			if err != nil {
				b.Fatal(err)
			}
			from := time.Now()
			if _, err := is.Result(testResult(serial, job, at)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(from))
		}
		median(b, took)
	})
}

// manyCertificates are certificates of as many drives in one log, which is only in memory: an issuer
// puts every entry on disk.
func manyCertificates(t testing.TB, k *Key, drives int) [][]byte {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var some []tlog.Hash
		for _, i := range indexes {
			some = append(some, stored[i])
		}
		return some, nil
	})
	size, logKey, validator := int64(0), testLogKey(9), testKey(99, RoleValidator)
	is := Issuer{Key: k, Log: OpenLog("", logKey, testNow)}
	_, private, err := ed25519.GenerateKey(nil)
	must(err)
	run, err := NewKey(private, roleSession)
	must(err)
	log := func(l leaf, payload []byte, key *Key) (Envelope, Logged) {
		e, err := seal(payload, key)
		must(err)
		l, err = l.committed(e)
		must(err)
		data, err := Canonical(l)
		must(err)
		hashes, err := tlog.StoredHashes(size, data, reader)
		must(err)
		hash, err := leafHash(l)
		must(err)
		stored, size = append(stored, hashes...), size+1
		return e, Logged{size - 1, hash}
	}
	clock := Time{"2026-01-02T03:06:00Z", "host clock"}
	s := Session{Agent: Agent{"expunge", "test"}, Key: run.text(), Time: clock, Log: LogAt{Keys: []string{logKey.Ed25519.ID, logKey.MLDSA44.ID}}}
	payload, err := Canonical(Statement[Session]{StatementType, s.subjects(), SessionType, s})
	must(err)
	session, _ := log(leaf{Kind: kindSession, Session: run.ID}, payload, k)
	parts := make([]Certificate, drives)
	for n := range parts {
		serial, job := fmt.Sprintf("S%06d", n), fmt.Sprintf("j%d", n)
		i := testIntent(serial, job)
		i.Attempt, i.Time = 1, clock
		payload, err := Canonical(Statement[Intent]{StatementType, i.subjects(), IntentType, i})
		must(err)
		c := &parts[n]
		var at Logged
		c.Intent, at = log(leaf{Kind: kindIntent, Drive: i.Device.DriveID(), Job: job}, payload, run)
		r := testResult(serial, job, at)
		r.Time, r.Signers = clock, []string{run.ID}
		payload, err = Canonical(Statement[Result]{StatementType, r.subjects(), SanitizationType, r})
		must(err)
		c.Result, _ = log(leaf{Kind: kindResult, Drive: i.Device.DriveID(), Job: job}, payload, run)
		digest, err := c.Result.digest()
		must(err)
		d := r.Device
		v := Validation{Agent: r.Agent, By: Person{Name: "V. Alidator"}, Decision: Accept, Device: Name(d.Model, d.Serial, d.WWN), Recommendation: Recommend(r),
			Result: ResultAt{size - 1, job, digest, r.Outcome.Status}, Signers: []string{validator.ID}, Time: clock}
		payload, err = Canonical(Statement[Validation]{StatementType, v.subjects(), ValidationType, v})
		must(err)
		e, _ := log(leaf{Kind: kindValidation, Drive: d.DriveID(), Job: job}, payload, validator)
		c.Validations = []Envelope{e}
		c.Schema, c.Sessions = CertificateSchema, []Envelope{session}
		for _, key := range []Public{k.Public, validator.Public, logKey.Ed25519, logKey.MLDSA44} {
			c.Keys = append(c.Keys, key.text())
		}
		slices.Sort(c.Keys)
		c.Summary, err = is.summary(c.Result)
		must(err)
	}
	root, err := tlog.TreeHash(size, reader)
	must(err)
	checkpoint, err := signCheckpoint(size, root, logKey, testNow())
	must(err)
	all := make([][]byte, drives)
	for n := range parts {
		parts[n].Checkpoint = string(checkpoint)
		for _, index := range []int64{0, int64(3*n + 1), int64(3*n + 2), int64(3*n + 3)} {
			path, err := tlog.ProveRecord(size, index, reader)
			must(err)
			p := proof.TLogProof{Index: uint64(index)}
			for _, h := range path {
				p.Hashes = append(p.Hashes, h)
			}
			parts[n].Proofs = append(parts[n].Proofs, string(p.Marshal()))
		}
		data, err := Canonical(parts[n])
		must(err)
		all[n] = append(data, '\n')
		if *keep != "" {
			dir := filepath.Join(*keep, fmt.Sprintf("%03d", n/1000))
			must(os.MkdirAll(dir, 0o755))
			must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.json", n)), all[n], 0o644))
		}
	}
	if *keep != "" {
		must(os.WriteFile(filepath.Join(*keep, "trust.pem"), append(k.PublicPEM(), validator.PublicPEM()...), 0o644))
	}
	return all
}
