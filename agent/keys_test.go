package agent

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Whoever cannot sign destroys nothing: a key that is locked, or a signer that is gone, is found out before the first
// write, and the plan is not used up.
func TestNoKeyNoErase(t *testing.T) {
	public, err := attest.NewPublic(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	gone, err := json.Marshal(keystore.SignerFile{PublicKey: string(public.PEM("")), Schema: keystore.SignerSchema, Socket: filepath.Join(t.TempDir(), "gone")})
	if err != nil {
		t.Fatal(err)
	}
	const armored = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA=\n-----END AGE ENCRYPTED FILE-----\n"
	for name, text := range map[string]string{"simulation.signer": string(gone), "simulation.age": armored} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
			before := holds(t, s.rack, "A")
			p := s.plan(sanitize.Request{}, "A")
			file := filepath.Join(s.state, keysDir, name)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var refused *attest.KeyFileError
			if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &refused) {
				t.Fatalf("error %v, want a *KeyFileError", err)
			}
			if now := holds(t, s.rack, "A"); now != before || before == 0 {
				t.Errorf("%d blocks held data, %d do", before, now)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if r := s.run(p); r.Outcome != sanitize.Sanitized || s.verify(r).Code != attest.CodeOK {
				t.Errorf("%s", r.Outcome)
			}
		})
	}
}

// highSigner serves one P-256 key on a Unix socket as hardware does that knows nothing of low s: docs/trust.md is all
// that it knows of us.
func highSigner(t *testing.T) (socket string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "signer") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = os.RemoveAll(dir) })
	sign := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		var request struct{ Input []byte } // base64
		if err := json.NewDecoder(conn).Decode(&request); err != nil {
			return
		}
		r, s, err := ecdsa.Sign(rand.Reader, key, request.Input)
		if err != nil {
			return
		}
		if n := key.Params().N; s.Cmp(new(big.Int).Rsh(n, 1)) <= 0 {
			s = s.Sub(n, s)
		}
		sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err == nil {
			_ = json.NewEncoder(conn).Encode(map[string]any{"version": 1, "signature": sig})
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go sign(conn)
		}
	}()
	return socket, key
}

// The key is in another program, which is asked twice in a run: whether it is there, and for the session. What is
// certified is checked by anybody.
func TestExternalSignerCertifies(t *testing.T) {
	socket, key := highSigner(t)
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	public, err := attest.NewPublic(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.agent.InitKey(keystore.Options{Socket: socket, SignerKey: public.PEM(attest.RoleSimulation)})
	if err != nil {
		t.Fatal(err)
	}
	r := s.run(s.plan(sanitize.Request{}, "A"))
	if got := s.verify(r); got.Code != attest.CodeOK || got.KeyID != k.ID || k.ID != public.ID {
		t.Fatalf("%d by key %s: %v", got.Code, got.KeyID, got.Reasons)
	}
	data, err := os.ReadFile(r.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Sessions []struct{ Signatures []struct{ Sig []byte } }
	}
	var sig struct{ R, S *big.Int }
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(c.Sessions[0].Signatures[0].Sig, &sig); err != nil || sig.S.Cmp(new(big.Int).Rsh(key.Params().N, 1)) > 0 {
		t.Errorf("%v: s = %x", err, sig.S)
	}
}

// A new key begins between jobs: what was certified stays good under the old one, and the log is one.
func TestKeyRotatesBetweenJobs(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B"} {
		s.add(virtual.Spec{Serial: serial, SizeBytes: 1 << 20})
	}
	old, err := s.agent.Key()
	if err != nil {
		t.Fatal(err)
	}
	if r := s.verify(s.run(s.plan(sanitize.Request{}, "A"))); r.KeyID != old.ID {
		t.Fatalf("by key %s", r.KeyID)
	}
	refused := false
	s.agent.testOnlyObserve = func(journal.Record) {
		if _, err := s.agent.RotateKey(keystore.Options{}); errors.Is(err, ErrJobBusy) {
			refused = true
		} else {
			t.Errorf("rotated under a job: %v", err)
		}
	}
	s.run(s.plan(sanitize.Request{}, "B"))
	s.agent.testOnlyObserve = nil
	if now, err := s.agent.Key(); err != nil || now.ID != old.ID || !refused {
		t.Fatalf("%v, refused %t", err, refused)
	}
	rotated, err := s.agent.RotateKey(keystore.Options{Alg: attest.P256})
	if err != nil {
		t.Fatal(err)
	}
	s.add(virtual.Spec{Serial: "C", SizeBytes: 1 << 20})
	r := s.verify(s.run(s.plan(sanitize.Request{}, "C"))) // by the same process
	if r.KeyID != rotated.New.ID || r.Trust == "untrusted" || r.LogIndex != 9 {
		t.Errorf("by key %s, entry %d, %s", r.KeyID, r.LogIndex, r.Trust)
	}
	if err := s.agent.CheckLog(); err != nil {
		t.Error(err)
	}
}
