package attest

import (
	"crypto/x509"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

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
	for b.Loop() {
		if r := Verify(data, trust); r.Code != CodeOK {
			b.Fatal(r.Reasons)
		}
	}
}

// BenchmarkVerifyMany is 2,000 different certificates on all cores; the rate is that of one core.
func BenchmarkVerifyMany(b *testing.B) {
	k := testKey(1, RoleHost)
	all := manyCertificates(b, k, 2000)
	trust := trustIn(b, k)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if r := Verify(all[n%len(all)], trust); r.Code != CodeOK {
				b.Error(r.Reasons)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/float64(runtime.GOMAXPROCS(0)), "certificates/s/core")
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
	size := int64(0)
	log := func(kind, drive, job string, payload []byte) (Envelope, Logged) {
		e := seal(payload, k)
		l, err := newLeaf(kind, drive, job, e)
		must(err)
		data, err := Canonical(l)
		must(err)
		hashes, err := tlog.StoredHashes(size, data, reader)
		must(err)
		leaf, err := leafHash(l)
		must(err)
		stored, size = append(stored, hashes...), size+1
		return e, Logged{size - 1, leaf}
	}
	spki, err := x509.MarshalPKIXPublicKey(k.public())
	must(err)
	parts := make([]Certificate, drives)
	for n := range parts {
		serial, job := fmt.Sprintf("S%06d", n), fmt.Sprintf("j%d", n)
		i := testIntent(serial, job)
		i.Time = Time{"2026-01-02T03:03:00Z", "host clock"}
		payload, err := Canonical(statement(IntentType, i.Device, i))
		must(err)
		c := &parts[n]
		var at Logged
		c.Intent, at = log(kindIntent, i.Device.ID, job, payload)
		r := testResult(serial, job, at)
		r.Time, r.Signers = Time{"2026-01-02T03:06:00Z", "host clock"}, []string{k.ID}
		payload, err = Canonical(statement(SanitizationType, r.Device, r))
		must(err)
		c.Result, _ = log(kindResult, r.Device.ID, job, payload)
		c.Schema, c.Keys = CertificateSchema, []PublicKey{{k.ID, base64.StdEncoding.EncodeToString(spki)}}
	}
	root, err := tlog.TreeHash(size, reader)
	must(err)
	checkpoint, err := signCheckpoint(size, root, k)
	must(err)
	all := make([][]byte, drives)
	for n := range parts {
		for index := int64(2 * n); index < int64(2*n+2); index++ {
			path, err := tlog.ProveRecord(size, index, reader)
			must(err)
			p := proof.TLogProof{Index: uint64(index), Checkpoint: checkpoint}
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
		must(os.WriteFile(filepath.Join(*keep, "trust.pem"), k.PublicPEM(), 0o644))
	}
	return all
}
