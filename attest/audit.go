package attest

import (
	"bytes"
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
	Certificates fs.FS // certificates and other records, by any name that ends in .json and at any depth
	Records      fs.FS // more of them; nil: no more
	Trust        Trust
	// Unfinished says whether the job is not at its end on the drive, or with an empty drive on
	// any of its drives, and in one word how it stands: AtWork, "interrupted". It is "" when it is
	// at its end, or nothing is known of it. nil knows nothing.
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
	keys       map[string]Public // by their hashes: that they are there says nothing of whose they are
	log        *LogPublic        // nil: not known
	checkpoint []byte
	signed     bool // the checkpoint is authentic: Size is what it says
	root       tlog.Hash
	leaves     []auditLeaf // of the tree
	beyond     []auditLeaf // behind it, on disk and not committed
	nodes      levels
	bundles    []bundle
	history    history
	verifier   *Verifier
}

// Audit derives everything again from the files of a log and of certificates, and says what does
// not fit or is not there. It changes nothing. The error is ErrLogChanged, or that of a file
// that is there and cannot be read.
func Audit(in AuditInput) (Audited, error) {
	a := &audit{in: in, verifier: NewVerifier(in.Trust)}
	a.Findings, a.Outcomes = []Finding{}, map[string]int{}
	steps := []func() error{
		func() (err error) { a.in.Log, err = withAhead(in.Log); return err },
		func() (err error) { a.checkpoint, err = readCheckpoint(a.in.Log); return err },
		a.readCertificates, // before the tree: one of them may never be newer than the log
		a.openLog,
		a.readTree,
		a.readCosigned,
		a.compareCertificates,
		a.readStatements,
		a.pairs,
		func() error {
			log, err := withAhead(in.Log)
			if err != nil {
				return err
			}
			now, err := readCheckpoint(log)
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

// openLog finds the keys that the log is of, and checks the checkpoint.
func (a *audit) openLog() error {
	a.keys = maps.Clone(a.in.Trust.keys)
	if a.keys == nil {
		a.keys = map[string]Public{}
	}
	for _, b := range a.bundles {
		maps.Copy(a.keys, b.opened.keys)
	}
	data, err := readLimited(a.in.Log, publicKeys, MaxSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	beside, err := parsePublicKeys(data)
	if err != nil {
		a.say(found(FoundKeysDamaged, "the keys beside the log cannot be read: %v", err).of(publicKeys))
	}
	maps.Copy(a.keys, beside)
	if a.checkpoint == nil {
		return nil // what that means depends on the leaves
	}
	a.Origin, _, _ = strings.Cut(string(a.checkpoint), "\n")
	ed, known := a.keys[strings.TrimPrefix(a.Origin, origin(""))]
	if !known || origin(ed.ID) != a.Origin {
		a.Origin = ""
		a.say(found(FoundCheckpointInvalid, "the checkpoint is of a log whose key is neither beside it nor in a certificate: nothing beside the tree can be checked").of("checkpoint"))
		return nil
	}
	err = errors.New("its ML-DSA-44 key is neither beside the log nor in a certificate")
	for _, id := range slices.Sorted(maps.Keys(a.keys)) {
		if a.keys[id].Alg != MLDSA44 || a.signed {
			continue
		}
		log, e := newLogPublic(ed, a.keys[id])
		var cp checkpoint
		if e == nil {
			cp, e = openCheckpoint(a.checkpoint, log)
		}
		if err = e; err == nil {
			a.log, a.signed, a.Size, a.root = &log, true, cp.size, cp.root
			a.Root, a.Cosignatures = hex.EncodeToString(a.root[:]), len(cp.others)
		}
	}
	if !a.signed {
		a.say(found(FoundCheckpointInvalid, "the checkpoint is not one of %.28s…: %v", a.Origin, err).of("checkpoint"))
	}
	return nil
}

// bundle is what one certificate or record proves: of result or record, intent, sessions, and what was said of the result.
type bundle struct {
	file   string
	record bool // it is no certificate
	opened *opened
	told   []told
	at     []proven
}

// readCertificates reads every certificate, and every other record. A file that does not say that it is one is none, unless it
// has the name of one.
func (a *audit) readCertificates() error {
	for _, files := range []fs.FS{a.in.Certificates, a.in.Records} {
		if files == nil {
			continue
		}
		if err := a.readCertificatesIn(files); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) readCertificatesIn(files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path.Ext(name) != ".json" {
			return err
		}
		data, err := readLimited(files, name, MaxSize)
		if err != nil {
			return err
		}
		named := path.Base(name) == "certificate.json" || path.Base(name) == "manifest.json"
		if !named && !bytes.Contains(data, []byte(CertificateSchema)) && !bytes.Contains(data, []byte(RecordSchema)) {
			return nil
		}
		r, err := a.verifier.verify(data)
		if err != nil {
			a.say(found(FoundCertificateInvalid, "the certificate, or record, is invalid: %v", err).of(name))
			return nil
		}
		b := bundle{file: name, opened: r.opened, record: r.IsRecord()}
		if b.record {
			b.told, b.at = []told{toldByRecord(r)}, []proven{r.record}
			b.told[0].said = r.said[0]
		} else {
			b.told, b.at = []told{toldByResult(*r.Result), toldByIntent(*r.Intent)}, []proven{r.proofs[1], r.proofs[0]}
			b.told[0].said, b.told[1].said = r.said[1], r.said[0]
		}
		for _, at := range r.opened.proven {
			b.told, b.at = append(b.told, told{}), append(b.at, at)
		}
		for _, v := range r.Validations {
			b.told = append(b.told, toldByValidation(v.Validation, v.KeyID))
		}
		for _, s := range r.Supersessions {
			b.told = append(b.told, toldBySupersession(s.Supersession))
		}
		b.at = append(b.at, r.later...)
		a.bundles = append(a.bundles, b)
		return nil
	})
}

// compareCertificates holds the certificates against the tree: each proves what the log was once.
func (a *audit) compareCertificates() error {
	var rewound, forked Finding
	newest, oldest := a.Size, int64(math.MaxInt64)
	kept := a.bundles[:0]
	for _, b := range a.bundles {
		result := b.at[0]
		if a.Origin != "" && b.opened.log.Origin != a.Origin {
			a.say(a.about(found(FoundCertificateForeign, "the certificate is of another log, %.28s…", b.opened.log.Origin), b.told[0]).of(b.file))
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
		for _, at := range b.at { // the result first: one finding for a certificate
			if at.index >= a.Size || at.index < int64(len(a.leaves)) && a.leaves[at.index].hashed && a.leaves[at.index].hash != at.hash() {
				a.say(a.about(found(FoundCertificateNoLeaf, "the certificate's %s is not entry %d of the log", at.entry.Kind, at.index), b.told[0]).at(at.index).of(b.file))
				break
			} else if at.index < int64(len(a.leaves)) && !a.leaves[at.index].known {
				a.leaves[at.index] = auditLeaf{leaf: at.entry, known: true, hash: at.hash(), hashed: true}
			}
		}
	}
	a.bundles = kept
	for _, b := range kept {
		if b.record {
			a.Records++
		} else {
			a.Certificates++
		}
	}
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
