package attest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// Issuer signs statements and logs them. Its methods may be called from several goroutines and
// processes.
type Issuer struct {
	Key *Key
	Log *Log
	Now func() time.Time
}

// Certificate is the whole bundle: one file that stands alone. Members that are not there yet are
// absent, never reformatted later.
type Certificate struct {
	Intent Envelope    `json:"intent"`
	Keys   []PublicKey `json:"keys"`   // what the signatures are checked with; whether they are trusted is not said here
	Proofs []string    `json:"proofs"` // c2sp.org/tlog-proof: of the intent, then of the result
	Result Envelope    `json:"result"`
	Schema string      `json:"schema"`
}

// PublicKey is a key and its id.
type PublicKey struct {
	KeyID string `json:"keyid"`
	SPKI  string `json:"spki"` // base64 of the SubjectPublicKeyInfo
}

// Logged is where an entry stands in the log.
type Logged struct {
	Index int64
	Leaf  string // hex RFC 6962 hash
}

// ErrNotLogged: the log has no such entry. A result without its intent is never signed.
var ErrNotLogged = errors.New("not in the log")

func (is Issuer) time() Time {
	return Time{Claimed: is.Now().UTC().Format(time.RFC3339), Source: "host clock"}
}

func statement[P any](kind string, d Device, p P) Statement[P] {
	return Statement[P]{
		Type: StatementType, PredicateType: kind, Predicate: p,
		Subject: []Subject{{Name: "drive-id/v1", Digest: Digest{d.DriveID()}}},
	}
}

// Intent signs and logs what is about to be done to a drive; when it returns, that is on disk.
// For a job's drive there is one intent: asked again, it returns the one in the log.
func (is Issuer) Intent(i Intent) (Logged, error) {
	var at Logged
	err := is.Log.update(func(t *tree) error {
		found, index, err := t.find(func(l leaf) bool { return l.Kind == kindIntent && l.Drive == i.Device.ID && l.Job == i.Job })
		if err != nil {
			return err
		}
		if index < 0 {
			if found, index, err = is.addIntent(t, i); err != nil {
				return err
			}
		}
		at.Index = index
		at.Leaf, err = leafHash(found)
		return err
	})
	if err != nil {
		return Logged{}, fmt.Errorf("log intent: %w", err)
	}
	return at, nil
}

func (is Issuer) addIntent(t *tree, i Intent) (leaf, int64, error) {
	previous, index, err := t.find(func(l leaf) bool { return l.Drive == i.Device.ID })
	if err != nil {
		return leaf{}, -1, err
	}
	i.PreviousLeaf = ""
	if index >= 0 {
		if i.PreviousLeaf, err = leafHash(previous); err != nil {
			return leaf{}, -1, err
		}
	}
	i.Time = is.time()
	if err := i.check(); err != nil {
		return leaf{}, -1, err
	}
	payload, err := Canonical(statement(IntentType, i.Device, i))
	if err != nil {
		return leaf{}, -1, err
	}
	e := seal(payload, is.Key)
	l, err := newLeaf(kindIntent, i.Device.ID, i.Job, e)
	if err != nil {
		return leaf{}, -1, err
	}
	index, err = t.add(l, e)
	return l, index, err
}

func leafHash(l leaf) (string, error) {
	data, err := Canonical(l)
	if err != nil {
		return "", err
	}
	h := tlog.RecordHash(data)
	return hex.EncodeToString(h[:]), nil
}

// Result signs and logs what was done, whatever it was, and returns the certificate. The intent
// must be the one that the result names. Asked again for the same evidence, it returns a
// certificate of the result in the log.
func (is Issuer) Result(r Result) ([]byte, error) {
	r.Time, r.Signers = is.time(), []string{is.Key.ID}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("certificate refused: %w", err)
	}
	var bundle []byte
	err := is.Log.update(func(t *tree) error {
		intent, index, err := t.find(matching(kindIntent, r.History.Job, r.Device.ID))
		if err != nil {
			return err
		}
		hash, err := leafHash(intent)
		if err != nil {
			return err
		}
		if index < 0 || index != r.History.IntentIndex || hash != r.History.IntentLeaf {
			return fmt.Errorf("intent of job %s at %d: %w: the log was replaced or cut", r.History.Job, r.History.IntentIndex, ErrNotLogged)
		}
		result, index, err := t.find(matching(kindResult, r.History.Job, r.Device.ID))
		switch {
		case err != nil:
			return err
		case index < 0:
			err = is.addResult(t, r)
		default:
			err = is.sameEvidence(result, r)
		}
		if err != nil {
			return err
		}
		bundle, err = is.bundle(t, r.History.Job, r.Device.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return bundle, nil
}

// ErrOtherResult: the log has a result of this job and drive already, from other evidence. The
// journal was cut or replaced after it was certified; what is in the log stands.
var ErrOtherResult = errors.New("the log has a result from other evidence")

func (is Issuer) sameEvidence(l leaf, r Result) error {
	e, err := is.Log.loadEnvelope(l.Envelope)
	if err != nil {
		return err
	}
	logged, err := openStatement[Result](e, is.Key.public(), SanitizationType)
	if err != nil {
		return err
	}
	if logged.Predicate.Evidence != r.Evidence {
		return fmt.Errorf("job %s: %w", r.History.Job, ErrOtherResult)
	}
	return nil
}

func (is Issuer) addResult(t *tree, r Result) error {
	payload, err := Canonical(statement(SanitizationType, r.Device, r))
	if err != nil {
		return err
	}
	e := seal(payload, is.Key)
	l, err := newLeaf(kindResult, r.Device.ID, r.History.Job, e)
	if err != nil {
		return err
	}
	_, err = t.add(l, e)
	return err
}

func matching(kind, job, drive string) func(leaf) bool {
	return func(l leaf) bool { return l.Kind == kind && l.Job == job && l.Drive == drive }
}

// Reissue makes the certificate of a job's drive again from the log: the same statements, with
// proofs in the log as it is now.
func (is Issuer) Reissue(job, drive string) ([]byte, error) {
	var bundle []byte
	err := is.Log.update(func(t *tree) (err error) {
		bundle, err = is.bundle(t, job, drive)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reissue certificate: %w", err)
	}
	return bundle, nil
}

// bundle puts together what the log has of a job's drive, and checks it as anybody would.
func (is Issuer) bundle(t *tree, job, drive string) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(is.Key.public())
	if err != nil {
		return nil, err
	}
	c := Certificate{Schema: CertificateSchema, Keys: []PublicKey{{is.Key.ID, base64.StdEncoding.EncodeToString(spki)}}}
	for _, part := range []struct {
		kind string
		at   *Envelope
	}{{kindIntent, &c.Intent}, {kindResult, &c.Result}} {
		l, index, err := t.find(matching(part.kind, job, drive))
		if err != nil {
			return nil, err
		}
		if index < 0 {
			return nil, fmt.Errorf("%s of job %s: %w", part.kind, job, ErrNotLogged)
		}
		if *part.at, err = is.Log.loadEnvelope(l.Envelope); err != nil {
			return nil, err
		}
		path, err := tlog.ProveRecord(t.size, index, t)
		if err != nil {
			return nil, fmt.Errorf("prove log entry %d: %w", index, err)
		}
		p := proof.TLogProof{Index: uint64(index), Checkpoint: t.checkpoint}
		for _, h := range path {
			p.Hashes = append(p.Hashes, h)
		}
		c.Proofs = append(c.Proofs, string(p.Marshal()))
	}
	data, err := Canonical(c)
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	// What we hand out, we would accept.
	if r := Verify(data, TrustKey(is.Key)); r.Code == CodeInvalid || r.Code == CodePolicy && !r.Simulated {
		return nil, fmt.Errorf("the certificate does not verify: %v", r.Reasons)
	}
	return data, nil
}
