package attest

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// edited is a certificate after a change, in its encoding.
func edited(t *testing.T, data []byte, change func(*Certificate)) []byte {
	t.Helper()
	var c Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	change(&c)
	out, err := encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// A signature has one form: who holds a certificate cannot make another of it that is worth the same.
func TestSignaturesHaveOneForm(t *testing.T) {
	private, err := generate(P256)
	if err != nil {
		t.Fatal(err)
	}
	host, err := NewKey(private, RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	is := testIssuer(t, host)
	data := mustIssue(t, is, "S", "j")
	ed25519Order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	change := func(sig []byte, how func([]byte) []byte) []byte { return how(bytes.Clone(sig)) }
	for name, c := range map[string]struct {
		of  func(*Certificate) *Envelope
		how func([]byte) []byte
	}{
		"Ed25519: S and the order": {func(c *Certificate) *Envelope { return &c.Result }, func(sig []byte) []byte {
			s := slices.Clone(sig[32:])
			slices.Reverse(s)
			sum := new(big.Int).Add(new(big.Int).SetBytes(s), ed25519Order).FillBytes(make([]byte, 32))
			slices.Reverse(sum)
			return append(sig[:32], sum...)
		}},
		"P-256: n - s": {func(c *Certificate) *Envelope { return &c.Sessions[0] }, func(sig []byte) []byte {
			var v ecdsaSignature
			if _, err := asn1.Unmarshal(sig, &v); err != nil {
				t.Fatal(err)
			}
			v.S.Sub(elliptic.P256().Params().N, v.S)
			out, err := asn1.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}},
		"P-256: longer DER": {func(c *Certificate) *Envelope { return &c.Sessions[0] }, func(sig []byte) []byte { return append(sig, 0) }},
		"P-256: as raw r and s": {func(c *Certificate) *Envelope { return &c.Sessions[0] }, func(sig []byte) []byte {
			r, s, _ := parseECDSA(sig)
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}},
		"Ed25519 bytes as P-256": {func(c *Certificate) *Envelope { return &c.Sessions[0] }, func([]byte) []byte { return make([]byte, 64) }},
	} {
		t.Run(name, func(t *testing.T) {
			changed := edited(t, data, func(cert *Certificate) {
				e := c.of(cert)
				sig, err := decodeBase64(e.Signatures[0].Sig)
				if err != nil {
					t.Fatal(err)
				}
				e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(change(sig, c.how))
			})
			if r := Verify(changed, trustIn(t, host)); r.Code != CodeInvalid {
				t.Fatalf("code %d", r.Code)
			}
		})
	}
	if r := Verify(data, trustIn(t, host)); r.Code != CodeOK {
		t.Fatalf("unchanged: %v", r.Reasons)
	}
	// The log's leaf refuses another form too; so does the key alone.
	sig, err := host.Sign([]byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	var v ecdsaSignature
	if _, err := asn1.Unmarshal(sig, &v); err != nil || !host.verifies([]byte("m"), sig) {
		t.Fatal(err)
	}
	v.S.Sub(elliptic.P256().Params().N, v.S)
	if high, err := asn1.Marshal(v); err != nil || host.verifies([]byte("m"), high) {
		t.Fatal("both forms of a signature are taken", err)
	}
}

// Types and versions are compared exactly: no statement of another kind or version passes for one of these.
func TestVersionsAreExact(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "S", "j")
	for _, c := range [][2]string{
		{`"predicateType":"` + SanitizationType, `"predicateType":"` + strings.Replace(SanitizationType, "/v1", "/v0", 1)},
		{`"predicateType":"` + SanitizationType, `"predicateType":"` + IntentType},
		{`"predicateType":"` + SanitizationType, `"predicateType":"` + SanitizationType + "/"},
		{`"_type":"` + StatementType, `"_type":"https://in-toto.io/Statement/v0.1`},
		{`"_type":"` + StatementType, `"_type":"` + strings.ToUpper(StatementType)},
	} {
		changed := edited(t, data, func(cert *Certificate) {
			payload, err := decodeBase64(cert.Result.Payload)
			if err != nil {
				t.Fatal(err)
			}
			again := strings.Replace(string(payload), c[0], c[1], 1)
			if again == string(payload) {
				t.Fatalf("%s is not there", c[0])
			}
			if cert.Result, err = seal([]byte(again), is.Run.key); err != nil {
				t.Fatal(err)
			}
		})
		if r := Verify(changed, trustIn(t, is.Key)); r.Code != CodeInvalid || !strings.Contains(r.Reasons[0].Message, "predicate") {
			t.Errorf("%s: code %d, %v", c[1], r.Code, r.Reasons)
		}
	}
}

// Whatever is handed in, the answer comes soon and from little memory.
func TestLargeInputs(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "S", "j")
	trust := trustIn(t, is.Key)
	for name, input := range map[string][]byte{
		"64 MiB of nothing":  make([]byte, 64<<20),
		"64 MiB of brackets": bytes.Repeat([]byte("["), 64<<20),
		"deep":               []byte(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + "\n"),
		"many signatures": edited(t, data, func(c *Certificate) {
			c.Result.Signatures = slices.Repeat(c.Result.Signatures, 5000)
		}),
		"many keys": edited(t, data, func(c *Certificate) { c.Keys = slices.Repeat(c.Keys, 300) }),
		"many sessions": edited(t, data, func(c *Certificate) {
			c.Sessions, c.Proofs = slices.Repeat(c.Sessions, 200), slices.Repeat(c.Proofs, 68)
		}),
		"many hashes": edited(t, data, func(c *Certificate) {
			c.Proofs[2] = strings.TrimSuffix(c.Proofs[2], "\n") + strings.Repeat(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", 20000) + "\n"
		}),
		"many lines on the checkpoint": edited(t, data, func(c *Certificate) {
			c.Checkpoint += strings.Repeat("— a "+base64.StdEncoding.EncodeToString(make([]byte, 40))+"\n", 2000)
		}),
		"a long line on the checkpoint": edited(t, data, func(c *Certificate) {
			c.Checkpoint += "— a " + base64.StdEncoding.EncodeToString(make([]byte, 400_000)) + "\n"
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if len(input) > MaxSize && !strings.HasPrefix(name, "64") {
				t.Fatalf("%d bytes: the size alone refuses it", len(input))
			}
			if r := Verify(input, trust); r.Code != CodeInvalid || len(r.Reasons[0].Message) > 500 {
				t.Fatalf("code %d, %d bytes of reasons", r.Code, len(fmt.Sprint(r.Reasons)))
			}
		})
	}
}

// Other parties may add their lines to a checkpoint: they are kept, and say nothing until somebody names their keys.
func TestCosignaturesOfOthers(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "S", "j")
	line := "— witness.example " + base64.StdEncoding.EncodeToString(make([]byte, 76)) + "\n"
	for lines, want := range map[int]int{1: CodeOK, maxCosignatures: CodeOK, maxCosignatures + 1: CodeInvalid} {
		changed := edited(t, data, func(c *Certificate) {
			for n := range lines {
				c.Checkpoint += strings.Replace(line, "witness", fmt.Sprint("witness", n), 1)
			}
		})
		if r := Verify(changed, trustIn(t, is.Key)); r.Code != want {
			t.Errorf("%d lines: code %d %v", lines, r.Code, r.Reasons)
		}
	}
	first := edited(t, data, func(c *Certificate) { c.Checkpoint = strings.Replace(c.Checkpoint, "\n\n", "\n\n"+line, 1) })
	if r := Verify(first, trustIn(t, is.Key)); r.Code != CodeInvalid {
		t.Errorf("a line before the log's own: code %d", r.Code)
	}
}

// What a Verifier remembers never makes it take what it would not have taken.
func TestVerifierRemembersNoMore(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	good := mustIssue(t, is, "S", "j")
	v := NewVerifier(trustIn(t, is.Key))
	if r := v.Verify(good); r.Code != CodeOK {
		t.Fatal(r.Reasons)
	}
	for i := 0; i < len(good); i += 17 {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if r := v.Verify(changed); r.Code != CodeInvalid {
			t.Fatalf("byte %d: code %d", i, r.Code)
		}
	}
	if r := NewVerifier(Trust{}).Verify(good); r.Code != CodePolicy {
		t.Fatalf("code %d", r.Code)
	}
}

// A signer that is not what it was taken for signs nothing.
func TestSignerIsLookedAfter(t *testing.T) {
	a, b := testKey(1, RoleHost), testKey(2, RoleHost)
	lying := &Key{a.Public, RoleHost, b.signer}
	is := testIssuer(t, a)
	is.Key = lying
	if _, err := is.Intent(testIntent("S", "j")); err == nil {
		t.Fatal("an intent was signed")
	}
	if got := files(t, is.Log.dir); len(got["checkpoint"]) > 0 {
		t.Fatal("something was logged")
	}
}

// respelled spells the last base64 of a text with other spare bits, which decode to the same bytes.
func respelled(t *testing.T, text string, nth int) string {
	t.Helper()
	at := -1
	for range nth {
		at += 1 + strings.Index(text[at+1:], "=\n")
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.IndexByte(alphabet, text[at-1])
	if at < 1 || i < 0 || i%4 != 0 {
		t.Fatalf("no base64 with spare bits: %q", text)
	}
	return text[:at-1] + alphabet[i+1:i+2] + text[at:]
}

// Signatures of notes have one spelling, too: base64 has spare bits at its end, which other readers pass over.
func TestNotesHaveOneSpelling(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "S", "j")
	trust := mustTrust(t, append(is.Key.PublicPEM(), is.Log.key.PublicPEM()...))
	for name, change := range map[string]func(*Certificate){
		"Ed25519 of the checkpoint":   func(c *Certificate) { c.Checkpoint = respelled(t, c.Checkpoint, 2) }, // the first is the root
		"ML-DSA-44 of the checkpoint": func(c *Certificate) { c.Checkpoint = respelled(t, c.Checkpoint, 3) },
		"root of the checkpoint":      func(c *Certificate) { c.Checkpoint = respelled(t, c.Checkpoint, 1) },
		"the summary":                 func(c *Certificate) { c.Summary = respelled(t, c.Summary, 1) },
		"a hash of a proof":           func(c *Certificate) { c.Proofs[2] = respelled(t, c.Proofs[2], 1) },
	} {
		if r := Verify(edited(t, data, change), trust); r.Code != CodeInvalid {
			t.Errorf("%s is taken in another spelling: code %d", name, r.Code)
		}
	}
	edited(t, data, func(c *Certificate) {
		if r := VerifySummary([]byte(c.Summary), trust); r.Code != CodeOK {
			t.Errorf("%v", r.Reasons)
		}
		if r := VerifySummary([]byte(respelled(t, c.Summary, 1)), trust); r.Code != CodeInvalid {
			t.Errorf("a summary is taken in another spelling")
		}
	})
	page := pageFile(t)
	p, err := OpenPDF(page)
	if err != nil {
		t.Fatal(err)
	}
	r := Verify(p.Bundle, Trust{})
	if err := r.CheckSeal(p); err != nil {
		t.Fatal(err)
	}
	p.Seal = respelled(t, p.Seal, 1)
	if r.CheckSeal(p) == nil {
		t.Error("a seal is taken in another spelling")
	}
}
