package attest

import (
	"errors"
	"fmt"
)

// SupersessionType is the predicate type of a supersession.
const SupersessionType = "https://github.com/expunge-dev/expunge/supersession/v1"

// Supersession is the predicate that corrects what people said with a result, or withdraws the result. The result stays as it
// was signed, and is shown beside it.
type Supersession struct {
	Agent     Agent    `json:"agent"`
	By        *Person  `json:"by,omitempty"`
	Device    Named    `json:"device"`
	Given     *Given   `json:"given,omitempty"` // all that is said now, in place of the result's
	Reason    string   `json:"reason"`
	Result    ResultAt `json:"result"`
	Simulated bool     `json:"simulated"`
	Time      Time     `json:"time"`
	Withdrawn bool     `json:"withdrawn"` // for good
}

func (s Supersession) check() error {
	if err := errors.Join(s.By.check(), s.Given.check(), s.Device.check(), s.Result.check()); err != nil {
		return err
	}
	return checkRules(append(spoken(s.Agent, s.Time),
		rule{s.Reason != "" && !tooLong(s.Reason), "the reason is missing, or too long"},
		rule{(s.Given != nil) != s.Withdrawn, "it neither corrects nor withdraws, or does both"},
	))
}

func (s Supersession) subjects() []Subject { return s.Result.subjects(s.Device) }

// Correction is what supersedes a result. Without Given the result is withdrawn.
type Correction struct {
	By     *Person
	Given  *Given
	Reason string
}

// Supersede signs and logs a correction of a job's drive, and returns the certificate with it. The error is a *RecordError
// when it is refused.
func (is Issuer) Supersede(job, drive string, c Correction) ([]byte, error) {
	var bundle []byte
	err := is.Log.update(func(t *tree) error {
		at, r, err := is.resultAt(t, job, drive)
		if err != nil {
			return err
		}
		before, err := t.all(job, matching(kindSupersession, job, drive))
		if err != nil {
			return err
		}
		for _, l := range before {
			s, err := statementIn[Supersession](is.Log, l.leaf)
			if err != nil {
				return err
			}
			if s.Withdrawn {
				return &RecordError{"withdrawn", "the certificate was withdrawn already, and that is for good", "sanitize the drive in a new job"}
			}
		}
		if err := t.roomFor(kindSupersession, job, drive); err != nil {
			return err
		}
		d := r.Device
		s := Supersession{Agent: is.Run.Agent, By: c.By, Device: Name(d.Model, d.Serial, d.WWN), Given: c.Given, Reason: c.Reason, Result: at,
			Simulated: r.Simulated, Time: is.time(), Withdrawn: c.Given == nil}
		if err := s.check(); err != nil {
			return &RecordError{"supersession_refused", "supersession refused: " + err.Error(), ""}
		}
		key, err := is.session(t)
		if err != nil {
			return err
		}
		if _, _, err := addRecordStatement(t, SupersessionType, s, key, leaf{Kind: kindSupersession, Drive: drive, Job: job}); err != nil {
			return err
		}
		bundle, err = is.bundle(t, t.head(), job, drive)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("supersede certificate: %w", err)
	}
	return bundle, nil
}

// supersessions takes those of a job's drive, and their sessions.
func (g *gathered) supersessions(job, drive string) ([]place, error) {
	found, err := g.tree.all(job, matching(kindSupersession, job, drive))
	if err != nil {
		return nil, err
	}
	var list []place
	for _, f := range found {
		e, err := g.is.Log.loadEnvelope(f.Envelope)
		if err != nil {
			return nil, err
		}
		if err := g.session(e); err != nil {
			return nil, err
		}
		list = append(list, place{f.leaf, f.index, e})
	}
	return list, nil
}

// Superseded is a supersession in a certificate.
type Superseded struct {
	Supersession
	Index int64
}

// verifySupersessions checks them. The proofs begin with theirs; last is where each session was logged, by its key.
func (r *Report) verifySupersessions(c Certificate, proofs []string, sessions map[string]int64) error {
	if len(c.Supersessions) > maxRecords {
		return errors.New("more supersessions than a certificate can have")
	}
	last := r.LogIndex
	for i, e := range c.Supersessions {
		s, err := openStatement[Supersession](r.opened, e, SupersessionType)
		if err != nil {
			return fmt.Errorf("supersession: %w", err)
		}
		at, err := r.proveRecord(proofs[i], leaf{Kind: kindSupersession}, e, s.Device, s.Result, s.Simulated, last)
		if err == nil && sessions[e.Signatures[0].KeyID] >= at.index {
			err = errors.New("it was logged before its session")
		}
		if err != nil {
			return fmt.Errorf("supersession: %w", err)
		}
		last = at.index
		r.Supersessions, r.later = append(r.Supersessions, Superseded{s, at.index}), append(r.later, at)
	}
	return nil
}

// Given is what people say of the drive now: what the newest correction says, or else what the result does.
func (r Report) Given() *Given {
	var given *Given
	if r.Result != nil {
		given = r.Result.Given
	}
	for _, s := range r.Supersessions {
		if s.Given != nil {
			given = s.Given
		}
	}
	return given
}

// withdrawal is why the certificate does not stand any more; nil when it does.
func (r Report) withdrawal() *Reason {
	for _, s := range r.Supersessions {
		if s.Withdrawn {
			return &Reason{"withdrawn", "the issuer withdrew the certificate: " + s.Reason, "treat the drive as holding data until it is sanitized again"}
		}
	}
	return nil
}

// Standing is why a certificate does not stand as it was signed: a validator decided otherwise, or it was withdrawn. It is empty where
// nothing was said against it later.
func (r Report) Standing() []Reason {
	var list []Reason
	for _, reason := range []*Reason{r.judged(), r.withdrawal()} {
		if reason != nil {
			list = append(list, *reason)
		}
	}
	return list
}
