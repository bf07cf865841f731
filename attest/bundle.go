package attest

import (
	"fmt"
	"slices"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// Certificate is the whole bundle: one file that stands alone. Members that are not there yet are
// absent, never reformatted later.
type Certificate struct {
	// Checkpoint is the log's head that all proofs are against. Behind a proof it makes the text of
	// c2sp.org/tlog-proof.
	Checkpoint string     `json:"checkpoint"`
	Intent     Envelope   `json:"intent"`
	Keys       []string   `json:"keys"`   // what the signatures are checked with: base64 of each SubjectPublicKeyInfo, ascending; whether they are trusted is not said here
	Proofs     []string   `json:"proofs"` // of the sessions, the intent, the result, the validations, the supersessions: c2sp.org/tlog-proof up to its empty line
	Result     Envelope   `json:"result"`
	Schema     string     `json:"schema"`
	Sessions   []Envelope `json:"sessions"` // of intent, result and supersessions, in the order of the log
	Summary    string     `json:"summary"`  // what Summary says, as a note of the log
	// What was said of the result later, in the order of the log; the newest counts.
	Validations   []Envelope `json:"validations,omitempty"`
	Supersessions []Envelope `json:"supersessions,omitempty"`
}

// gathered are entries of the log on their way into a bundle.
type gathered struct {
	is       Issuer
	tree     *tree
	keys     map[string]Public
	sessions map[string]bool // by the id of the run's key
	at       []place         // in the order of the log
}

type place struct {
	leaf     leaf
	index    int64
	envelope Envelope
}

// get takes the newest entry that matches.
func (g *gathered) get(word string, match func(leaf) bool) (place, error) {
	l, index, err := g.tree.find(word, match)
	if err != nil {
		return place{}, err
	}
	if index < 0 {
		return place{}, ErrNotLogged
	}
	e, err := g.is.Log.loadEnvelope(l.Envelope)
	return place{l, index, e}, err
}

// session takes the session that vouches for an envelope's key, and the key of its host.
func (g *gathered) session(e Envelope) error {
	id, err := e.signer()
	if err != nil || g.sessions[id] {
		return err
	}
	p, err := g.get(id, func(l leaf) bool { return l.Kind == kindSession && l.Session == id })
	if err != nil {
		return fmt.Errorf("session of key %.16s…: %w", id, err)
	}
	host, err := p.envelope.signer()
	if err != nil {
		return err
	}
	key, err := g.is.Log.publicKey(host)
	if err != nil {
		return err
	}
	g.keys[host], g.sessions[id] = key, true
	g.at = append(g.at, p)
	return nil
}

// head is the log at one size: what proofs are against.
type head struct {
	size       int64
	checkpoint string
}

func (t *tree) head() head { return head{t.size, string(t.checkpoint)} }

// prove is the proof of an entry in the log as it was at a size, up to its empty line.
func (t *tree) prove(size, index int64) (string, error) {
	path, err := tlog.ProveRecord(size, index, t)
	if err != nil {
		return "", fmt.Errorf("prove log entry %d: %w", index, err)
	}
	p := proof.TLogProof{Index: uint64(index)}
	for _, h := range path {
		p.Hashes = append(p.Hashes, h)
	}
	return string(p.Marshal()), nil
}

func (is Issuer) gather(t *tree) *gathered {
	log := is.Log.key.LogPublic
	return &gathered{is: is, tree: t, sessions: map[string]bool{}, keys: map[string]Public{log.Ed25519.ID: log.Ed25519, log.MLDSA44.ID: log.MLDSA44}}
}

// ordered are the sessions in the order of the log, and the proofs of them and of what is behind them.
func (g *gathered) ordered(at head, behind ...place) (sessions []Envelope, proofs []string, err error) {
	slices.SortFunc(g.at, func(a, b place) int { return int(a.index - b.index) })
	for _, p := range g.at {
		sessions = append(sessions, p.envelope)
	}
	for _, p := range append(slices.Clone(g.at), behind...) {
		text, err := g.tree.prove(at.size, p.index)
		if err != nil {
			return nil, nil, err
		}
		proofs = append(proofs, text)
	}
	return sessions, proofs, nil
}

// texts are the keys in the order of their texts.
func (g *gathered) texts() []string {
	var list []string
	for _, key := range g.keys {
		list = append(list, key.text())
	}
	slices.Sort(list)
	return list
}

// bundle puts together what the log has of a job's drive, and checks it as anybody would.
func (is Issuer) bundle(t *tree, at head, job, drive string) ([]byte, error) {
	g := is.gather(t)
	var behind []place
	for _, kind := range []string{kindIntent, kindResult} {
		p, err := g.get(job, matching(kind, job, drive))
		if err != nil {
			return nil, fmt.Errorf("%s of job %s: %w", kind, job, err)
		}
		if err := g.session(p.envelope); err != nil {
			return nil, err
		}
		behind = append(behind, p)
	}
	c := Certificate{Schema: CertificateSchema, Checkpoint: at.checkpoint, Intent: behind[0].envelope, Result: behind[1].envelope}
	validations, err := g.validations(job, drive)
	if err != nil {
		return nil, err
	}
	supersessions, err := g.supersessions(job, drive)
	if err != nil {
		return nil, err
	}
	for _, p := range validations {
		c.Validations = append(c.Validations, p.envelope)
	}
	for _, p := range supersessions {
		c.Supersessions = append(c.Supersessions, p.envelope)
	}
	behind = append(append(behind, validations...), supersessions...)
	if c.Sessions, c.Proofs, err = g.ordered(at, behind...); err != nil {
		return nil, err
	}
	c.Keys = g.texts()
	if c.Summary, err = is.summary(c.Result); err != nil {
		return nil, err
	}
	data, err := Canonical(c)
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	// What we hand out, we would accept. Whose word it is, is for others to say.
	if r := Verify(data, Trust{}); r.Result == nil {
		return nil, fmt.Errorf("the certificate does not verify: %v", r.Reasons)
	}
	return data, nil
}

// summary is the signed summary of a result.
func (is Issuer) summary(e Envelope) (string, error) {
	payload, err := decodeBase64(e.Payload) // from the log
	if err != nil {
		return "", err
	}
	var s Statement[Result]
	if err := decodeClosed(payload, &s); err != nil {
		return "", err
	}
	note, err := is.Log.key.SignNote(summary(s.Predicate, hexSHA256(pae(payload))))
	return string(note), err
}
