package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"crypto/elliptic"

	"filippo.io/age"

	"github.com/expunge-dev/expunge/attest"
)

func TestMain(m *testing.M) {
	workFactor = 10 // a guess costs nothing here
	os.Exit(m.Run())
}

// private is a private key of an algorithm, and its public half in PEM.
func private(t *testing.T, alg attest.Alg) (crypto.Signer, []byte) {
	t.Helper()
	text, err := attest.NewPrivatePEM(alg)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.ParsePrivatePEM("x", text, attest.RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(crypto.Signer), k.PublicPEM()
}

// serve is a working signer of one key, after docs/trust.md and nothing else. What it answers may be changed.
func serve(t *testing.T, key crypto.Signer, change func(conn net.Conn, a *SignAnswer) bool) (socket string, asked *atomic.Int32) {
	t.Helper()
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
	public, err := attest.NewPublic(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	asked = &atomic.Int32{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			go func() {
				defer func() { _ = conn.Close() }()
				var r SignRequest
				a := SignAnswer{Version: 1}
				dec := json.NewDecoder(conn)
				dec.DisallowUnknownFields()
				if err := dec.Decode(&r); err != nil || r.Version != 1 {
					a.Error = "not a request"
				} else if r.KeyID != public.ID || r.Algorithm != string(public.Alg) {
					a.Error = "no such key"
				} else if input, err := base64.StdEncoding.DecodeString(r.Input); err != nil {
					a.Error = "no input"
				} else {
					hash := crypto.Hash(0)
					if r.Algorithm == "P-256" {
						hash = crypto.SHA256
					}
					sig, err := key.Sign(nil, input, hash)
					if err != nil {
						a.Error = err.Error()
					}
					a.Signature = base64.StdEncoding.EncodeToString(sig)
				}
				if change != nil && !change(conn, &a) {
					return
				}
				line, err := json.Marshal(a)
				if err == nil {
					_, _ = conn.Write(append(line, '\n'))
				}
			}()
		}
	}()
	return socket, asked
}

func signerFile(t *testing.T, dir, socket string, public []byte, seconds int64) {
	t.Helper()
	data, err := json.Marshal(SignerFile{PublicKey: string(public), Schema: SignerSchema, Socket: socket, TimeoutSeconds: seconds})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host.signer"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func refusal(t *testing.T, s *Store) string {
	t.Helper()
	k, err := s.Open()
	var file *attest.KeyFileError
	if k != nil || !errors.As(err, &file) || file.Hint == "" {
		t.Fatalf("%v, want a *KeyFileError with a hint", err)
	}
	return err.Error()
}

// A signer in another process signs as a key in a file does, and is asked for each signature anew.
func TestExternalSigner(t *testing.T) {
	for _, alg := range []attest.Alg{attest.Ed25519, attest.P256} {
		key, public := private(t, alg)
		socket, asked := serve(t, key, nil)
		s := &Store{Dir: t.TempDir(), Role: "host"}
		made, err := Init(s.Dir, "host", Options{Socket: socket, SignerKey: public})
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Open()
		if err != nil || k.ID != made.ID || !bytes.Equal(k.PublicPEM(), public) {
			t.Fatalf("%s: %v", alg, err)
		}
		before := asked.Load()
		if _, err := k.Sign([]byte("message")); err != nil || asked.Load() != before+1 {
			t.Errorf("%s: %v", alg, err)
		}
		if again, err := s.Open(); err != nil || again != k || asked.Load() != before+1 {
			t.Errorf("%s: it was tried again: %v", alg, err)
		}
	}
}

// A signer that is gone, slow, lying or for another key is found out when it is opened, and nothing is signed.
func TestExternalSignersThatFail(t *testing.T) {
	key, public := private(t, attest.Ed25519)
	other, _ := private(t, attest.Ed25519)
	ec, ecPublic := private(t, attest.P256)
	says := func(change func(a *SignAnswer)) func(net.Conn, *SignAnswer) bool {
		return func(_ net.Conn, a *SignAnswer) bool { change(a); return true }
	}
	raw := func(text string) func(net.Conn, *SignAnswer) bool {
		return func(c net.Conn, _ *SignAnswer) bool { _, _ = c.Write([]byte(text)); return false }
	}
	sigOther := func(a *SignAnswer) {
		sig, err := other.Sign(nil, []byte("x"), crypto.Hash(0))
		if err != nil {
			t.Error(err)
		}
		a.Signature, a.Error = base64.StdEncoding.EncodeToString(sig), ""
	}
	released := make(chan struct{})
	defer close(released)
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		public []byte
		change func(net.Conn, *SignAnswer) bool
		want   string
	}{
		{"another key", other, public, nil, "no such key"},
		{"another key that says nothing of it", other, public, says(sigOther), "no signature of this key"},
		{"another algorithm", ec, public, nil, "no such key"},
		{"nothing signed", key, public, says(func(a *SignAnswer) { a.Signature = "" }), "neither a signature nor an error"},
		{"zeros", key, public, says(func(a *SignAnswer) { a.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64)) }), "no signature of this key"},
		{"an error and a signature", key, public, says(func(a *SignAnswer) { a.Error = "locked" }), `refuses: "locked"`},
		{"another version", key, public, says(func(a *SignAnswer) { a.Version = 2 }), "version 2"},
		{"no JSON", key, public, raw("ok\n"), "not of the protocol"},
		{"more than is known", key, public, raw(`{"version":1,"signature":"AA==","also":1}` + "\n"), "not of the protocol"},
		{"two documents", key, public, raw(`{"version":1,"error":"x"} {"version":1}` + "\n"), "not of the protocol"},
		{"cut off", key, public, raw(`{"version":1,"sig`), "ended before"},
		{"without end", key, public, raw(strings.Repeat("x", maxAnswer+1)), "more than"},
		{"no base64", key, public, raw(`{"version":1,"signature":"!"}` + "\n"), "its signature"},
		{"not DER", ec, ecPublic, says(func(a *SignAnswer) { a.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64)) }), "no DER signature"},
		{"slow", key, public, func(net.Conn, *SignAnswer) bool { <-released; return false }, "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, _ := serve(t, c.key, c.change)
			s := &Store{Dir: t.TempDir(), Role: "host"}
			signerFile(t, s.Dir, socket, c.public, 1)
			if got := refusal(t, s); !strings.Contains(got, c.want) {
				t.Errorf("%s, want %q", got, c.want)
			}
		})
	}
	s := &Store{Dir: t.TempDir(), Role: "host"}
	signerFile(t, s.Dir, filepath.Join(s.Dir, "none"), public, 1)
	if got := refusal(t, s); !strings.Contains(got, "no such file") {
		t.Errorf("gone: %s", got)
	}
	if _, err := Init(t.TempDir(), "host", Options{Socket: filepath.Join(s.Dir, "none"), SignerKey: public}); err == nil {
		t.Error("a signer that is not there was taken")
	}
	for name, text := range map[string]string{
		"unknown member": `{"schema":"expunge/signer/v1","socket":"/x","public_key":"","run":"rm"}`, "relative": `{"schema":"expunge/signer/v1","socket":"x","public_key":` + jsonText(public) + `}`,
		"no key": `{"schema":"expunge/signer/v1","socket":"/x","public_key":""}`, "another schema": `{"schema":"expunge/signer/v2","socket":"/x","public_key":` + jsonText(public) + `}`, "empty": "",
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, "host.signer"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := refusal(t, s); got == "" {
			t.Error(name)
		}
	}
}

func jsonText(v []byte) string {
	data, _ := json.Marshal(string(v)) // of text
	return string(data)
}

// A signer that stops between two signatures signs nothing, and the error says who.
func TestSignerGoesAway(t *testing.T) {
	key, public := private(t, attest.P256)
	var gone atomic.Bool
	socket, _ := serve(t, key, func(net.Conn, *SignAnswer) bool { return !gone.Load() })
	s := &Store{Dir: t.TempDir(), Role: "host"}
	signerFile(t, s.Dir, socket, public, 1)
	k, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	gone.Store(true)
	if sig, err := k.Sign([]byte("x")); err == nil || sig != nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("%v", err)
	}
}

// Hardware knows nothing of low s: what it returns is put into the one form that a verifier takes.
func TestSignerWithHighS(t *testing.T) {
	key, public := private(t, attest.P256)
	order := elliptic.P256().Params().N
	socket, _ := serve(t, key, func(_ net.Conn, a *SignAnswer) bool {
		sig, err := base64.StdEncoding.DecodeString(a.Signature)
		var v struct{ R, S *big.Int }
		if _, e := asn1.Unmarshal(sig, &v); err != nil || e != nil {
			t.Error(err, e)
			return false
		}
		if half := new(big.Int).Rsh(order, 1); v.S.Cmp(half) <= 0 {
			v.S = new(big.Int).Sub(order, v.S)
		}
		if sig, err = asn1.Marshal(v); err != nil {
			t.Error(err)
		}
		a.Signature = base64.StdEncoding.EncodeToString(sig)
		return true
	})
	s := &Store{Dir: t.TempDir(), Role: "host"}
	signerFile(t, s.Dir, socket, public, 5)
	k, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		sig, err := k.Sign([]byte("x"))
		var v struct{ R, S *big.Int }
		if _, e := asn1.Unmarshal(sig, &v); err != nil || e != nil || v.S.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
			t.Fatalf("%v, %v: s = %x", err, e, v.S)
		}
	}
}

// A key that is encrypted opens by its passphrase, which is asked for once, and by no other.
func TestAgePassphrase(t *testing.T) {
	asked := 0
	phrase := "correct horse"
	s := &Store{Dir: t.TempDir(), Role: "host", Unlock: Unlock{Passphrase: func(string) (string, error) { asked++; return phrase, nil }}}
	made, err := Init(s.Dir, "host", Options{Alg: attest.P256, Passphrase: phrase})
	if err != nil || made.Alg != attest.P256 {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(s.Dir, "host.age"))
	if err != nil || bytes.Contains(data, []byte("PRIVATE KEY")) {
		t.Fatalf("%v: %s", err, data)
	}
	for range 3 {
		if k, err := s.Open(); err != nil || k.ID != made.ID {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	for name, c := range map[string]struct {
		u    Unlock
		want string
	}{
		"wrong":    {Unlock{Passphrase: func(string) (string, error) { return "incorrect horse", nil }}, "not the one"},
		"none":     {Unlock{}, "no passphrase was given"},
		"empty":    {Unlock{Passphrase: func(string) (string, error) { return "", nil }}, "no passphrase was given"},
		"not had":  {Unlock{Passphrase: func(string) (string, error) { return "", errors.New("no terminal") }}, "no terminal"},
		"identity": {Unlock{Identities: filepath.Join(s.Dir, "host.age")}, "no passphrase was given"},
	} {
		if got := refusal(t, &Store{Dir: s.Dir, Role: "host", Unlock: c.u}); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 3 { // host.age, host.pub, lock
		t.Errorf("%v: %v", err, entries)
	}
}

// A key that is encrypted to recipients opens by an identity of one of them.
func TestAgeRecipients(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: t.TempDir(), Role: "host"}
	made, err := Init(s.Dir, "host", Options{Recipients: []string{stranger.Recipient().String(), id.Recipient().String()}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := refusal(t, s); !strings.Contains(got, "no identity") {
		t.Error(got)
	}
	third, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{
		{write("third", third.String()+"\n", 0o600), "none of the identities"},
		{write("text", "hello\n", 0o600), "no age identities"},
		{write("open", id.String()+"\n", 0o644), "others can read it"},
	} {
		s.Unlock.Identities = c.file
		if got := refusal(t, s); !strings.Contains(got, c.want) {
			t.Error(got)
		}
	}
	s.Unlock.Identities = write("right", "# mine\n"+third.String()+"\n"+id.String()+"\n", 0o600)
	if k, err := s.Open(); err != nil || k.ID != made.ID {
		t.Fatal(err)
	}
	if _, err := Init(t.TempDir(), "host", Options{Recipients: []string{"age1nonsense"}}); err == nil {
		t.Error("no recipient")
	}
	if _, err := Init(t.TempDir(), "host", Options{Passphrase: "x", Recipients: []string{id.Recipient().String()}}); err == nil {
		t.Error("both")
	}
}

// Files that others can read, two keys, or none where there was one: no key is used, and none is made.
func TestFilesThatAreNotAsTheyMustBe(t *testing.T) {
	for _, kind := range []Options{{}, {Passphrase: "x"}} {
		s := &Store{Dir: t.TempDir(), Role: "host", Unlock: Unlock{Passphrase: func(string) (string, error) { return "x", nil }}}
		if _, err := Init(s.Dir, "host", kind); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(s.Dir, "host", Options{}); !errors.Is(err, ErrKeyThere) {
			t.Errorf("a second one: %v", err)
		}
		name := filepath.Join(s.Dir, "host."+string(kind.Kind()))
		if err := os.Chmod(name, 0o640); err != nil {
			t.Fatal(err)
		}
		if got := refusal(t, s); !strings.Contains(got, "others can read it") {
			t.Error(got)
		}
		data, err := os.ReadFile(name)
		if err := errors.Join(err, os.Chmod(name, 0o600), os.WriteFile(name, data[:len(data)/2], 0o600)); err != nil {
			t.Fatal(err)
		}
		refusal(t, s)
		if err := errors.Join(os.WriteFile(name, data, 0o600), os.WriteFile(filepath.Join(s.Dir, "host.signer"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := refusal(t, s); !strings.Contains(got, "only one of them") {
			t.Error(got)
		}
		if err := errors.Join(os.Remove(name), os.Remove(filepath.Join(s.Dir, "host.signer"))); err != nil {
			t.Fatal(err)
		}
		if got := refusal(t, s); !strings.Contains(got, "lost or moved") {
			t.Error(got)
		}
		if _, err := Init(s.Dir, "host", Options{}); err == nil {
			t.Error("a new key in place of a lost one")
		}
	}
	s := &Store{Dir: t.TempDir(), Role: "host"}
	if k, err := s.Open(); err != nil || k.Alg != attest.Ed25519 {
		t.Errorf("the first use makes none: %v", err)
	}
}

// After a rotation there is one key, the new one; the old one is kept, and its public half with it.
func TestRotate(t *testing.T) {
	s := &Store{Dir: t.TempDir(), Role: "host", Unlock: Unlock{Passphrase: func(string) (string, error) { return "x", nil }}}
	old, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {Passphrase: "x"}, {Alg: attest.P256, Passphrase: "x"}, {}} {
		r, err := s.Rotate(o)
		if err != nil || r.Old.ID != old.ID || r.New.ID == old.ID {
			t.Fatalf("%+v: %v", o, err)
		}
		k, err := s.Open()
		if err != nil || k.ID != r.New.ID {
			t.Fatalf("%+v: %v", o, err)
		}
		info, err := os.Stat(r.Retired)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v", err)
		}
		public, err := os.ReadFile(strings.TrimSuffix(r.Retired, ".retired") + ".pub")
		if err != nil || !bytes.Equal(public, old.PublicPEM()) {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(filepath.Join(s.Dir, "host.pub")); err != nil || !bytes.Equal(now, k.PublicPEM()) {
			t.Fatal(err)
		}
		old = k
	}
	if _, err := (&Store{Dir: s.Dir, Role: "host"}).Rotate(Options{Socket: "/none", SignerKey: old.PublicPEM()}); err == nil {
		t.Error("rotated to a signer that is not there")
	}
	if k, err := s.Open(); err != nil || k.ID != old.ID {
		t.Errorf("a rotation that failed changed something: %v", err)
	}
}

// A key of its own has a file, and its public half beside it.
func TestCreate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "v.pem")
	k, public, err := Create(name, attest.RoleValidator, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := OpenFile(name, attest.RoleValidator, Unlock{}); err != nil || again.ID != k.ID {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(public); err != nil || !strings.HasPrefix(string(text), "# expunge validator key") {
		t.Fatalf("%v: %s", err, text)
	}
	if _, _, err := Create(name, attest.RoleValidator, Options{}); !errors.Is(err, ErrKeyThere) {
		t.Errorf("a second one: %v", err)
	}
	if _, _, err := Create(name+".x", attest.RoleValidator, Options{}); err == nil {
		t.Error("a file that would be taken for another kind")
	}
}
