package attest

import (
	"errors"
	"slices"
	"strings"
	"time"

	tnote "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxCosignatures bounds the lines that others added to a checkpoint.
const maxCosignatures = 16

// checkpoint is the head of a log at one size (c2sp.org/tlog-checkpoint), with both signatures of the
// log and what others added.
type checkpoint struct {
	size   int64
	root   tlog.Hash
	others []note.Signature // cosignatures by keys that are not the log's; nobody has looked at them
	text   string           // what they sign
}

func signCheckpoint(size int64, root tlog.Hash, k *LogKey, at time.Time) ([]byte, error) {
	cp := tnote.Checkpoint{Origin: k.Origin, Size: uint64(size), Hash: root[:]}
	return note.Sign(&note.Note{Text: string(cp.Marshal())}, noteSigner{k}, cosigner{k, at, cp.Size, cp.Hash})
}

// openCheckpoint checks a checkpoint of a log, in its one form: the log's two signatures first.
func openCheckpoint(data []byte, log LogPublic) (checkpoint, error) {
	bad := errors.New("checkpoint is not in its one form")
	text, lines, found := strings.Cut(string(data), "\n\n")
	if !found || len(data) > 1<<17 || strings.Count(lines, "\n") > 2+maxCosignatures {
		return checkpoint{}, bad
	}
	n, err := note.Open(data, note.VerifierList(log.verifiers[0], log.verifiers[1]))
	if err != nil {
		return checkpoint{}, err
	}
	if len(n.Sigs) != 2 || n.Sigs[0].Hash != log.verifiers[0].KeyHash() || n.Sigs[1].Hash != log.verifiers[1].KeyHash() {
		return checkpoint{}, errors.New("checkpoint does not have both signatures of its log")
	}
	var cp tnote.Checkpoint
	rest, err := cp.Unmarshal([]byte(n.Text))
	if err != nil {
		return checkpoint{}, err
	}
	if !oneForm(n, data) || len(rest) > 0 || string(cp.Marshal()) != n.Text || text+"\n" != n.Text {
		return checkpoint{}, bad
	}
	if cp.Origin != log.Origin || len(cp.Hash) != tlog.HashSize || cp.Size > 1<<40 {
		return checkpoint{}, errors.New("checkpoint is of another log")
	}
	return checkpoint{int64(cp.Size), tlog.Hash(cp.Hash), n.UnverifiedSigs, n.Text}, nil
}

// oneForm says whether a note that was opened is in the one form of its text and signatures: no byte of it can be changed, and no
// signature spelled otherwise.
func oneForm(n *note.Note, data []byte) bool {
	again := n.Text + "\n"
	for _, s := range append(slices.Clone(n.Sigs), n.UnverifiedSigs...) {
		if _, err := decodeBase64(s.Base64); err != nil {
			return false
		}
		again += "— " + s.Name + " " + s.Base64 + "\n"
	}
	return again == string(data)
}
