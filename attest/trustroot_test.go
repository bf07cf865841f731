package attest

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func boundAt(log LogPublic, index int64) *Bound { return &Bound{Index: &index, Origin: log.Origin} }

func rootSigned(t testing.TB, d *RootDraft, keys ...*Key) *RootDraft {
	t.Helper()
	for _, k := range keys {
		if err := d.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func rootEdited(t testing.TB, d *RootDraft, change func(r *Root) error) *RootDraft {
	t.Helper()
	if err := d.Edit(change); err != nil {
		t.Fatal(err)
	}
	return d
}

func rootBytes(t testing.TB, d *RootDraft) []byte {
	t.Helper()
	data, err := d.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func rootDraft(t testing.TB, data []byte) *RootDraft {
	t.Helper()
	d, err := ParseRootDraft(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func rootsOf(t testing.TB, data []byte) *Roots {
	t.Helper()
	r, err := ParseRoots(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// p256Key is a key of the other algorithm, so that both sign roots.
func p256Key(t testing.TB, role string) *Key {
	t.Helper()
	private, err := generate(P256)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(private, role)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keepers are three who keep a root of which two sign.
type keepers struct{ a, b, c *Key }

func newKeepers(t testing.TB) keepers {
	return keepers{testKey(0xa1, RoleRoot), testKey(0xb1, RoleRoot), p256Key(t, RoleRoot)}
}

func (k keepers) first(t testing.TB, entries ...RootEntry) *RootDraft {
	t.Helper()
	d, err := NewRootDraft([]Public{k.a.Public, k.b.Public, k.c.Public}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return rootEdited(t, d, func(r *Root) error {
		for _, e := range entries {
			if err := r.Add(e, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func rootEntry(t testing.TB, k *Key, log *LogKey) RootEntry {
	t.Helper()
	data, err := NewRootEntry(k, log.LogPublic, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseRootEntry(data, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rootTrust(t testing.TB, d *RootDraft) Trust {
	t.Helper()
	trust, err := rootsOf(t, rootBytes(t, d)).Trust()
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func verdictOf(r Report) string {
	s := fmt.Sprint(r.Code)
	for _, x := range r.Reasons {
		s += " " + x.Code
	}
	return s
}

// A rotated key: what it vouched for before stays good, and what it vouches for afterwards is worth nothing, whoever
// has it. The audit says the same of the log.
func TestRotation(t *testing.T) {
	k := newKeepers(t)
	is := testIssuer(t, testKey(1, RoleHost))
	logKey := is.Log.key
	before := mustIssue(t, is, "A", "j1") // session 0, intent 1, result 2
	next := is
	next.Key = testKey(2, RoleHost)
	after := mustIssue(t, next, "B", "j2") // session 3
	if r := Verify(after, trustIn(t, next.Key)); r.Code != CodeOK || r.KeyID != next.Key.ID {
		t.Fatalf("the run goes on under the old key: %v", r.Reasons)
	}
	thief := is
	thief.Run = testRun(RoleHost)
	stolen := mustIssue(t, thief, "C", "j3") // session 6, by the old key

	d := k.first(t, rootEntry(t, is.Key, logKey))
	one := rootTrust(t, rootSigned(t, d, k.a, k.b))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{{"old", before, "0"}, {"new", after, "12 untrusted_key"}, {"late", stolen, "0"}} {
		if got := verdictOf(Verify(c.data, one)); got != c.want {
			t.Errorf("version 1, %s: %s, want %s", c.name, got, c.want)
		}
	}
	d = rootEdited(t, rootDraft(t, rootBytes(t, d)), func(r *Root) error {
		return errors.Join(r.Add(rootEntry(t, next.Key, logKey), boundAt(logKey.LogPublic, 3)), r.Retire(is.Key.ID, *boundAt(logKey.LogPublic, 3)))
	})
	two := rootTrust(t, rootSigned(t, d, k.b, k.c))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{{"old", before, "0"}, {"new", after, "0"}, {"late", stolen, "12 key_not_valid_then"}} {
		if got := verdictOf(Verify(c.data, two)); got != c.want {
			t.Errorf("version 2, %s: %s, want %s", c.name, got, c.want)
		}
	}
	proofs := fstest.MapFS{"1.json": {Data: before}, "2.json": {Data: after}, "3.json": {Data: stolen}}
	a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: proofs, Trust: two})
	if err != nil || foundIn(a) != "key_not_valid_then:6" || a.Code() != CodePolicy || a.Trust != "untrusted" {
		t.Errorf("audit: %v, %s", err, foundIn(a))
	}
}

// Revocation, by index and by time: the place of each statement decides, and a log of the thief's own is no way around.
func TestRevocation(t *testing.T) {
	k := newKeepers(t)
	is := testIssuer(t, testKey(1, RoleHost))
	log := is.Log.key
	early := mustIssue(t, is, "A", "j1") // entries 0 to 2
	late := mustIssue(t, is, "B", "j2")  // entries 3 and 4, in the same session
	own := testIssuer(t, testKey(1, RoleHost))
	own.Log = OpenLog(t.TempDir(), testLogKey(77), testNow)
	elsewhere := mustIssue(t, own, "C", "j1")
	base := rootBytes(t, rootSigned(t, k.first(t, RootEntry{Keys: rootEntry(t, is.Key, log).Keys}), k.a, k.b))
	time := func(s string) *Bound { return &Bound{Time: s} }
	both := boundAt(log.LogPublic, 3)
	both.Time = "2026-01-01T00:00:00Z"
	for _, c := range []struct {
		name                  string
		since                 *Bound
		early, late, anywhere string
	}{
		{"altogether", nil, "12 key_revoked", "12 key_revoked", "12 key_revoked"},
		{"from the first entry of the second job", boundAt(log.LogPublic, 3), "0", "12 key_revoked", "12 key_revoked"},
		{"from its result", boundAt(log.LogPublic, 4), "0", "12 key_revoked", "12 key_revoked"},
		{"behind both", boundAt(log.LogPublic, 5), "0", "0", "12 key_revoked"},
		{"from the first result", boundAt(log.LogPublic, 2), "12 key_revoked", "12 key_revoked", "12 key_revoked"},
		{"from a later time", time("2026-01-02T03:06:01Z"), "0", "0", "0"},
		{"from that second", time("2026-01-02T03:06:00Z"), "12 key_revoked", "12 key_revoked", "12 key_revoked"},
		{"either", both, "12 key_revoked", "12 key_revoked", "12 key_revoked"},
	} {
		d := rootEdited(t, rootDraft(t, base), func(r *Root) error { return r.Revoke(is.Key.ID, "copied", c.since) })
		trust := rootTrust(t, rootSigned(t, d, k.a, k.c))
		for _, x := range []struct {
			what, want string
			data       []byte
		}{{"early", c.early, early}, {"late", c.late, late}, {"another log", c.anywhere, elsewhere}} {
			if got := verdictOf(Verify(x.data, trust)); got != x.want {
				t.Errorf("%s, %s: %s, want %s", c.name, x.what, got, x.want)
			}
		}
	}
	// The log's key may be taken back, too, and a log that the root does not list is none.
	listed := rootSigned(t, k.first(t, rootEntry(t, is.Key, log)), k.a, k.b)
	if got := verdictOf(Verify(elsewhere, rootTrust(t, listed))); got != "12 untrusted_log" {
		t.Errorf("a log that is not listed: %s", got)
	}
	copied := func(r *Root) error { return r.Revoke(log.MLDSA44.ID, "copied", boundAt(log.LogPublic, 3)) }
	d := rootEdited(t, rootDraft(t, rootBytes(t, listed)), copied)
	unlisted := rootEdited(t, rootDraft(t, base), copied)
	for _, d := range []*RootDraft{d, unlisted} {
		trust := rootTrust(t, rootSigned(t, d, k.a, k.b))
		if got := verdictOf(Verify(early, trust)) + ", " + verdictOf(Verify(late, trust)); got != "0, 12 key_revoked" {
			t.Errorf("the log's key: %s", got)
		}
	}
	// A summary has no place in a log: it is believed of the log's key until that is revoked.
	hasLog := func(trust Trust) bool { return trust.roles[log.Ed25519.ID] == RoleLog }
	lost := rootEdited(t, rootDraft(t, rootBytes(t, listed)), func(r *Root) error { return r.Revoke(log.Ed25519.ID, "copied", boundAt(log.LogPublic, 3)) })
	if !hasLog(rootTrust(t, listed)) || hasLog(rootTrust(t, rootSigned(t, lost, k.a, k.b))) {
		t.Error("the log's key for summaries")
	}
	// What was taken back is never given back, not by all keepers together.
	for name, since := range map[string]*Bound{"later": boundAt(log.LogPublic, 4), "elsewhere": boundAt(own.Log.key.LogPublic, 1), "in time": time("2020-01-01T00:00:00Z")} {
		d := rootDraft(t, rootBytes(t, d))
		if err := d.Edit(func(r *Root) error { return r.Revoke(log.MLDSA44.ID, "copied", since) }); err == nil {
			t.Errorf("a revocation was moved: %s", name)
		}
		if err := d.Edit(func(r *Root) error { r.Revocations = []Revocation{}; return nil }); err == nil {
			t.Error("a revocation was taken away")
		}
	}
}

// A root's keys have the roles that it gives them.
func TestRootRoles(t *testing.T) {
	k := newKeepers(t)
	is := testIssuer(t, testKey(1, RoleHost))
	data := mustIssue(t, is, "A", "j")
	for role, want := range map[string]string{RoleHost: "0", RoleSimulation: "12 untrusted_key", RoleValidator: "12 untrusted_key"} {
		e := rootEntry(t, is.Key, is.Log.key)
		e.Keys[0].Role = role
		if got := verdictOf(Verify(data, rootTrust(t, rootSigned(t, k.first(t, e), k.a, k.b)))); got != want {
			t.Errorf("%s: %s", role, got)
		}
	}
	early := rootEntry(t, is.Key, is.Log.key)
	early.Keys[0].From = &Bound{Time: "2026-01-02T03:06:01Z"}
	if got := verdictOf(Verify(data, rootTrust(t, rootSigned(t, k.first(t, early), k.a, k.b)))); got != "12 key_not_valid_then" {
		t.Errorf("before its time: %s", got)
	}
}

// resigned changes the envelope of the last version by hand.
func resigned(t *testing.T, data []byte, change func(*Envelope)) []byte {
	t.Helper()
	d := rootDraft(t, data)
	last := d.draft
	if last == nil {
		last = &d.done.versions[len(d.done.versions)-1]
	}
	change(&last.envelope)
	return rootBytes(t, d)
}

// Unique keys are counted, not signatures, and those of the version before have their say.
func TestRootThreshold(t *testing.T) {
	k := newKeepers(t)
	stranger := testKey(0xee, RoleRoot)
	if _, err := ParseRoots(rootBytes(t, rootSigned(t, k.first(t), k.a))); !errors.Is(err, ErrRootUnsigned) {
		t.Errorf("one of two: %v", err)
	}
	if _, err := ParseRoots(rootBytes(t, k.first(t))); !errors.Is(err, ErrRootUnsigned) {
		t.Errorf("none: %v", err)
	}
	if err := k.first(t).Sign(stranger); err == nil {
		t.Error("a stranger signed")
	}
	one := rootBytes(t, rootSigned(t, k.first(t), k.a))
	if _, err := ParseRoots(resigned(t, one, func(e *Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) })); err == nil || errors.Is(err, ErrRootUnsigned) {
		t.Errorf("one signature twice: %v", err)
	}
	if _, err := ParseRoots(resigned(t, one, func(e *Envelope) { e.Signatures = append(e.Signatures, Signature{k.b.ID, e.Signatures[0].Sig}) })); err == nil {
		t.Error("the same signature under another key's id")
	}
	// Ed25519 signs the same twice, P-256 does not: another signature of the same key is none of another.
	two, three := rootBytes(t, rootSigned(t, k.first(t), k.c)), rootDraft(t, rootBytes(t, rootSigned(t, k.first(t), k.c)))
	if _, err := ParseRoots(resigned(t, two, func(e *Envelope) { e.Signatures = append(e.Signatures, three.draft.envelope.Signatures...) })); err == nil {
		t.Error("two signatures of one P-256 key")
	}
	twice := func(r *Root) error { r.Roots = append(r.Roots, r.Roots[0]); return nil }
	if err := k.first(t).Edit(twice); err == nil {
		t.Error("one root key twice")
	}
	other := func(r *Root) error {
		r.Roots = append(r.Roots, PublicKey{strings.Repeat("f", 64), r.Roots[0].SPKI})
		return nil
	}
	if err := k.first(t).Edit(other); err == nil {
		t.Error("one root key under two ids")
	}
	if err := k.first(t).Edit(func(r *Root) error { r.Threshold = 4; return nil }); err == nil {
		t.Error("a threshold that nobody can reach")
	}
	if err := k.first(t, RootEntry{}).Edit(func(r *Root) error {
		return r.Add(RootEntry{Keys: []RootKey{{KeyID: k.a.ID, Role: RoleHost, SPKI: k.a.entry().SPKI}}}, nil)
	}); err == nil {
		t.Error("a root key that is a host's, too")
	}
	// New keepers: the old ones have to sign that they go, and the new ones that they come.
	n1, n2 := testKey(0xc1, RoleRoot), testKey(0xc2, RoleRoot)
	base := rootBytes(t, rootSigned(t, k.first(t), k.a, k.b))
	change := func(r *Root) error {
		r.Roots = []PublicKey{n1.entry(), n2.entry()}
		return nil
	}
	for _, c := range []struct {
		name string
		by   []*Key
		ok   bool
	}{{"the new ones alone", []*Key{n1, n2}, false}, {"the old ones alone", []*Key{k.a, k.c}, false}, {"one of each", []*Key{k.a, n1}, false}, {"one old one", []*Key{k.a, n1, n2}, false}, {"both", []*Key{k.a, k.c, n1, n2}, true}} {
		_, err := ParseRoots(rootBytes(t, rootSigned(t, rootEdited(t, rootDraft(t, base), change), c.by...)))
		if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrRootUnsigned) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What is known is only ever added to.
func TestRootUpdates(t *testing.T) {
	k := newKeepers(t)
	note := func(s string) func(r *Root) error {
		return func(r *Root) error { return r.Revoke(hexSHA256([]byte(s)), s, nil) }
	}
	v1 := rootBytes(t, rootSigned(t, k.first(t), k.a, k.b))
	v2 := rootBytes(t, rootSigned(t, rootEdited(t, rootDraft(t, v1), note("x")), k.a, k.b))
	v3 := rootBytes(t, rootSigned(t, rootEdited(t, rootDraft(t, v2), note("y")), k.a, k.b))
	fork := rootBytes(t, rootSigned(t, rootEdited(t, rootDraft(t, v1), note("z")), k.a, k.b))
	forked := rootBytes(t, rootSigned(t, rootEdited(t, rootDraft(t, fork), note("w")), k.a, k.b))
	line := func(data []byte, n int) []byte { return bytes.SplitAfter(data, []byte("\n"))[n] }
	other := rootBytes(t, rootSigned(t, newKeepers(t).first(t), k.a, k.b))
	for _, c := range []struct {
		name       string
		have, data []byte
		want       error
		version    int64
	}{
		{"the same", v2, v2, nil, 2},
		{"a newer one", v1, v3, nil, 3},
		{"only what is new", v1, append(bytes.Clone(line(v3, 1)), line(v3, 2)...), nil, 3},
		{"rollback", v3, v2, ErrRootRollback, 0},
		{"rollback to a version by itself", v3, line(v3, 1), ErrRootRollback, 0},
		{"fork", v2, fork, ErrRootFork, 0},
		{"a longer fork", v2, forked, ErrRootFork, 0},
		{"the newest of a fork", v2, line(forked, 2), ErrRootFork, 0},
		{"gap", v1, line(v3, 2), ErrRootGap, 0},
		{"gap within", v1, append(bytes.Clone(line(v3, 0)), line(v3, 2)...), ErrRootGap, 0},
		{"gap between known ones", v3, append(bytes.Clone(line(v3, 0)), line(v3, 2)...), ErrRootGap, 0},
		{"twice", v1, append(bytes.Clone(v2), line(v2, 1)...), ErrRootGap, 0},
		{"another root", v1, other, ErrRootFork, 0},
	} {
		r, err := rootsOf(t, c.have).Extend(c.data)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && r.Newest().Version != c.version {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := ParseRoots(append(bytes.Clone(line(v3, 0)), line(v3, 2)...)); !errors.Is(err, ErrRootGap) {
		t.Errorf("gap: %v", err)
	}
	if _, err := ParseRoots(line(v3, 1)); !errors.Is(err, ErrRootGap) {
		t.Errorf("without the first: %v", err)
	}
}

// A draft is signed in several places; what is changed after that is nobody's word.
func TestRootDrafts(t *testing.T) {
	k := newKeepers(t)
	draft := rootBytes(t, k.first(t))
	a, b := rootSigned(t, rootDraft(t, draft), k.a), rootSigned(t, rootDraft(t, draft), k.b)
	if missing, err := a.Missing(); err != nil || !strings.HasPrefix(missing, "1 of 2") {
		t.Errorf("%q, %v", missing, err)
	}
	if err := a.Join(b); err != nil {
		t.Fatal(err)
	}
	whole := rootBytes(t, a)
	if r := rootsOf(t, whole); r.Pin() != b.Pin() || r.Newest().Version != 1 {
		t.Errorf("%+v", r.Newest())
	}
	changed := rootEdited(t, rootDraft(t, rootBytes(t, b)), func(r *Root) error { r.Threshold = 1; return nil })
	if changed.Dropped != 1 || len(changed.SignedBy()) != 0 {
		t.Errorf("a signature of what was changed: %d, %v", changed.Dropped, changed.SignedBy())
	}
	if err := changed.Join(b); err == nil {
		t.Error("the signature of another draft was taken")
	}
	if err := rootDraft(t, whole).Sign(k.c); err == nil {
		t.Error("a version with all signatures took one more, which others would not have")
	}
}

// Nothing but the one form is a root.
func TestRootsInOneForm(t *testing.T) {
	k := newKeepers(t)
	is := testIssuer(t, testKey(1, RoleHost))
	good := rootBytes(t, rootSigned(t, k.first(t, rootEntry(t, is.Key, is.Log.key)), k.a, k.b))
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if _, err := ParseRoots(changed); err == nil {
			t.Fatalf("byte %d", i)
		}
	}
	payload := rootsOf(t, good).versions[0].payload
	seal := func(text []byte, kind string) []byte {
		e := Envelope{base64.StdEncoding.EncodeToString(text), kind, nil}
		for _, key := range []*Key{k.a, k.b} {
			sig, err := key.Sign(paeOf(kind, text))
			if err != nil {
				t.Fatal(err)
			}
			e.Signatures = append(e.Signatures, Signature{key.ID, base64.StdEncoding.EncodeToString(sig)})
		}
		if e.Signatures[0].KeyID > e.Signatures[1].KeyID {
			e.Signatures[0], e.Signatures[1] = e.Signatures[1], e.Signatures[0]
		}
		line, err := Canonical(e)
		if err != nil {
			t.Fatal(err)
		}
		return append(line, '\n')
	}
	if _, err := ParseRoots(seal(payload, RootPayloadType)); err != nil {
		t.Fatalf("the test signs nothing that is taken: %v", err)
	}
	text := string(payload)
	for name, changed := range map[string]string{
		"an unknown member":   strings.Replace(text, `{"cosigners"`, `{"allow":true,"cosigners"`, 1),
		"an expiry":           strings.Replace(text, `"keys":[`, `"expires":"2030-01-01T00:00:00Z","keys":[`, 1),
		"another schema":      strings.Replace(text, "root/v1", "root/v2", 1),
		"version 0":           strings.Replace(text, `"version":1`, `"version":0`, 1),
		"no logs":             strings.Replace(text, `"logs":[{`, `"LOGS":[{`, 1),
		"null":                strings.Replace(text, `"revocations":[]`, `"revocations":null`, 1),
		"white space":         text + " ",
		"a role of its own":   strings.Replace(text, `"role":"host"`, `"role":"root"`, 1),
		"no such cosigner":    strings.Replace(text, `"cosigners":[]`, `"cosigners":["x"]`, 1),
		"threshold 0":         strings.Replace(text, `"threshold":2`, `"threshold":0`, 1),
		"another log's keys":  strings.Replace(text, `"origin":"expunge.log/`, `"origin":"expunge.log/0`, 1),
		"a bound of nothing":  strings.Replace(text, `"keys":[{"keyid"`, `"keys":[{"from":{},"keyid"`, 1),
		"a bound without log": strings.Replace(text, `"keys":[{"keyid"`, `"keys":[{"from":{"index":3},"keyid"`, 1),
		"a time in words":     strings.Replace(text, `"keys":[{"keyid"`, `"keys":[{"from":{"time":"now"},"keyid"`, 1),
	} {
		if changed == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := ParseRoots(seal([]byte(changed), RootPayloadType)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := ParseRoots(seal(payload, PayloadType)); err == nil {
		t.Error("a root in the envelope of a statement was taken")
	}
}

// The one form of a P-256 signature has a low s; the other is another file of the same, and is refused.
func TestLowS(t *testing.T) {
	is := testIssuer(t, p256Key(t, RoleHost))
	if r := Verify(mustIssue(t, is, "A", "j"), trustIn(t, is.Key)); r.Code != CodeOK {
		t.Fatal(r.Reasons)
	}
	high := &Key{is.Key.Public, RoleHost, highS{is.Key.signer}}
	for range 8 {
		sig, err := high.Sign([]byte("x"))
		if err != nil || !is.Key.verifies([]byte("x"), sig) {
			t.Fatalf("a signer that does not know of low s: %v", err)
		}
		raw, err := is.Key.signer.Sign(nil, sha([]byte("x")), sha256Hash)
		if err != nil {
			t.Fatal(err)
		}
		up, err := highOf(raw)
		if err != nil || is.Key.verifies([]byte("x"), up) {
			t.Fatalf("a high s verifies: %v", err)
		}
	}
	for _, other := range []crypto.Signer{p256Key(t, RoleHost).signer, testKey(3, RoleHost).signer} {
		if _, err := (&Key{is.Key.Public, RoleHost, other}).Sign([]byte("x")); err == nil {
			t.Fatal("a signer with another key")
		}
	}
}

// Any bytes are answered; what is taken is written again as it was.
func FuzzParseRoots(f *testing.F) {
	k := newKeepers(f)
	is := testIssuer(f, testKey(1, RoleHost))
	v1 := rootBytes(f, rootSigned(f, k.first(f, rootEntry(f, is.Key, is.Log.key)), k.a, k.b))
	v2 := rootBytes(f, rootSigned(f, rootEdited(f, rootDraft(f, v1), func(r *Root) error { return r.Revoke(is.Key.ID, "copied", boundAt(is.Log.key.LogPublic, 3)) }), k.a, k.b))
	known := rootsOf(f, v1)
	f.Add(v1)
	f.Add(v2)
	f.Add(rootBytes(f, rootEdited(f, rootDraft(f, v1), func(r *Root) error { r.Threshold = 1; return nil })))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRoots(data); err == nil {
			if again, err := r.Bytes(); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%v: %s", err, again)
			}
		}
		if d, err := ParseRootDraft(data); err == nil {
			if again, err := d.Bytes(); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%v: %s", err, again)
			}
		}
		if r, err := known.Extend(data); err == nil && (r.Pin() != known.Pin() || r.Newest().Version < 1) {
			t.Fatal("extended into another root")
		}
	})
}
