package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// RecordSchema names the bundle of a record that is of no one result: a manifest, a destruction.
const RecordSchema = "https://github.com/expunge-dev/expunge/record/v1"

// Record is the bundle of such a record: like Certificate, one file that stands alone.
type Record struct {
	Checkpoint string     `json:"checkpoint"`
	Keys       []string   `json:"keys"`
	Proofs     []string   `json:"proofs"` // of the session and of the record
	Record     Envelope   `json:"record"`
	Schema     string     `json:"schema"`
	Sessions   []Envelope `json:"sessions"`
}

// RecordError: the record is refused. Nothing was signed.
type RecordError struct{ Code, Problem, Hint string }

func (e *RecordError) Error() string { return e.Problem }

// Named is a drive as a record names it.
type Named struct {
	ID     string `json:"id"` // drive-id/v1 in hex
	Model  string `json:"model"`
	Serial string `json:"serial"`
	WWN    string `json:"wwn,omitempty"`
}

// Name is the drive of these words.
func Name(model, serial, wwn string) Named {
	return Named{Device{Model: model, Serial: serial, WWN: wwn}.DriveID(), model, serial, wwn}
}

func (n Named) check() error {
	return checkRules([]rule{
		{n == Name(n.Model, n.Serial, n.WWN), "the drive's id is not the one of its model, serial and WWN"},
		{n.Serial != "" || n.WWN != "", "the drive has neither serial nor WWN"},
		{isASCII(n.Model, n.Serial, n.WWN), "the drive's words are not printable ASCII"},
		{!slices.ContainsFunc([]string{n.Model, n.Serial, n.WWN}, tooLong), "the drive's words are too long"},
	})
}

// ResultAt is a signed result, by the digest of what was signed, and where it is in the log.
type ResultAt struct {
	Index  int64  `json:"index"`
	Job    string `json:"job"`
	SHA256 string `json:"sha256"`
	Status string `json:"status"` // its outcome
}

func (r ResultAt) check() error {
	return checkRules([]rule{
		{r.Index >= 0 && isHash(r.SHA256), "the result is not named by place and digest"},
		{r.Job != "" && isASCII(r.Job), "the result's job is missing"},
		{slices.Contains(outcomes, r.Status), "the result's outcome is unknown"},
	})
}

// subjects are the drive and the result that a record is of.
func (r ResultAt) subjects(n Named) []Subject {
	return []Subject{{"drive-id/v1", Digest{n.ID}}, {"result/v1", Digest{r.SHA256}}}
}

// spoken are the rules of what every record has.
func spoken(a Agent, t Time) []rule {
	return []rule{
		{a.Name != "" && a.Version != "", "the agent is missing"},
		{isTime(t.Claimed) && t.Source != "", "the time is not UTC in seconds"},
	}
}

// resultAt is the result of a job's drive, as the log has it.
func (is Issuer) resultAt(t *tree, job, drive string) (ResultAt, Result, error) {
	l, index, err := t.find(job, matching(kindResult, job, drive))
	if err != nil {
		return ResultAt{}, Result{}, err
	}
	if index < 0 {
		return ResultAt{}, Result{}, fmt.Errorf("result of job %s: %w", job, ErrNotLogged)
	}
	r, err := statementIn[Result](is.Log, l)
	return ResultAt{index, job, l.Envelope, r.Outcome.Status}, r, err
}

// statementIn reads a statement of the own log: that its envelope is the leaf's was compared.
func statementIn[P any](log *Log, l leaf) (P, error) {
	var s Statement[P]
	e, err := log.loadEnvelope(l.Envelope)
	if err != nil {
		return s.Predicate, err
	}
	payload, err := decodeBase64(e.Payload)
	if err == nil {
		err = decodeClosed(payload, &s)
	}
	return s.Predicate, err
}

// addRecord signs and logs a record with the run's key, and returns its bundle.
func addRecord[P predicate](is Issuer, t *tree, kind string, p P, l leaf) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s refused: %w", l.Kind, err)
	}
	key, err := is.session(t)
	if err != nil {
		return nil, err
	}
	l, index, err := addRecordStatement(t, kind, p, key, l)
	var said *RecordError
	if errors.As(err, &said) && said.Code == saidAlready && l.Kind == kindManifest {
		err = nil // nobody says a manifest: whoever makes the same one in the same second gets that one
	}
	if err != nil {
		return nil, err
	}
	return is.record(t, l, index)
}

// saidAlready is the code of a *RecordError of a statement that the log has.
const saidAlready = "said_already"

// addRecordStatement is addStatement for what people can say twice: the same words in the same second would be one statement
// with two signatures, of which the log keeps one. Its place comes with the error, whose code is saidAlready.
func addRecordStatement[P predicate](t *tree, kind string, p P, k *Key, l leaf) (leaf, int64, error) {
	payload, err := Canonical(Statement[P]{Type: StatementType, PredicateType: kind, Predicate: p, Subject: p.subjects()})
	if err != nil {
		return leaf{}, -1, &RecordError{l.Kind + "_refused", fmt.Sprintf("%s refused: %v", l.Kind, err), ""}
	}
	digest := hexSHA256(pae(payload))
	found, index, err := t.find(digest, func(l leaf) bool { return l.Envelope == digest })
	if err == nil && index >= 0 {
		return found, index, &RecordError{saidAlready, fmt.Sprintf("the same %s was signed a moment ago, as entry %d", l.Kind, index), ""}
	}
	if err != nil {
		return leaf{}, -1, err
	}
	return addStatement(t, kind, p, k, l)
}

// record is the bundle of a record that is in the log.
func (is Issuer) record(t *tree, l leaf, index int64) ([]byte, error) {
	e, err := is.Log.loadEnvelope(l.Envelope)
	if err != nil {
		return nil, err
	}
	g := is.gather(t)
	if err := g.session(e); err != nil {
		return nil, err
	}
	r := Record{Checkpoint: string(t.checkpoint), Record: e, Schema: RecordSchema, Keys: g.texts()}
	if r.Sessions, r.Proofs, err = g.ordered(t.head(), place{l, index, e}); err != nil {
		return nil, err
	}
	data, err := Canonical(r)
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	if r := Verify(data, Trust{}); !r.IsRecord() {
		return nil, fmt.Errorf("the record does not verify: %v", r.Reasons)
	}
	return data, nil
}

// verifyRecord checks the bundle of a record but for whose word it is.
func (v *Verifier) verifyRecord(body []byte) (Report, error) {
	var c Record
	if err := decodeClosed(body, &c); err != nil {
		return Report{}, fmt.Errorf("record: %w", err)
	}
	if c.Schema != RecordSchema || len(c.Sessions) != 1 || len(c.Proofs) != 2 {
		return Report{}, fmt.Errorf("schema %q with %d proofs: not known to this verifier", c.Schema, len(c.Proofs))
	}
	o, err := v.open(c.Keys, c.Sessions, c.Checkpoint)
	if err != nil {
		return Report{}, err
	}
	r := Report{opened: o, LogOrigin: o.log.Origin}
	l, claimed, err := r.openRecord(c.Record)
	if err != nil {
		return Report{}, err
	}
	last, err := o.proveSessions(c.Sessions, c.Proofs)
	if err != nil {
		return Report{}, err
	}
	at, err := o.prove(c.Proofs[1], l, c.Record)
	if err != nil {
		return Report{}, fmt.Errorf("proof of the record: %w", err)
	}
	if err := o.allUsed(); err != nil {
		return Report{}, err
	}
	signer := c.Record.Signatures[0].KeyID
	session := o.sessions[signer]
	r.LogSize, r.LogIndex, r.LogLeaf, r.record, r.RecordTime = o.checkpoint.size, at.index, at.hash(), at, claimed
	r.Session, r.KeyID = &session.said, session.host
	r.said = append([]signing{o.saying(c.Record, at.index, r.Simulated, claimed)}, o.sessionSayings()...)
	return r, checkRules([]rule{
		{session.said.Simulated == r.Simulated, "the session and the record differ in whether they are a simulation"},
		{last[signer] < at.index, "the record was logged before its session"},
	})
}

// openRecord opens the statement of a record, of whichever kind it is, and says what its entry must be.
func (r *Report) openRecord(e Envelope) (leaf, string, error) {
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	payload, err := decodeBase64(e.Payload)
	if err == nil {
		err = json.Unmarshal(payload, &s) // only to choose: each kind is read strictly
	}
	if err != nil {
		return leaf{}, "", fmt.Errorf("record: %w", err)
	}
	switch s.PredicateType {
	case ManifestType:
		m, err := openStatement[Manifest](r.opened, e, ManifestType)
		r.Manifest, r.Simulated = &m, m.Simulated
		return leaf{Kind: kindManifest, Job: m.Job}, m.Time.Claimed, wrapped("manifest", err)
	case DestructionType:
		d, err := openStatement[Destruction](r.opened, e, DestructionType)
		r.Destruction, r.Simulated = &d, d.Simulated
		return leaf{Kind: kindDestruction, Drive: d.Device.ID}, d.Time.Claimed, wrapped("destruction", err)
	}
	return leaf{}, "", errors.New("record: its kind is not known to this verifier")
}

func wrapped(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// RecordSHA256 is the digest of what was signed as a record; "" of anything else.
func (r Report) RecordSHA256() string { return r.record.entry.Envelope }

// Records makes again the records that are of no job: destructions, and manifests where no job was begun.
func (is Issuer) Records() ([][]byte, error) {
	var list [][]byte
	err := is.Log.update(func(t *tree) error {
		found, err := t.all(`"kind":`, func(l leaf) bool { return l.Job == "" && (l.Kind == kindManifest || l.Kind == kindDestruction) })
		if err != nil {
			return err
		}
		for _, f := range found {
			data, err := is.record(t, f.leaf, f.index)
			if err != nil {
				return err
			}
			list = append(list, data)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make records again: %w", err)
	}
	return list, nil
}
