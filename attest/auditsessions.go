package attest

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
)

// runAt is a run of the program as its session in the log has it.
type runAt struct {
	index     int64
	key       Public // without an id: its session's statement is not there
	host      string // id of the key that vouches for it
	simulated bool
	time      string // claimed
}

// saying is a use of a host's key, for a session or by one.
func (a *audit) saying(r runAt, index int64, claimed string) signing {
	s := signing{key: r.host, role: roleOf(r.simulated), index: index, time: claimed}
	if a.log != nil {
		s.log = *a.log
	}
	return s
}

// readSession reads the statement of a session, beside the log or in a certificate.
func (a *audit) readSession(index int64, l auditLeaf) error {
	said, host, err := a.sessionOf(l.leaf)
	var path *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		if said, host, err = a.sessionInCertificates(l.Session); err != nil {
			a.history.runs[l.Session] = runAt{index: index}
			a.say(found(FoundSessionMissing, "the statement of the session is neither beside the log nor in a certificate: what it signed cannot be checked").at(index).of(envelopeName(l.Envelope)))
			return nil
		}
	case errors.As(err, &path):
		return err
	default:
		a.history.runs[l.Session] = runAt{index: index}
		a.say(found(FoundStatementAltered, "the statement of entry %d is not the one that was logged: %v", index, err).at(index).of(envelopeName(l.Envelope)))
		return nil
	}
	key, err := parseKey(said.Key)
	if err != nil {
		return err // it was checked
	}
	if size := said.Log.Size; size > index || size > 0 && a.nodes.complete(size) && hashText(a.nodes.root(size)) != said.Log.Root {
		a.say(found(FoundSessionOtherLog, "the session began with a log of %d entries, and they were not those that are there", size).at(index))
	}
	if _, twice := a.history.runs[key.ID]; !twice {
		a.history.runs[key.ID] = runAt{index, key, host, said.Simulated, said.Time.Claimed}
	}
	a.Simulated = a.Simulated || said.Simulated
	return nil
}

func (a *audit) sessionOf(l leaf) (Session, string, error) {
	e, err := a.envelopeOf(l)
	if err != nil {
		return Session{}, "", err
	}
	host, err := e.signer()
	if err != nil {
		return Session{}, "", err
	}
	key, known := a.keys[host]
	if !known {
		return Session{}, "", errors.New("it is signed by a key that is neither beside the log nor trusted")
	}
	said, err := openSigned[Session](e, key, SessionType)
	switch {
	case err != nil:
	case said.subjects()[0].Digest.SHA256 != l.Session:
		err = errors.New("it is of another key than its entry")
	case a.log != nil && !slices.Equal(said.Log.Keys, []string{a.log.Ed25519.ID, a.log.MLDSA44.ID}):
		err = errors.New("it is of another log")
	}
	return said, host, err
}

func (a *audit) sessionInCertificates(id string) (Session, string, error) {
	for _, b := range a.bundles {
		if s, ok := b.opened.sessions[id]; ok {
			return s.said, s.host, nil
		}
	}
	return Session{}, "", fs.ErrNotExist
}

// judgeTrust says whose word the sessions are.
func (a *audit) judgeTrust() {
	a.Trust = "trusted"
	if a.in.Trust.Self {
		a.Trust = "self"
	}
	newest, said := int64(-1), map[int64]signing{}
	for _, r := range a.history.runs {
		if r.key.ID == "" {
			continue
		}
		if r.index > newest {
			newest, a.KeyID = r.index, r.host
		}
		said[r.index] = a.saying(r, r.index, r.time)
	}
	if newest < 0 && a.in.Trust.Empty() {
		a.Trust = "untrusted"
	}
	for index, t := range a.history.told {
		if t.said.key != "" { // a validator's word is judged where somebody relies on it
			said[index] = t.said
		}
	}
	type against struct{ code, key string }
	first, count := map[against]int64{}, map[against]int{}
	for _, index := range slices.Sorted(maps.Keys(said)) {
		if reason := a.in.Trust.judge(said[index]); reason != nil {
			at := against{reason.Code, said[index].key}
			if count[at]++; count[at] == 1 {
				first[at] = index
			}
		}
	}
	for _, index := range slices.Sorted(maps.Values(first)) {
		reason := a.in.Trust.judge(said[index])
		a.Trust = "untrusted"
		f := found(reason.Code, "%d entries: %s", count[against{reason.Code, said[index].key}], reason.Message)
		if reason.Code != FoundUntrustedKey {
			f = f.at(index)
		}
		a.say(f)
	}
}
