package attest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
)

func toldByValidation(v Validation, signer string) told {
	return told{job: v.Result.Job, drive: v.Device.ID, serial: v.Device.Serial, simulated: v.Simulated, of: &v.Result, decision: v.Decision, signer: signer}
}

func toldBySupersession(s Supersession) told {
	return told{said: signing{time: s.Time.Claimed}, job: s.Result.Job, drive: s.Device.ID, serial: s.Device.Serial, simulated: s.Simulated, of: &s.Result}
}

func toldByManifest(m Manifest) told {
	return told{said: signing{time: m.Time.Claimed}, job: m.Job, simulated: m.Simulated, manifest: &m}
}

func toldByDestruction(d Destruction) told {
	return told{said: signing{time: d.Time.Claimed}, drive: d.Device.ID, serial: d.Device.Serial, simulated: d.Simulated, closes: d.Closes}
}

func toldByRecord(r Report) told {
	if r.Manifest != nil {
		return toldByManifest(*r.Manifest)
	}
	return toldByDestruction(*r.Destruction)
}

// statementTold opens a statement that a run's key signed, of whichever kind its entry is.
func statementTold(e Envelope, key Public, kind string) (told, error) {
	switch kind {
	case kindIntent:
		return opens(e, key, IntentType, toldByIntent)
	case kindSupersession:
		return opens(e, key, SupersessionType, toldBySupersession)
	case kindManifest:
		return opens(e, key, ManifestType, toldByManifest)
	case kindDestruction:
		return opens(e, key, DestructionType, toldByDestruction)
	}
	return opens(e, key, SanitizationType, toldByResult)
}

func opens[P predicate](e Envelope, key Public, kind string, tell func(P) told) (told, error) {
	p, err := openSigned[P](e, key, kind)
	if err != nil {
		return told{}, err
	}
	return tell(p), nil
}

// validationOf opens a validation, which is of no session.
func (a *audit) validationOf(e Envelope, id string, l leaf) (told, error) {
	key, known := a.keys[id]
	if !known {
		return told{}, errors.New("it is signed by a key that is neither beside the log nor trusted")
	}
	v, err := openValidation(e, key)
	t := toldByValidation(v, id)
	if err == nil && (t.job != l.Job || t.drive != l.Drive) {
		err = errors.New("it is of another job or drive than its entry")
	}
	return t, err
}

// said judges a validation or a supersession: it is of a result before it, and in the newest certificate.
func (a *audit) said(i int64, l auditLeaf, t told, spoke bool, results []int64) {
	withheld := FoundSupersedingWithheld
	if l.Kind == kindValidation {
		a.Validations++
		withheld = FoundValidationWithheld
	} else {
		a.Supersedings++
	}
	if spoke {
		a.ofResult(i, t, *t.of, results, "the "+l.Kind)
	}
	if l.Kind == kindValidation && spoke {
		_, session := a.history.runs[t.signer]
		for _, r := range a.history.runs {
			session = session || r.host == t.signer
		}
		if session || a.log != nil && (t.signer == a.log.Ed25519.ID || t.signer == a.log.MLDSA44.ID) {
			a.say(a.finding(i, FoundValidatorDependent, "the validation is signed by a key that results rest on: nobody validates their own work"))
		}
		if t.decision == Accept && t.of.Status == "sanitized" {
			for _, r := range results {
				if made, ok := a.history.told[r]; ok && made.status != "sanitized" {
					a.say(a.finding(i, FoundAcceptedUnsanitized, "it accepts a result that says %q", made.status))
				}
			}
		}
	}
	a.withheld(i, l, withheld)
}

// withheld looks for the certificate that must have a record.
func (a *audit) withheld(i int64, l auditLeaf, code string) {
	var with, without, newer bool // a certificate with it, one older than it, one that was made after it and lacks it
	var file string
	for _, b := range a.bundles {
		if b.record || b.told[0].job != l.Job || b.told[0].drive != l.Drive {
			continue
		}
		has := slices.ContainsFunc(b.at, func(p proven) bool { return p.index == i && p.hash() == l.hash })
		switch {
		case has:
			with = true
		case b.at[0].size > i:
			newer, file = true, b.file
		default:
			without, file = true, b.file
		}
	}
	f := a.finding(i, code, "a %s is in the log, and no certificate at hand has it", l.Kind).of(file)
	switch {
	case newer:
		f.Message = fmt.Sprintf("a %s is in the log, and a certificate that was made after it does not have it", l.Kind)
	case with && without:
		f = a.finding(i, FoundCertificateOutdated, "the certificate is older than the %s: a newer one has it", l.Kind).of(file)
	case with:
		return
	case a.unfinished(l.leaf) == AtWork:
		f.Grade = Note
	}
	a.say(f)
}

// ofResult says whether a result that a record names is the one in the log.
func (a *audit) ofResult(i int64, t told, of ResultAt, results []int64, what string) {
	if of.Index < i && of.Index < int64(len(a.leaves)) && !a.leaves[of.Index].known {
		return // which was told of
	}
	made, spoke := a.history.told[of.Index]
	if !slices.Contains(results, of.Index) || a.leaves[of.Index].Envelope != of.SHA256 || a.leaves[of.Index].Job != of.Job || spoke && made.status != of.Status {
		f := a.finding(i, FoundRecordMismatch, "%s names entry %d as a result that says %q, and that is not so", what, of.Index, of.Status)
		f.Serial = t.serial
		a.say(f)
	}
}

// destruction judges the record of one. A failure that it closes is told of as closed.
func (a *audit) destruction(i int64, l auditLeaf, t told, spoke bool, failed map[string]int64) {
	a.Destructions++
	for _, of := range t.closes {
		var results []int64
		if of.Index < i && a.leaves[of.Index].Kind == kindResult && a.leaves[of.Index].Drive == l.Drive {
			results = []int64{of.Index}
		}
		a.ofResult(i, t, of, results, "the destruction")
	}
	if first, open := failed[l.Drive]; open && spoke {
		a.say(a.finding(i, FoundFailureClosed, "%q in entry %d, and the drive was destroyed, as people say here", a.history.told[first].status, first))
		delete(failed, l.Drive)
	}
	a.recordFile(i, l)
}

// recordFile looks for the file of a manifest or a destruction.
func (a *audit) recordFile(i int64, l auditLeaf) {
	if _, filed := a.history.certified[l.hash]; filed {
		return
	}
	f := a.finding(i, FoundRecordMissing, "the file of a %s was not found; its entry is in the log", l.Kind)
	if l.Kind == kindManifest && a.unfinished(l.leaf) == AtWork {
		f.Grade = Note
	}
	a.say(f)
}

// manifests holds each against the results of its job, and says which jobs have none.
func (a *audit) manifests(list []int64, intents, results map[pairOf][]int64, gap bool) {
	first := map[string]int64{}
	for _, i := range list {
		l := a.leaves[i]
		t, spoke := a.history.told[i]
		if at, twice := first[l.Job]; twice && l.Job != "" {
			a.say(a.finding(i, FoundManifestRepeated, "a second manifest of the job; the first is entry %d", at))
		} else {
			first[l.Job] = i
		}
		a.recordFile(i, l)
		if spoke {
			a.accounts(i, *t.manifest, results, gap)
		}
	}
	open, started := map[string]bool{}, map[string]int64{}
	for p, at := range intents {
		open[p.job] = open[p.job] || len(results[p]) == 0
		if have, ok := started[p.job]; !ok || at[0] < have {
			started[p.job] = at[0]
		}
	}
	for _, job := range slices.Sorted(maps.Keys(started)) {
		_, there := first[job]
		beyond := len(a.beyond) > 0 && a.beyond[0].known && a.beyond[0].Kind == kindManifest && a.beyond[0].Job == job
		if there || open[job] || gap || beyond || a.unfinished(leaf{Job: job}) != "" {
			continue
		}
		f := found(FoundManifestMissing, "the job is at its end, and nothing accounts for all drives of the host").at(started[job])
		f.Job = job
		a.say(f)
	}
}

// accounts holds one manifest against the results in the log.
func (a *audit) accounts(i int64, m Manifest, results map[pairOf][]int64, gap bool) {
	contradicts := func(serial, format string, args ...any) {
		f := a.finding(i, FoundManifestMismatch, format, args...)
		f.Serial = serial
		a.say(f)
	}
	in := map[string]bool{}
	for _, d := range m.Drives {
		at := results[pairOf{m.Job, d.ID}]
		in[d.ID] = true
		switch {
		case d.Result == nil && len(at) > 0 && m.Job != "" && d.ID != "":
			contradicts(d.Serial, "the manifest calls the drive %q without a result, and entry %d is one of it", d.Became, at[0])
		case d.Result == nil:
		case d.Result.Index < int64(len(a.leaves)) && !a.leaves[d.Result.Index].known:
		case !slices.Contains(at, d.Result.Index) || a.leaves[d.Result.Index].Envelope != d.Result.SHA256 || d.Result.Index >= i:
			contradicts(d.Serial, "the manifest names entry %d as the drive's result, and that is not so", d.Result.Index)
		default:
			if made, spoke := a.history.told[d.Result.Index]; spoke && made.status != d.Became {
				contradicts(d.Serial, "the manifest calls the drive %q, and its result says %q", d.Became, made.status)
			}
		}
	}
	for p, at := range results {
		if p.job == m.Job && !in[p.drive] && !gap {
			contradicts(a.history.serials[p.drive], "entry %d is a result of the job, and the manifest does not have its drive", at[0])
		}
	}
}

// readCosigned holds what others cosigned against the tree: each file is a witness of what the log was.
func (a *audit) readCosigned() error {
	entries, err := fs.ReadDir(a.in.Log, cosignedDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && a.log == nil {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(cosignedDir, e.Name())
		size, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || strconv.FormatInt(size, 10) != e.Name() {
			continue // what a cut write left
		}
		data, err := readLimited(a.in.Log, name, MaxSize)
		if err != nil {
			return err
		}
		cp, err := openCheckpoint(data, *a.log)
		switch {
		case err != nil || cp.size != size:
			a.say(found(FoundCosignedInvalid, "the cosigned checkpoint is not one of this log and size: %v", err).of(name))
		case cp.size > a.Size:
			a.say(found(FoundRewound, "others cosigned the log when it had %d entries; it has %d: an older one was put in its place", cp.size, a.Size).of(name))
		case a.nodes.complete(cp.size) && a.nodes.root(cp.size) != cp.root:
			a.say(found(FoundForked, "others cosigned another log: its first %d entries were not those that are there", cp.size).of(name))
		}
	}
	return nil
}
