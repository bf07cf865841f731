package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/expunge-dev/expunge/internal/durable"
)

// LogKey signs the checkpoints of one log, each with two algorithms: Ed25519, and ML-DSA-44, which no
// quantum computer is known to forge and which covers every statement in the tree. It is the log's
// identity: another key is another log.
type LogKey struct {
	LogPublic
	ed ed25519.PrivateKey
	pq *cosign.SubtreeSigner
}

// LogPublic is what checkpoints of a log are checked with.
type LogPublic struct {
	Origin    string // "expunge.log/" and the id of the Ed25519 key
	Ed25519   Public
	MLDSA44   Public
	verifiers [2]note.Verifier
}

// origin names a log by its Ed25519 key, so that one log cannot pass for another.
func origin(keyID string) string { return "expunge.log/" + keyID }

// newLogPublic pairs the two keys of a log.
func newLogPublic(ed, pq Public) (LogPublic, error) {
	_, ok := ed.key.(ed25519.PublicKey)
	pqKey, okPQ := pq.key.(*mldsa.PublicKey)
	if !ok || !okPQ {
		return LogPublic{}, fmt.Errorf("the keys of a log are %s and %s, want Ed25519 and ML-DSA-44", ed.Alg, pq.Alg)
	}
	p := LogPublic{Origin: origin(ed.ID), Ed25519: ed, MLDSA44: pq}
	var err error
	if p.verifiers[0], err = noteVerifier(ed); err != nil {
		return LogPublic{}, err
	}
	p.verifiers[1], err = cosign.NewMLDSAVerifier(p.Origin + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{6}, pqKey.Bytes()...)))
	return p, err
}

// noteVerifier checks the notes of a log: those of its Ed25519 key.
func noteVerifier(ed Public) (note.Verifier, error) {
	key, ok := ed.key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key of a log is %s, want Ed25519", ed.Alg)
	}
	vkey, err := note.NewEd25519VerifierKey(origin(ed.ID), key)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(vkey)
}

// PublicPEM is the log's Ed25519 key as a trust file: for summaries, which have nothing else with them.
func (p LogPublic) PublicPEM() []byte { return p.Ed25519.PEM(RoleLog) }

// VKeys are the keys as c2sp.org/signed-note verifier keys, for witnesses and other tools.
func (p LogPublic) VKeys() []string {
	list := make([]string, 0, 2)
	for i, public := range []Public{p.Ed25519, p.MLDSA44} {
		data := append([]byte{1}, rawKey(public)...)
		if i == 1 {
			data[0] = 6
		}
		list = append(list, fmt.Sprintf("%s+%08x+%s", p.Origin, noteKeyHash(p.Origin, data), base64.StdEncoding.EncodeToString(data)))
	}
	return list
}

func rawKey(p Public) []byte {
	switch k := p.key.(type) {
	case ed25519.PublicKey:
		return k
	case *mldsa.PublicKey:
		return k.Bytes()
	}
	return nil
}

// noteKeyHash is c2sp.org/signed-note's key id: of the name, and the algorithm's byte and the key.
func noteKeyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// NewLogKey is the log key of an Ed25519 key and the seed of an ML-DSA-44 key.
func NewLogKey(ed ed25519.PrivateKey, seed []byte) (*LogKey, error) {
	pq, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	edPublic, err := NewPublic(ed.Public())
	if err != nil {
		return nil, err
	}
	pqPublic, err := NewPublic(pq.PublicKey())
	if err != nil {
		return nil, err
	}
	k := &LogKey{ed: ed}
	if k.LogPublic, err = newLogPublic(edPublic, pqPublic); err != nil {
		return nil, err
	}
	k.pq, err = cosign.NewMLDSASigner("PRIVATE+KEY+" + k.Origin + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{6}, seed...)))
	return k, err
}

// LogKeyFile holds both private keys of a log: two blocks of PKCS #8 in PEM.
const LogKeyFile = "log.pem"

// LoadOrCreateLogKey reads the log's key from a directory, or makes it, with the public Ed25519 key beside it. The error is a *KeyFileError
// when the file is not as it must be.
func LoadOrCreateLogKey(dir string) (*LogKey, error) {
	name := filepath.Join(dir, LogKeyFile)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if err := createLogKey(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make log key: %w", err)
		}
	}
	data, err := ReadKeyFile(name)
	if err != nil {
		return nil, err
	}
	damaged := &KeyFileError{name, "does not hold the two private keys of a log", "restore it from a backup; another key is another log, in a new state directory"}
	edBlock, rest := pem.Decode(data)
	pqBlock, rest := pem.Decode(rest)
	if edBlock == nil || pqBlock == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, damaged
	}
	edKey, err := pqx509.ParsePKCS8PrivateKey(edBlock.Bytes)
	pqKey, errPQ := pqx509.ParsePKCS8PrivateKey(pqBlock.Bytes)
	ed, ok := edKey.(ed25519.PrivateKey)
	pq, okPQ := pqKey.(*mldsa.PrivateKey)
	if err != nil || errPQ != nil || !ok || !okPQ {
		return nil, damaged
	}
	k, err := NewLogKey(ed, pq.Bytes())
	if err != nil {
		return nil, damaged
	}
	public := filepath.Join(dir, "log.pub")
	if have, err := os.ReadFile(public); err == nil && bytes.Equal(have, k.PublicPEM()) {
		return k, nil
	}
	return k, durable.WriteFile(public, k.PublicPEM(), 0o644)
}

func createLogKey(name string) error {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	pq, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		return err
	}
	var text []byte
	for _, key := range []any{ed, pq} {
		der, err := pqx509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return durable.CreateFile(name, text, 0o600)
}

// noteSigner signs notes of the log with its Ed25519 key.
type noteSigner struct{ key *LogKey }

func (s noteSigner) Name() string                    { return s.key.Origin }
func (s noteSigner) KeyHash() uint32                 { return s.key.verifiers[0].KeyHash() }
func (s noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key.ed, msg), nil }

// SignNote signs a text, which is no checkpoint, as a note of the log (c2sp.org/signed-note).
func (k *LogKey) SignNote(text string) ([]byte, error) {
	if strings.HasPrefix(text, origin("")) {
		return nil, errors.New("sign note: it would pass for a checkpoint")
	}
	return note.Sign(&note.Note{Text: text}, noteSigner{k})
}

// cosigner adds the ML-DSA-44 line to a checkpoint, with the time it was signed (c2sp.org/tlog-cosignature).
type cosigner struct {
	key  *LogKey
	at   time.Time
	size uint64
	root []byte
}

func (s cosigner) Name() string    { return s.key.Origin }
func (s cosigner) KeyHash() uint32 { return s.key.pq.KeyHash() }
func (s cosigner) Sign([]byte) ([]byte, error) {
	return s.key.pq.SignSubtree(uint64(s.at.Unix()), s.key.Origin, 0, s.size, s.root)
}
