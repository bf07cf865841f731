package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of what a bundle holds, so that any bytes are answered in bounded time.
const (
	maxKeys     = 64
	maxSessions = 40
	maxRecords  = 16   // validations, and as many supersessions
	maxSeen     = 4096 // of each kind that a Verifier remembers
)

// Verifier verifies one file after another and remembers what is the same in many: keys, sessions and
// checkpoints. Its methods may be called from several goroutines.
type Verifier struct {
	Cosigners Cosigners // whose cosignatures count; set before the first use

	trust       Trust
	keys        seen[string, Public]
	logs        seen[[2]string, LogPublic]
	checkpoints seen[[2]string, checkpoint]
	sessions    seen[signedWith, Session]
}

// signedWith is an envelope and the id of the key that it was checked with.
type signedWith struct{ key, payload, sig string }

// NewVerifier takes the word of these keys.
func NewVerifier(trust Trust) *Verifier { return &Verifier{trust: trust} }

// seen remembers what was made of something, when that went well.
type seen[K comparable, V any] struct {
	mu   sync.Mutex
	made map[K]V
}

func (s *seen[K, V]) get(of K, work func() (V, error)) (V, error) {
	s.mu.Lock()
	v, ok := s.made[of]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := work()
	if err != nil {
		return v, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil || len(s.made) >= maxSeen {
		s.made = map[K]V{}
	}
	s.made[of] = v
	return v, nil
}

// opened is what the parts of a bundle have in common: keys, sessions, the log and its checkpoint. All of it
// is checked but for whose word it is.
type opened struct {
	keys       map[string]Public
	used       map[string]bool
	sessions   map[string]session // by the id of the run's key
	log        LogPublic
	checkpoint checkpoint
	proven     []proven // of the sessions, in the order of the log
}

type session struct {
	key  Public
	host string // id of the key that vouches for it
	said Session
	used bool

	payload string
}

func (v *Verifier) open(keys []string, sessions []Envelope, text string) (*opened, error) {
	o := &opened{keys: map[string]Public{}, used: map[string]bool{}, sessions: map[string]session{}}
	if len(keys) > maxKeys || len(sessions) == 0 || len(sessions) > maxSessions {
		return nil, fmt.Errorf("%d keys and %d sessions: not known to this verifier", len(keys), len(sessions))
	}
	last := ""
	for _, text := range keys {
		key, err := v.key(text)
		if err != nil {
			return nil, err
		}
		if text <= last {
			return nil, errors.New("the keys are not in order")
		}
		o.keys[key.ID], last = key, text
	}
	for _, e := range sessions {
		if err := v.openSession(o, e); err != nil {
			return nil, fmt.Errorf("session: %w", err)
		}
	}
	var err error
	o.checkpoint, err = v.checkpoints.get([2]string{o.log.MLDSA44.ID, text}, func() (checkpoint, error) { return openCheckpoint([]byte(text), o.log) })
	return o, err
}

func (v *Verifier) key(text string) (Public, error) {
	return v.keys.get(text, func() (Public, error) { return parseKey(text) })
}

func (v *Verifier) openSession(o *opened, e Envelope) error {
	host, err := e.signer()
	if err != nil {
		return err
	}
	key, known := o.keys[host]
	if !known {
		return fmt.Errorf("it is signed by key %.16s…, which is not there", host)
	}
	said, err := v.sessions.get(signedWith{host, e.PayloadType + " " + e.Payload, e.Signatures[0].Sig}, func() (Session, error) { return openSigned[Session](e, key, SessionType) })
	if err != nil {
		return err
	}
	run, err := v.key(said.Key)
	if err != nil {
		return err
	}
	if _, twice := o.sessions[run.ID]; twice {
		return errors.New("two are of one key")
	}
	o.used[host], o.sessions[run.ID] = true, session{key: run, host: host, said: said, payload: e.Payload}
	ed, pq := said.Log.Keys[0], said.Log.Keys[1]
	if o.log.Origin != "" {
		if o.log.Ed25519.ID != ed || o.log.MLDSA44.ID != pq {
			return errors.New("two are of different logs")
		}
		return nil
	}
	o.log, err = v.logs.get([2]string{ed, pq}, func() (LogPublic, error) { return newLogPublic(o.keys[ed], o.keys[pq]) })
	o.used[ed], o.used[pq] = true, true
	return err
}

// saying is the use of a host's key that a statement of one of its sessions comes to.
func (o *opened) saying(e Envelope, index int64, simulated bool, claimed string) signing {
	return signing{o.sessions[e.Signatures[0].KeyID].host, roleOf(simulated), o.log, index, claimed}
}

// sessionSayings are the uses of hosts' keys that vouch for the sessions.
func (o *opened) sessionSayings() []signing {
	list := make([]signing, 0, len(o.proven))
	for _, p := range o.proven {
		s := o.sessions[p.entry.Session]
		list = append(list, signing{s.host, roleOf(s.said.Simulated), o.log, p.index, s.said.Time.Claimed})
	}
	return list
}

// allUsed refuses what nothing in the bundle asks for: no byte of it is without a meaning.
func (o *opened) allUsed() error {
	for id := range o.keys {
		if !o.used[id] {
			return fmt.Errorf("nothing is signed with key %.16s…", id)
		}
	}
	for id, s := range o.sessions {
		if !s.used {
			return fmt.Errorf("nothing is of the session of key %.16s…", id)
		}
	}
	return nil
}

// openSigned checks a statement that a key signed.
func openSigned[P predicate](e Envelope, key Public, kind string) (P, error) {
	var s Statement[P]
	payload, err := e.open(key)
	if err != nil {
		return s.Predicate, err
	}
	if err := decodeClosed(payload, &s); err != nil {
		return s.Predicate, err
	}
	if s.Type != StatementType || s.PredicateType != kind {
		return s.Predicate, fmt.Errorf("type %q with predicate %q", s.Type, s.PredicateType)
	}
	if err := s.Predicate.check(); err != nil {
		return s.Predicate, err
	}
	if !slices.Equal(s.Subject, s.Predicate.subjects()) {
		return s.Predicate, errors.New("the subject is not what the statement describes")
	}
	return s.Predicate, nil
}

// openStatement checks a statement that a session signed.
func openStatement[P predicate](o *opened, e Envelope, kind string) (P, error) {
	var none P
	id, err := e.signer()
	if err != nil {
		return none, err
	}
	s, known := o.sessions[id]
	if !known {
		return none, fmt.Errorf("no session vouches for key %.16s…", id)
	}
	s.used = true
	o.sessions[id] = s
	return openSigned[P](e, s.key, kind)
}

// summarizes checks that a note of the log is the summary of a result.
func (o *opened) summarizes(text string, r Result, digest string) error {
	n, err := note.Open([]byte(text), note.VerifierList(o.log.verifiers[0]))
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	want := summary(r, digest)
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 || n.Text != want || !oneForm(n, []byte(text)) {
		return errors.New("the summary is not that of the result")
	}
	return nil
}

// proven is an entry that is in the tree of the checkpoint.
type proven struct {
	index, size int64
	leaf        string // the entry's hash in hex
	entry       leaf
	root        tlog.Hash
}

// prove checks a proof against the bundle's checkpoint.
func (o *opened) prove(text string, l leaf, e Envelope) (proven, error) {
	var p proof.TLogProof
	if err := p.Unmarshal([]byte(text)); err != nil {
		return proven{}, err
	}
	if string(p.Marshal()) != text || !strings.HasSuffix(text, "\n\n") || len(p.Checkpoint) > 0 || p.ExtraData != nil || p.Index > math.MaxInt32 || len(p.Hashes) > 64 {
		return proven{}, errors.New("not in its one form")
	}
	l, err := l.committed(e)
	if err != nil {
		return proven{}, err
	}
	data := l.encode()
	hashes := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h
	}
	index, size := int64(p.Index), o.checkpoint.size
	if index >= size {
		return proven{}, errors.New("the entry is not in the tree of its checkpoint")
	}
	hash := tlog.RecordHash(data)
	if err := tlog.CheckRecord(hashes, size, o.checkpoint.root, index, hash); err != nil {
		return proven{}, err
	}
	return proven{index, size, hex.EncodeToString(hash[:]), l, o.checkpoint.root}, nil
}

// proveSessions checks that every session is in the log, in order, and returns where, by the run's key.
func (o *opened) proveSessions(envelopes []Envelope, proofs []string) (map[string]int64, error) {
	at, last := map[string]int64{}, int64(-1)
	for i, e := range envelopes {
		id := ""
		for key, s := range o.sessions {
			if s.payload == e.Payload {
				id = key
			}
		}
		p, err := o.prove(proofs[i], leaf{Kind: kindSession, Session: id}, e)
		if err != nil {
			return nil, fmt.Errorf("proof of a session: %w", err)
		}
		if p.index <= last {
			return nil, errors.New("the sessions are not in the order of the log")
		}
		at[id], last, o.proven = p.index, p.index, append(o.proven, p)
	}
	return at, nil
}
