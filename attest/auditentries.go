package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

// parseLeaf reads an entry in its one form.
func parseLeaf(data []byte) (leaf, bool) {
	var l leaf
	if err := decodeClosed(data, &l); err != nil || !isHash(l.Envelope) || !isHash(l.Signature) {
		return leaf{}, false
	}
	switch l.Kind {
	case kindSession:
		return l, isHash(l.Session) && l.Drive == "" && l.Job == ""
	case kindIntent, kindResult, kindValidation, kindSupersession:
		return l, isHash(l.Drive) && l.Job != "" && l.Session == ""
	case kindManifest:
		return l, l.Drive == "" && l.Session == ""
	case kindDestruction:
		return l, isHash(l.Drive) && l.Job == "" && l.Session == ""
	}
	return leaf{}, false
}

// told is what an audit needs of a statement.
type told struct {
	job, drive, serial, status string
	simulated, achieved        bool
	previous                   string // leaf of the drive before an intent
	attempt                    int64  // of an intent
	intentIndex                int64  // that a result names
	intentLeaf                 string
	said                       signing

	of       *ResultAt // the result that a validation or supersession is of
	decision string    // of a validation
	signer   string    // id of a validation's key
	manifest *Manifest
	closes   []ResultAt // of a destruction
}

func toldByIntent(i Intent) told {
	return told{job: i.Job, drive: i.Device.DriveID(), serial: i.Device.Serial, simulated: i.Simulated, previous: i.PreviousLeaf, attempt: i.Attempt, said: signing{time: i.Time.Claimed}}
}

func toldByResult(r Result) told {
	return told{
		job: r.History.Job, drive: r.Device.DriveID(), serial: r.Device.Serial, status: r.Outcome.Status, simulated: r.Simulated, achieved: r.Outcome.Method != "",
		intentIndex: r.History.IntentIndex, intentLeaf: r.History.IntentLeaf, said: signing{time: r.Time.Claimed},
	}
}

// pairOf is what can have one intent and one result.
type pairOf struct{ job, drive string }

// history is what is known of the entries, beside the leaves.
type history struct {
	told      map[int64]told // by entry
	certified map[tlog.Hash]told
	proven    map[pairOf]bool   // a certificate shows the result, wherever its entry is
	serials   map[string]string // by drive
	runs      map[string]runAt  // by the id of the run's key
}

// readStatements finds the statement of every entry: beside the log, or in a certificate.
func (a *audit) readStatements() error {
	h := history{map[int64]told{}, map[tlog.Hash]told{}, map[pairOf]bool{}, map[string]string{}, map[string]runAt{}}
	for _, b := range a.bundles {
		for i, t := range b.told {
			h.certified[b.at[i].hash()] = t
		}
		if !b.record {
			h.proven[pairOf{b.told[0].job, b.told[0].drive}] = true
		}
	}
	a.history = h
	for i, l := range a.leaves {
		if !l.known {
			continue
		}
		if l.Kind == kindSession {
			if err := a.readSession(int64(i), l); err != nil {
				return err
			}
			continue
		}
		t, err := a.statementOf(int64(i), l.leaf)
		var path *fs.PathError
		certified, inCertificate := h.certified[l.hash]
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist) && inCertificate:
			t = certified
		case errors.Is(err, errSessionMissing):
			continue // which was told of
		case errors.Is(err, fs.ErrNotExist):
			if l.Kind != kindResult { // a result without any is one without a certificate
				f := found(FoundStatementMissing, "the statement of entry %d is neither beside the log nor in a certificate", i).at(int64(i)).of(envelopeName(l.Envelope))
				f.Job = l.Job
				a.say(f)
			}
			continue
		case errors.As(err, &path):
			return err
		default:
			code := FoundStatementAltered
			if errors.Is(err, errNoSession) {
				code = FoundNoSession
			}
			f := found(code, "the statement of entry %d is not the one that was logged: %v", i, err).at(int64(i)).of(envelopeName(l.Envelope))
			f.Job = l.Job
			a.say(f)
			if t = certified; !inCertificate {
				continue
			}
		}
		if h.told[int64(i)] = t; l.Drive != "" {
			h.serials[l.Drive] = t.serial
		}
		a.Simulated = a.Simulated || t.simulated
	}
	a.judgeTrust()
	return nil
}

func envelopeName(digest string) string { return "envelopes/" + digest + ".json" }

// envelopeOf reads a leaf's envelope beside the log. The error is fs.ErrNotExist when it is not
// there, another *fs.PathError when it cannot be read, and else says what is wrong with it.
func (a *audit) envelopeOf(l leaf) (Envelope, error) {
	data, err := readLimited(a.in.Log, envelopeName(l.Envelope), MaxSize)
	if err != nil {
		return Envelope{}, err
	}
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return Envelope{}, errors.New("it is cut")
	}
	var e Envelope
	if err := decodeClosed(data[:len(data)-1], &e); err != nil {
		return Envelope{}, err
	}
	again, err := l.committed(e)
	if err != nil {
		return Envelope{}, err
	}
	if again != l {
		return Envelope{}, errors.New("it, or its signature, is another one")
	}
	return e, nil
}

// What keeps a statement from being checked.
var (
	errNoSession      = errors.New("no session before it vouches for its key")
	errSessionMissing = errors.New("the statement of its session is not there")
)

// statementOf reads a leaf's statement beside the log, and checks it.
func (a *audit) statementOf(index int64, l leaf) (told, error) {
	e, err := a.envelopeOf(l)
	if err != nil {
		return told{}, err
	}
	id, err := e.signer()
	if err != nil {
		return told{}, err
	}
	if l.Kind == kindValidation {
		return a.validationOf(e, id, l)
	}
	run, known := a.history.runs[id]
	switch {
	case !known || run.index > index:
		return told{}, errNoSession
	case run.key.ID == "":
		return told{}, errSessionMissing
	}
	t, err := statementTold(e, run.key, l.Kind)
	if err != nil {
		return told{}, err
	}
	if t.job != l.Job || t.drive != l.Drive {
		return told{}, errors.New("it is of another job or drive than its entry")
	}
	if t.simulated != run.simulated {
		return told{}, errors.New("it and its session differ in whether they are a simulation")
	}
	t.said = a.saying(run, index, t.said.time)
	return t, nil
}

// finding is one about an entry, with what is known of its drive.
func (a *audit) finding(index int64, code, format string, args ...any) Finding {
	f := found(code, format, args...).at(index)
	if l := a.leaves[index]; l.known {
		f.Job, f.Serial = l.Job, a.history.serials[l.Drive]
	}
	return f
}

// pairs follows the log from its first entry: each intent has one result, each result its intent
// before it, and each intent names what came before it on its drive.
func (a *audit) pairs() error {
	intents, results := map[pairOf][]int64{}, map[pairOf][]int64{}
	last := map[string]string{} // hash of a drive's newest leaf
	failed, attempts := map[string]int64{}, map[string]int64{}
	destroyed := map[string]int64{}
	var manifests []int64
	gap := false
	for n, l := range a.leaves {
		i := int64(n)
		if !l.known {
			gap = true
			continue
		}
		if l.Kind == kindSession {
			a.Sessions++
			continue
		}
		if l.Kind == kindManifest {
			a.Manifests++
			manifests = append(manifests, i)
			continue
		}
		p, hash := pairOf{l.Job, l.Drive}, hex.EncodeToString(l.hash[:])
		t, spoke := a.history.told[i]
		switch l.Kind {
		case kindValidation, kindSupersession:
			a.said(i, l, t, spoke, results[p])
		case kindDestruction:
			a.destruction(i, l, t, spoke, failed)
			destroyed[l.Drive] = i
		case kindIntent:
			a.Intents++
			if at, ended := destroyed[l.Drive]; ended {
				a.say(a.finding(i, FoundWorkAfter, "work on a drive that was recorded as destroyed in entry %d: one of both is of another drive, or not so", at))
			}
			if len(intents[p]) > 0 {
				a.say(a.finding(i, FoundIntentRepeated, "a second intent of the job on this drive; the first is entry %d", intents[p][0]))
			} else if spoke && !gap && t.previous != last[l.Drive] {
				a.say(a.finding(i, FoundChainBroken, "the intent names another entry as its drive's newest than the one before it: the history was rewritten"))
			} else if spoke && !gap && t.attempt != attempts[l.Drive]+1 {
				a.say(a.finding(i, FoundChainBroken, "the intent calls itself attempt %d on its drive, and %d are before it: the history was rewritten", t.attempt, attempts[l.Drive]))
			}
			attempts[l.Drive]++
			intents[p] = append(intents[p], i)
		default:
			a.Results++
			a.result(i, t, spoke, intents[p], results[p])
			results[p] = append(results[p], i)
			if spoke {
				a.Outcomes[t.status]++
				a.afterFailure(i, l.Drive, t, failed)
			}
		}
		last[l.Drive] = hash
	}
	a.Drives = len(last)
	a.openIntents(intents, results)
	a.manifests(manifests, intents, results, gap)
	return nil
}

// result judges one result.
func (a *audit) result(i int64, t told, spoke bool, intents, results []int64) {
	inGap := spoke && t.intentIndex < i && !a.leaves[t.intentIndex].known
	switch {
	case len(results) > 0:
		a.say(a.finding(i, FoundResultRepeated, "a second result of the job on this drive; the first is entry %d", results[0]))
	case len(intents) == 0 && !inGap:
		a.say(a.finding(i, FoundNoIntent, "a result, and no intent before it"))
	case spoke && !inGap && !a.named(t, intents):
		a.say(a.finding(i, FoundOtherIntent, "the result names entry %d as its intent, and that is another one", t.intentIndex))
	}
	if _, certified := a.history.certified[a.leaves[i].hash]; certified {
		return
	}
	f := a.finding(i, FoundNoCertificate, "the certificate of a result was not found, and its statement is not beside the log either")
	switch {
	case a.unfinished(a.leaves[i].leaf) == AtWork:
		f.Grade, f.Message = Note, "no certificate yet: the job is "+AtWork
	case spoke:
		f.Message = fmt.Sprintf("the certificate of a result was not found; it says %q, and its statement is beside the log", t.status)
	}
	a.say(f)
}

// named says whether the intent that a result names is one of its job and drive.
func (a *audit) named(t told, intents []int64) bool {
	for _, i := range intents {
		if hash := a.leaves[i].hash; i == t.intentIndex && hex.EncodeToString(hash[:]) == t.intentLeaf {
			return true
		}
	}
	return false
}

// afterFailure tells of a drive that failed and then succeeded: whoever sees one certificate sees
// one of both.
func (a *audit) afterFailure(i int64, drive string, t told, failed map[string]int64) {
	switch first, before := failed[drive]; {
	case t.status == "failed" || t.status == "unproven" || t.status == "unknown":
		if !before {
			failed[drive] = i
		}
	case t.achieved && before:
		a.say(a.finding(i, FoundFailedBefore, "%q here, and %q before it in entry %d", t.status, a.history.told[first].status, first))
		delete(failed, drive)
	}
}

// openIntents tells of intents that have no result.
func (a *audit) openIntents(intents, results map[pairOf][]int64) {
	for p, list := range intents {
		if len(results[p]) > 0 || a.history.proven[p] {
			continue // a certificate whose entry is not there was told of
		}
		i := list[0]
		if len(a.beyond) > 0 && a.beyond[0].known && a.beyond[0].Kind == kindResult && (pairOf{a.beyond[0].Job, a.beyond[0].Drive}) == p {
			continue // and so was a result behind the checkpoint
		}
		if how := a.unfinished(a.leaves[i].leaf); how != "" {
			a.say(a.finding(i, FoundIntentUnfinished, "no result yet: the job is %s on this drive", how))
			continue
		}
		a.say(a.finding(i, FoundIntentOpen, "an intent without a result: the drive was to be erased, and nothing says how that ended"))
	}
}
