package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/attesttest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// validatorKey makes the key of somebody who has none of the state's.
func validatorKey(t *testing.T) *attest.Key {
	t.Helper()
	name := filepath.Join(t.TempDir(), "validator.pem")
	if err := attest.CreateKeyFile(name, attest.P256); err != nil {
		t.Fatal(err)
	}
	key, err := attest.LoadKeyFile(name, attest.RoleValidator)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *site) report(file string, validators ...*attest.Key) attest.Report {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := s.agent.Key()
	if err != nil {
		s.t.Fatal(err)
	}
	pem := key.PublicPEM()
	for _, v := range validators {
		pem = append(pem, v.PublicPEM()...)
	}
	trust, err := attest.ParseTrust(pem)
	if err != nil {
		s.t.Fatal(err)
	}
	return attest.Verify(data, trust).AllowSimulated()
}

func (s *site) manifestOf(file string) attest.Manifest {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	attesttest.CheckRecord(s.t, data, "manifest")
	r := attest.Verify(data, attest.Trust{})
	if r.Manifest == nil {
		s.t.Fatalf("%v", r.Reasons)
	}
	return *r.Manifest
}

func became(m attest.Manifest) string {
	var list []string
	for _, d := range m.Drives {
		list = append(list, d.Serial+" "+d.Became)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// A drive that kept its data is never certified as clean, whatever is said of it.
func TestNothingSaidCleansADrive(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "LIAR", SizeBytes: small})
	s.fault("LIAR", "drop-writes")
	r := s.run(s.plan(sanitize.Request{}, "LIAR"))
	if holds(t, s.rack, "LIAR") == 0 || r.Outcome != sanitize.Unproven {
		t.Fatalf("%s: the test is about a drive that holds data", r.Outcome)
	}
	key := validatorKey(t)
	report := s.report(r.Certificate)
	judgement := attest.Judgement{Decision: attest.Accept, By: attest.Person{Name: "A. Auditor"}, Reason: "I want it so"}
	_, err := s.agent.Validate(r.Job, r.Drive.ID, *report.Result, judgement, key, nil)
	if refused := (*attest.RecordError)(nil); !errors.As(err, &refused) || refused.Code != "not_sanitized" {
		t.Errorf("%v", err)
	}
	judgement.Decision = attest.Escalate
	if _, err := s.agent.Validate(r.Job, r.Drive.ID, *report.Result, judgement, key, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.agent.Supersede(r.Job, r.Drive.ID, attest.Correction{Reason: "r", Given: &attest.Given{Notes: "PURGED verified"}}); err != nil {
		t.Fatal(err)
	}
	s.fault("LIAR", "pulled:1") // it must be gone to be destroyed
	d := attest.Destruction{Device: attest.Name(r.Drive.Model, "LIAR", r.Drive.WWN), Media: "hdd", Technique: "shred", Operator: attest.Person{Name: "O"}, Witness: attest.Person{Name: "W"},
		Place: "hall", When: "2026-01-02T03:04:05Z", Photos: []attest.Photo{}}
	_, err = s.agent.RecordDestruction(t.Context(), d)
	if refused := (*attest.RecordError)(nil); !errors.As(err, &refused) || refused.Code != "attached" {
		t.Errorf("a drive that is attached was destroyed: %v", err)
	}
	if got := s.report(r.Certificate, key); got.Code != attest.CodeOutcome || len(got.Validations) != 1 || len(got.Supersessions) != 1 {
		t.Errorf("%d %v", got.Code, got.Reasons)
	}
	data, err := os.ReadFile(r.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	attesttest.CheckSchema(t, data)
	if again := s.agent.result(r.Job, r.Drive); again.Outcome != sanitize.Unproven || again.Certificate == "" {
		t.Errorf("the certificate with records is not the job's any more: %s %v", again.Outcome, again.Err)
	}
}

// A process may end between a job's end and its manifest: the next one makes it, of a job that has ended and that nobody is at work on.
func TestManifestsThatWereNotMade(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "ENDED", SizeBytes: small})
	s.add(virtual.Spec{Serial: "CUT", SizeBytes: small})
	ended, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "ENDED"), Started{}, Observer{})
	if err != nil || ended.Manifest == "" {
		t.Fatal(err, ended)
	}
	was, err := os.ReadFile(ended.Manifest)
	if err == nil {
		err = os.Remove(ended.Manifest)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cut, err := s.agent.Start(ctx, s.plan(sanitize.Request{}, "CUT"), Started{}, Observer{Begun: func(sanitize.DrivePlan, *sanitize.Meter) { cancel() }})
	if err != nil || cut.Drives[0].Finished() {
		t.Fatal(err, cut)
	}
	lock, err := s.agent.lockJob(ended.ID)
	if err == nil {
		err = errors.Join(s.agent.AccountLeft(t.Context()), lock.Unlock())
	}
	if err != nil || s.agent.ManifestOf(ended.ID) != "" {
		t.Errorf("somebody is at work on the job: %v, %q", err, s.agent.ManifestOf(ended.ID))
	}
	if err := s.agent.AccountLeft(t.Context()); err != nil {
		t.Error(err)
	}
	signed := func(data []byte) string { return attest.Verify(data, attest.Trust{}).RecordSHA256() }
	if now, err := os.ReadFile(ended.Manifest); err != nil || signed(now) != signed(was) || signed(was) == "" {
		t.Errorf("what was signed is not made again: %v", err)
	}
	file := s.agent.JournalOf(ended.ID, ended.Drives[0].Drive)
	data, err := os.ReadFile(file)
	if err == nil {
		data[len(data)/3] ^= 1
		err = errors.Join(os.WriteFile(file, data, 0o600), os.Remove(ended.Manifest), s.agent.AccountLeft(t.Context()))
	}
	if err != nil || s.agent.ManifestOf(ended.ID) != "" {
		t.Errorf("a damaged journal: %v, %q", err, s.agent.ManifestOf(ended.ID))
	}
	if name := s.agent.ManifestOf(cut.ID); name != "" {
		t.Errorf("a job that has no end has %s", name)
	}
}

// Of a job there is a manifest at its end and not before, and every drive of the host is in it.
func TestManifestAccountsForEveryDrive(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C"} {
		s.add(virtual.Spec{Serial: serial, SizeBytes: small})
	}
	s.fault("B", "drop-writes")
	ctx, stop := context.WithCancel(t.Context())
	s.agent.testOnlyObserve = func(r journal.Record) {
		if r.Kind == "pass_begun" {
			stop()
		}
	}
	p := s.plan(sanitize.Request{}, "A", "B")
	j, err := s.agent.Start(ctx, p, Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	s.agent.testOnlyObserve = nil
	unfinished := slices.ContainsFunc(j.Drives, func(r DriveResult) bool { return !r.Finished() })
	if !unfinished || j.Manifest != "" || j.ManifestErr != nil {
		t.Errorf("unfinished %v, manifest %q, %v", unfinished, j.Manifest, j.ManifestErr)
	}
	if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil || j.ManifestErr != nil {
		t.Fatal(err, j.ManifestErr)
	}
	if got := became(s.manifestOf(j.Manifest)); got != "A sanitized, B unproven, C not selected" {
		t.Errorf("%s", got)
	}
	if r := s.report(j.Manifest); r.Code != attest.CodeOutcome || len(r.Reasons) != 1 {
		t.Errorf("%d %v", r.Code, r.Reasons)
	}
	before, err := os.ReadFile(j.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(j.Manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := s.agent.ReissueManifest(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(j.Manifest)
	if err != nil || string(after) != string(before) {
		t.Errorf("%v: another manifest", err)
	}
	if j, err = s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "A"), Started{}, Observer{}); err != nil || s.report(j.Manifest).Code != attest.CodeOK {
		t.Errorf("%v: %+v", err, s.report(j.Manifest).Reasons)
	}
}

// What cannot be written at a job's end is said, and made later.
func TestManifestThatCannotBeKept(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	s.agent.testOnlyObserve = func(r journal.Record) {
		if err := os.MkdirAll(filepath.Join(s.agent.jobDir(jobName(p)), manifestFile, "x"), 0o700); err != nil {
			t.Error(err)
		}
	}
	j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
	if err != nil || j.ManifestErr == nil || j.Manifest != "" || j.Drives[0].Outcome != sanitize.Sanitized {
		t.Fatalf("%v: %v %q", err, j.ManifestErr, j.Manifest)
	}
	if err := os.RemoveAll(filepath.Join(s.agent.jobDir(j.ID), manifestFile)); err != nil {
		t.Fatal(err)
	}
	name, err := s.agent.ReissueManifest(t.Context(), j.ID)
	if err != nil || became(s.manifestOf(name)) != "A sanitized" {
		t.Error(err)
	}
}

// A process that was killed between signing what it refused and filing that leaves an entry without its file. The next one files it.
func TestRecordThatWasNeverFiledIsFiled(t *testing.T) {
	for _, again := range []func(s *site) error{
		func(s *site) error {
			_, err := s.agent.Refused(t.Context(), s.plan(sanitize.Request{Pattern: "one"}, "A"), nil)
			return err
		},
		func(s *site) error {
			_, _, err := s.agent.Recover(t.Context(), Observer{})
			return err
		},
	} {
		s := newSite(t)
		s.add(virtual.Spec{Serial: "A", SizeBytes: small})
		if err := s.rack.Use("A", "mounted:/srv"); err != nil {
			t.Fatal(err)
		}
		name, err := s.agent.Refused(t.Context(), s.plan(sanitize.Request{}, "A"), nil)
		if err == nil {
			err = os.Remove(name)
		}
		if err == nil {
			err = again(s)
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(name); err != nil || !attest.Verify(data, attest.Trust{}).IsRecord() {
			t.Errorf("it is not filed again: %v", err)
		}
	}
}

// A plan of another host is signed for by that host alone, and one that is refused here is accounted for.
func TestRefusedPlanIsAccountedFor(t *testing.T) {
	s, other := newSite(t), newSite(t)
	for _, x := range []*site{s, other} {
		x.add(virtual.Spec{Serial: "A", SizeBytes: small})
		if err := x.rack.Use("A", "mounted:/srv"); err != nil {
			t.Fatal(err)
		}
	}
	p := s.plan(sanitize.Request{}, "A")
	if len(p.Drives) != 0 {
		t.Fatal("the test is about a drive that is refused")
	}
	if _, err := other.agent.Refused(t.Context(), p, nil); !errors.Is(err, sanitize.ErrPlanForeign) {
		t.Errorf("%v", err)
	}
	name, err := s.agent.Refused(t.Context(), p, nil)
	if err != nil || became(s.manifestOf(name)) != "A refused" || s.report(name).Code != attest.CodeOutcome {
		t.Errorf("%v %+v", err, s.report(name).Reasons)
	}
	if _, err := os.Stat(s.agent.jobDir(jobName(p))); err == nil {
		t.Error("a job was begun")
	}
}

func TestPolicyOfValidation(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	r := s.run(s.plan(sanitize.Request{Verify: sanitize.VerifyStatus}, "A"))
	result := *s.report(r.Certificate).Result
	site := func(text string) sanitize.Policy {
		p, err := sanitize.ParsePolicy([]byte("policy: site\nbase: nist-800-88r2\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	high := func(r attest.Result) attest.Result {
		r.Category, r.Disposition = "high", "reuse"
		return r
	}
	for _, c := range []struct {
		policy sanitize.Policy
		result attest.Result
		want   string
	}{
		{site(""), result, ""},
		{site(""), high(result), "want purge"},
		{site("verify: {clear: full}\n"), result, "verification full"},
		{site("media: [hdd]\n"), result, "does not cover"},
		{site("rules:\n  - forbid: [host-overwrite]\n"), result, "forbidden"},
	} {
		got := strings.Join(below(c.policy, c.result), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	strict := site("verify: {clear: full}\n")
	_, err := s.agent.Validate(r.Job, r.Drive.ID, result, attest.Judgement{Decision: attest.Accept, By: attest.Person{Name: "A"}}, validatorKey(t), &strict)
	if refused := (*attest.RecordError)(nil); !errors.As(err, &refused) || refused.Code != "policy" {
		t.Errorf("%v", err)
	}
	if got := s.report(r.Certificate); len(got.Validations) != 0 {
		t.Error("what was refused is in the certificate")
	}
}
