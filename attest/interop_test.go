package attest

import (
	"crypto/sha256"
	"encoding/json"
	"testing"

	tlogformat "github.com/transparency-dev/formats/log"
	cosign "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Others' code, given the log's verifier keys and nothing of ours, takes checkpoint, proofs and summary: every proof
// with the checkpoint behind it is a c2sp.org/tlog-proof.
func TestProofsAreC2SP(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	for _, job := range []string{"j1", "j2", "j3"} {
		mustIssue(t, is, "S", job)
	}
	data, err := is.Reissue("j2", testDevice("S").DriveID())
	if err != nil {
		t.Fatal(err)
	}
	var c Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	vkeys := is.Log.key.VKeys()
	ed, err := note.NewVerifier(vkeys[0])
	if err != nil {
		t.Fatal(err)
	}
	pq, err := cosign.NewMLDSAVerifier(vkeys[1])
	if err != nil {
		t.Fatal(err)
	}
	entries := []struct {
		leaf leaf
		e    Envelope
	}{
		{leaf{Kind: kindSession, Session: is.Run.key.ID}, c.Sessions[0]},
		{leaf{Kind: kindIntent, Drive: testDevice("S").DriveID(), Job: "j2"}, c.Intent},
		{leaf{Kind: kindResult, Drive: testDevice("S").DriveID(), Job: "j2"}, c.Result},
	}
	for i, entry := range entries {
		var p proof.TLogProof
		if err := p.Unmarshal([]byte(c.Proofs[i] + c.Checkpoint)); err != nil {
			t.Fatal(err)
		}
		cp, _, n, err := tlogformat.ParseCheckpoint(p.Checkpoint, is.Log.key.Origin, ed, pq)
		if err != nil || len(n.Sigs) != 2 {
			t.Fatalf("%v: %d signatures are taken", err, len(n.Sigs))
		}
		if at, err := cosign.CoSigV1Timestamp(n.Sigs[1]); err != nil || !at.Equal(testNow()) {
			t.Errorf("the cosignature is of %v: %v", at, err)
		}
		l, err := entry.leaf.committed(entry.e)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Canonical(l)
		if err != nil {
			t.Fatal(err)
		}
		var path tlog.RecordProof
		for _, h := range p.Hashes {
			path = append(path, h)
		}
		if err := tlog.CheckRecord(path, int64(cp.Size), tlog.Hash(cp.Hash), int64(p.Index), sha256.Sum256(append([]byte{0}, text...))); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := note.Open([]byte(c.Summary), note.VerifierList(ed)); err != nil || len(n.UnverifiedSigs) > 0 {
		t.Fatal(err)
	}
}
