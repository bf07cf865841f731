package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Issuer signs statements and logs them. Its methods may be called from several goroutines and
// processes.
type Issuer struct {
	Key *Key // of the host: it vouches for the key of the run
	Run *Run
	Log *Log
	Now func() time.Time
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

// predicate is what a statement can say.
type predicate interface {
	check() error
	subjects() []Subject
}

func driveSubject(d Device) []Subject { return []Subject{{"drive-id/v1", Digest{d.DriveID()}}} }

func (i Intent) subjects() []Subject { return driveSubject(i.Device) }
func (r Result) subjects() []Subject { return driveSubject(r.Device) }

// addStatement signs a statement with a key and appends it.
func addStatement[P predicate](t *tree, kind string, p P, k *Key, l leaf) (leaf, int64, error) {
	if err := p.check(); err != nil {
		return leaf{}, -1, err
	}
	payload, err := Canonical(Statement[P]{Type: StatementType, PredicateType: kind, Predicate: p, Subject: p.subjects()})
	if err != nil {
		return leaf{}, -1, err
	}
	e, err := seal(payload, k)
	if err != nil {
		return leaf{}, -1, err
	}
	if l, err = l.committed(e); err != nil {
		return leaf{}, -1, err
	}
	index, err := t.add(l, e)
	return l, index, err
}

// Intent signs and logs what is about to be done to a drive; when it returns, that is on disk.
// For a job's drive there is one intent: asked again, it returns the one in the log.
func (is Issuer) Intent(i Intent) (Logged, error) {
	var at Logged
	err := is.Log.update(func(t *tree) error {
		of, err := t.all(i.Device.DriveID(), func(l leaf) bool { return l.Drive == i.Device.DriveID() })
		if err != nil {
			return err
		}
		at.Index = -1
		found := leaf{}
		for _, e := range of {
			if e.Kind == kindIntent && e.Job == i.Job {
				found, at.Index = e.leaf, e.index
			}
		}
		if at.Index < 0 {
			if found, at.Index, err = is.addIntent(t, i, of); err != nil {
				return err
			}
		}
		at.Leaf, err = leafHash(found)
		return err
	})
	if err != nil {
		return Logged{}, fmt.Errorf("log intent: %w", err)
	}
	return at, nil
}

// addIntent adds one, of a drive of which the log has these entries.
func (is Issuer) addIntent(t *tree, i Intent, of []entryAt) (leaf, int64, error) {
	key, err := is.session(t)
	if err != nil {
		return leaf{}, -1, err
	}
	i.PreviousLeaf, i.Attempt, i.Time = "", 1, is.time()
	for _, e := range of { // a record may be all that there is
		if e.Kind == kindIntent {
			i.Attempt++
		}
		if i.PreviousLeaf, err = leafHash(e.leaf); err != nil {
			return leaf{}, -1, err
		}
	}
	return addStatement(t, IntentType, i, key, leaf{Kind: kindIntent, Drive: i.Device.DriveID(), Job: i.Job})
}

func leafHash(l leaf) (string, error) {
	data := l.encode()
	h := tlog.RecordHash(data)
	return hex.EncodeToString(h[:]), nil
}

// Result signs and logs what was done, whatever it was, and returns the certificate. The intent
// must be the one that the result names. Asked again for the same evidence, it returns a
// certificate of the result in the log.
func (is Issuer) Result(r Result) ([]byte, error) {
	r.Time = is.time()
	r.Signers = []string{} // the run's key, when it is known
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("certificate refused: %w", err)
	}
	var bundle []byte
	err := is.Log.update(func(t *tree) error {
		intent, index, err := t.find(r.History.Job, matching(kindIntent, r.History.Job, r.Device.DriveID()))
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
		result, index, err := t.find(r.History.Job, matching(kindResult, r.History.Job, r.Device.DriveID()))
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
		bundle, err = is.bundle(t, t.head(), r.History.Job, r.Device.DriveID())
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
	payload, err := decodeBase64(e.Payload) // its hash is in the tree
	if err != nil {
		return err
	}
	var logged Statement[Result]
	if err := decodeClosed(payload, &logged); err != nil {
		return err
	}
	if logged.Predicate.Evidence != r.Evidence {
		return fmt.Errorf("job %s: %w", r.History.Job, ErrOtherResult)
	}
	return nil
}

func (is Issuer) addResult(t *tree, r Result) error {
	key, err := is.session(t)
	if err != nil {
		return err
	}
	r.Signers = []string{key.ID}
	_, _, err = addStatement(t, SanitizationType, r, key, leaf{Kind: kindResult, Drive: r.Device.DriveID(), Job: r.History.Job})
	return err
}

func matching(kind, job, drive string) func(leaf) bool {
	return func(l leaf) bool { return l.Kind == kind && l.Job == job && l.Drive == drive }
}

// Reissue makes the certificate of a job's drive again from the log: the same statements, with
// proofs in the log as it is now, or as it was when others cosigned it last, if it had all of them then.
func (is Issuer) Reissue(job, drive string) ([]byte, error) {
	var bundle []byte
	err := is.Log.update(func(t *tree) error {
		at, err := is.cosignedHead(t, job, drive)
		if err != nil {
			return err
		}
		bundle, err = is.bundle(t, at, job, drive)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reissue certificate: %w", err)
	}
	return bundle, nil
}

// SignNote signs a text as a note of the log (c2sp.org/signed-note). It must be none that a log signs by itself.
func (is Issuer) SignNote(text string) ([]byte, error) { return is.Log.key.SignNote(text) }
