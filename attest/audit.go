package attest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// AuditInput is what an audit looks at.
type AuditInput struct {
	Log          fs.FS // checkpoint, tile/…, envelopes/…
	Certificates fs.FS // certificates, by any name that ends in .json and at any depth
	Trust        Trust
	// Unfinished says whether the job is not at its end on the drive, and in one word how it
	// stands: AtWork, "interrupted". It is "" when it is at its end, or nothing is known of it.
	// nil knows nothing.
	Unfinished func(job, drive string) string
}

// AtWork is the word for a job that a process works on now: even what has a result may have its
// certificate in a moment.
const AtWork = "running"

// ErrLogChanged: the log was added to while it was read. Audit it again.
var ErrLogChanged = errors.New("the log changed while it was read")

// audit is one at work.
type audit struct {
	in AuditInput
	Audited
	key        ed25519.PublicKey
	checkpoint []byte
	signed     bool // the checkpoint is authentic: Size is what it says
	root       tlog.Hash
	leaves     []auditLeaf // of the tree
	beyond     []auditLeaf // behind it, on disk and not committed
	nodes      levels
	bundles    []bundle
	history    history
}

// Audit derives everything again from the files of a log and of certificates, and says what does
// not fit or is not there. It changes nothing. The error is ErrLogChanged, or that of a file
// that is there and cannot be read.
func Audit(in AuditInput) (Audited, error) {
	a := &audit{in: in}
	a.Findings, a.Outcomes = []Finding{}, map[string]int{}
	steps := []func() error{
		func() (err error) { a.checkpoint, err = readCheckpoint(in.Log); return err },
		a.readCertificates, // before the tree: one of them may never be newer than the log
		a.openLog,
		a.readTree,
		a.compareCertificates,
		a.readStatements,
		a.pairs,
		func() error {
			now, err := readCheckpoint(in.Log)
			if err == nil && !bytes.Equal(now, a.checkpoint) {
				err = ErrLogChanged
			}
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Audited{}, fmt.Errorf("audit: %w", err)
		}
	}
	sortFindings(a.Findings)
	return a.Audited, nil
}

func (a *audit) say(f Finding) { a.Findings = append(a.Findings, f) }

// readLimited reads a file that is a file, and of one too large only that it is.
func readLimited(files fs.FS, name string, most int64) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file but %v", name, info.Mode().Type())
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read-only
	return io.ReadAll(io.LimitReader(f, most+1))
}

// readCheckpoint returns nil when there is none.
func readCheckpoint(log fs.FS) ([]byte, error) {
	data, err := readLimited(log, "checkpoint", MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// openLog finds the key that the log is of, and checks the checkpoint.
func (a *audit) openLog() error {
	keys := maps.Clone(a.in.Trust.keys)
	if keys == nil {
		keys = map[string]ed25519.PublicKey{}
	}
	for _, b := range a.bundles {
		keys[b.keyID] = b.key
	}
	line, _, _ := strings.Cut(string(a.checkpoint), "\n")
	a.KeyID = strings.TrimPrefix(line, origin(""))
	a.key = keys[a.KeyID]
	if a.checkpoint == nil {
		// Nothing says whose log it is: it is looked at as one of the trusted key's.
		for _, id := range slices.Sorted(maps.Keys(a.in.Trust.keys)) {
			a.KeyID, a.key = id, keys[id]
			break
		}
	}
	switch _, trusted := a.in.Trust.keys[a.KeyID]; {
	case a.key == nil:
		a.KeyID, a.Trust = "", "untrusted"
	case !trusted:
		a.Trust = "untrusted"
		a.say(found(FoundUntrustedKey, "the log is signed by key %s, which is not among the trusted ones", a.KeyID))
	case a.in.Trust.Self:
		a.Trust = "self"
	default:
		a.Trust = "trusted"
	}
	if a.checkpoint == nil {
		return nil // what that means depends on the leaves
	}
	if a.key == nil {
		a.say(found(FoundCheckpointInvalid, "the checkpoint is of a key that is neither among the trusted ones nor in a certificate: nothing beside the tree can be checked").of("checkpoint"))
		return nil
	}
	cp, err := openCheckpoint(a.checkpoint, a.key)
	if err == nil && len(cp.Hash) != tlog.HashSize {
		err = errors.New("its hash is not one of a tree")
	}
	if err != nil {
		a.say(found(FoundCheckpointInvalid, "the checkpoint is not one of key %.16s…: %v", a.KeyID, err).of("checkpoint"))
		return nil
	}
	a.signed, a.Size, a.root = true, int64(cp.Size), tlog.Hash(cp.Hash)
	a.Root = hex.EncodeToString(a.root[:])
	return nil
}

// bundle is what one certificate proves.
type bundle struct {
	file  string
	keyID string
	key   ed25519.PublicKey
	told  [2]told // intent, result
	at    [2]proven
}

// readCertificates reads every certificate. A file that does not say that it is one is none,
// unless it has the name of one.
func (a *audit) readCertificates() error {
	return fs.WalkDir(a.in.Certificates, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".json" {
			return err
		}
		data, err := readLimited(a.in.Certificates, name, MaxSize)
		if err != nil {
			return err
		}
		if path.Base(name) != "certificate.json" && !bytes.Contains(data, []byte(CertificateSchema)) {
			return nil
		}
		r, err := verify(data)
		if err != nil {
			a.say(found(FoundCertificateInvalid, "the certificate is invalid: %v", err).of(name))
			return nil
		}
		a.bundles = append(a.bundles, bundle{name, r.KeyID, r.key, [2]told{toldByIntent(*r.Intent), toldByResult(*r.Result)}, r.proofs})
		return nil
	})
}

// compareCertificates holds the certificates against the tree: each proves what the log was once.
func (a *audit) compareCertificates() error {
	var rewound, forked Finding
	newest, oldest := a.Size, int64(math.MaxInt64)
	kept := a.bundles[:0]
	for _, b := range a.bundles {
		result := b.at[1]
		if a.KeyID != "" && b.keyID != a.KeyID {
			a.say(a.about(found(FoundCertificateForeign, "the certificate is of another log, that of key %.16s…", b.keyID), b.told[1]).of(b.file))
			continue
		}
		kept = append(kept, b)
		if result.size > newest {
			newest = result.size
			rewound = found(FoundRewound, "the certificate proves that the log had %d entries; it has %d: an older one was put in its place", result.size, a.Size).of(b.file)
		}
		if result.size < oldest && a.nodes.complete(result.size) && a.nodes.root(result.size) != result.root {
			oldest = result.size
			forked = found(FoundForked, "the certificate proves another log: its first %d entries were not those that are there", result.size).of(b.file)
		}
		for i := 1; i >= 0; i-- { // the result first: one finding for a certificate
			if at := b.at[i]; at.index >= a.Size || at.index < int64(len(a.leaves)) && a.leaves[at.index].hashed && a.leaves[at.index].hash != at.hash() {
				a.say(a.about(found(FoundCertificateNoLeaf, "the certificate's %s is not entry %d of the log", at.entry.Kind, at.index), b.told[1]).at(at.index).of(b.file))
				break
			} else if at.index < int64(len(a.leaves)) && !a.leaves[at.index].known {
				a.leaves[at.index] = auditLeaf{leaf: at.entry, known: true, hash: at.hash(), hashed: true}
			}
		}
	}
	a.bundles, a.Certificates = kept, len(kept)
	for _, f := range []Finding{rewound, forked} {
		if f.Code != "" && !slices.ContainsFunc(a.Findings, func(have Finding) bool { return have.Code == f.Code }) {
			a.say(f)
		}
	}
	return nil
}

func (p proven) hash() tlog.Hash {
	var h tlog.Hash
	_, _ = hex.Decode(h[:], []byte(p.leaf)) // it was encoded from one
	return h
}

// about gives a finding the drive and the job of a statement.
func (a *audit) about(f Finding, t told) Finding {
	f.Serial, f.Job = t.serial, t.job
	return f
}
