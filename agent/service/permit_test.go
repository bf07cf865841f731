package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/sanitize"
)

// Who has not the role gets nothing, and that is recorded; what is not the plan that was seen is not started.
func TestNothingIsStartedThatWasNotMeant(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(nil)
	reader := as(t.Context(), "uid:9", api.Read)
	_, err := x.Plan(reader, api.PlanRequest{Drives: []string{"A"}})
	wantCode(t, err, "forbidden")
	_, err = x.Drives(t.Context())
	wantCode(t, err, "forbidden")
	_, err = x.Plan(s.ctx, api.PlanRequest{})
	wantCode(t, err, "empty")
	_, err = x.Plan(s.ctx, api.PlanRequest{Drives: []string{"A", "A"}})
	wantCode(t, err, "duplicate")
	p := s.plan(x, sanitize.Request{}, "A")
	_, err = x.Start(reader, starting(p))
	wantCode(t, err, "forbidden")
	for code, change := range map[string]func(*api.StartRequest){
		"not_found":      func(r *api.StartRequest) { r.PlanID = strings.Repeat("0", 32) },
		"digest_differs": func(r *api.StartRequest) { r.PlanDigest = r.PlanDigest[:12] },
		"expect_drives":  func(r *api.StartRequest) { r.ExpectDrives = 2 },
	} {
		r := starting(p)
		change(&r)
		_, err := x.Start(s.ctx, r)
		wantCode(t, err, code)
	}
	_, err = x.Start(s.ctx, api.StartRequest{PlanID: "../../etc/passwd"})
	wantCode(t, err, "not_found")
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{Method: sanitize.Purge}, "A"))) // it has no drive
	wantCode(t, err, "refused")
	if s.holds("A") == 0 || s.holds("B") == 0 {
		t.Fatal("something was touched")
	}
	codes := map[string]bool{}
	for _, a := range s.actions() {
		if a.Decision == refused {
			codes[a.Code] = true
		}
	}
	for _, want := range []string{"forbidden", "empty", "duplicate", "not_found", "digest_differs", "expect_drives"} {
		if !codes[want] {
			t.Errorf("%s was not recorded", want)
		}
	}
}

// What no id looks like is not there, whatever the file system says of such a name, and nobody learns where the state is.
func TestIDsOfNothing(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	for _, id := range []string{"j-\x00", "j-", "j-..", "j-" + strings.Repeat("0", 300), "j-000000000000\n", "..", "j-0/0", "j-\xff", "j-ABCDEF000000", "", strings.Repeat("\x00", 32)} {
		for name, ask := range map[string]func() error{
			"job":         func() error { _, err := x.Job(s.ctx, id); return err },
			"cancel":      func() error { _, err := x.Cancel(s.ctx, id); return err },
			"resume":      func() error { _, err := x.Resume(s.ctx, id, api.ResumeRequest{}); return err },
			"abandon":     func() error { _, err := x.Abandon(s.ctx, id, api.AbandonRequest{Why: "lost"}); return err },
			"certificate": func() error { _, err := x.Certificate(s.ctx, id, "d"); return err },
			"plan":        func() error { _, err := x.Planned(s.ctx, id); return err },
			"approve":     func() error { _, err := x.Approve(s.ctx, id, attest.Envelope{}); return err },
			"start":       func() error { _, err := x.Start(s.ctx, api.StartRequest{PlanID: id}); return err },
			"events": func() error {
				for _, err := range x.Events(s.ctx, id, "") {
					return err
				}
				return nil
			},
		} {
			err := ask()
			if err == nil || api.ProblemOf(err).Code != "not_found" || api.ProblemOf(err).Status != 404 || strings.Contains(err.Error(), s.state) {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
		if _, err := x.Locate(s.ctx, id, api.LocateRequest{}); err == nil || api.ProblemOf(err).Status >= 500 || strings.Contains(err.Error(), s.state) {
			t.Errorf("locate %q: %v", id, err)
		}
	}
}

// A plan whose drive was mounted, re-partitioned or swapped since is refused when it is started.
func TestDriveThatChangedSinceThePlan(t *testing.T) {
	for name, change := range map[string]func(*site){
		"mounted":        func(s *site) { _ = s.rack.Use("A", "mounted:/srv") },
		"re-partitioned": func(s *site) { s.scribble("A", 512) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", small)
			x := s.serve(nil)
			p := s.plan(x, sanitize.Request{}, "A")
			change(s)
			_, err := x.Start(s.ctx, starting(p))
			wantCode(t, err, "refused")
			if reasons := api.ProblemOf(err).Reasons; len(reasons) == 0 {
				t.Error("no reason is told")
			}
			if s.holds("A") == 0 {
				t.Error("it was touched")
			}
		})
	}
}

func (s *site) scribble(serial string, at int64) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.rack.Root(), "media", "*.img"))
	if err != nil || len(files) != 1 {
		s.t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("another table"), at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Two jobs race for one drive: one has it, the other is refused, and the drive is written once.
func TestTwoJobsRaceForOneDrive(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	x := s.serve(nil)
	plans := []api.Plan{s.plan(x, sanitize.Request{}, "A"), s.plan(x, sanitize.Request{Pattern: "zero"}, "A")}
	results := make([]error, len(plans))
	var wait sync.WaitGroup
	for i, p := range plans {
		wait.Go(func() { _, results[i] = x.Start(s.ctx, starting(p)) })
	}
	wait.Wait()
	began := 0
	for i, err := range results {
		if err == nil {
			began++
			s.follow(x, agent.JobOf(plans[i].Plan), "")
		}
	}
	jobs, err := x.Jobs(s.ctx)
	if err != nil || began != len(jobs) || began == 0 {
		t.Fatalf("%d began, %d jobs, %v, %v", began, len(jobs), results, err)
	}
	for _, j := range jobs {
		if j.ExitStatus != api.ExitOK {
			t.Errorf("%+v", j)
		}
	}
}

// Caps refuse; they keep nobody waiting, and a restart does not reset them.
func TestCaps(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C", "D"} {
		s.drive(serial, "", small)
	}
	caps := func(c Caps) func(*Options) { return func(o *Options) { o.Caps = c } }
	x := s.serve(caps(Caps{DrivesPerJob: 1}))
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A", "B")))
	wantCode(t, err, "cap_drives")
	s.close(x)
	x = s.serve(caps(Caps{ShareOfHost: 25}))
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A", "B")))
	wantCode(t, err, "cap_share")
	s.close(x)
	x = s.serve(caps(Caps{JobsPerHour: 1}))
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.follow(x, j.ID, "")
	p := s.plan(x, sanitize.Request{}, "B")
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "cap_jobs")
	s.close(x)
	// A clock that was set forward frees nothing that this process counted, and one that was set back neither.
	x = s.serve(func(o *Options) {
		o.Caps.JobsPerHour = 1
		o.Now = func() time.Time { return time.Now().Add(-30 * time.Minute) }
	})
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "B")))
	wantCode(t, err, "cap_jobs")
	if s.holds("B") == 0 {
		t.Error("B was touched")
	}
}

// approver makes somebody's key.
func approver(t *testing.T, name string, principals ...string) (Approver, *attest.Key) {
	t.Helper()
	text, err := attest.NewPrivatePEM(attest.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivatePEM(name, text, "approver")
	if err != nil {
		t.Fatal(err)
	}
	return Approver{name, key.Public, principals}, key
}

func approval(p api.Plan, now time.Time) attest.Approval {
	return attest.Approval{By: attest.Person{Name: "Somebody"}, Drives: len(p.Drives), PlanID: p.ID, PlanSHA256: p.Digest, Simulated: p.Simulated,
		Time: attest.Time{Claimed: now.UTC().Format(time.RFC3339), Source: "host clock"}, Expires: now.Add(time.Hour).UTC().Format(time.RFC3339)}
}

// A plan that needs approvals is started with as many, of different people, for this very plan, and not by whoever asked.
func TestApprovals(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	ann, annKey := approver(t, "Ann", "uid:0")
	bob, bobKey := approver(t, "Bob", "uid:5")
	cyd, cydKey := approver(t, "Cyd")
	_, strangerKey := approver(t, "Stranger")
	x := s.serve(func(o *Options) { o.Approvers, o.Required = []Approver{ann, bob, cyd}, 2 })
	p := s.plan(x, sanitize.Request{}, "A")
	other := s.plan(x, sanitize.Request{}, "B")
	now := time.Now()
	sign := func(key *attest.Key, a attest.Approval) attest.Envelope {
		t.Helper()
		e, err := attest.SignApproval(a, key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	forged := sign(bobKey, approval(p, now))
	forged.Signatures = sign(strangerKey, approval(p, now)).Signatures
	forged.Signatures[0].KeyID = bobKey.ID
	wrong := approval(p, now)
	wrong.Drives = 2
	for _, bad := range []struct {
		code string
		e    attest.Envelope
	}{
		{"approval_own", sign(annKey, approval(p, now))},
		{"approval_unknown", sign(strangerKey, approval(p, now))},
		{"approval_invalid", forged},
		{"approval_invalid", attest.Envelope{}},
		{"approval_foreign", sign(bobKey, approval(other, now))},
		{"approval_foreign", sign(bobKey, wrong)},
		{"approval_expired", sign(bobKey, approval(p, now.Add(-2*time.Hour)))},
		{"approval_expired", sign(bobKey, approval(p, now.Add(3*time.Hour)))},
	} {
		_, err := x.Approve(s.ctx, p.ID, bad.e)
		wantCode(t, err, bad.code)
	}
	_, err := x.Approve(as(t.Context(), "uid:7", api.Read, api.Operate), p.ID, sign(bobKey, approval(p, now)))
	wantCode(t, err, "forbidden")
	for range 2 { // the same person twice is one
		if p, err = x.Approve(s.ctx, p.ID, sign(bobKey, approval(p, now))); err != nil || len(p.Approvals) != 1 {
			t.Fatalf("%+v, %v", p.Approvals, err)
		}
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "approval_required")
	if p, err = x.Approve(s.ctx, p.ID, sign(cydKey, approval(p, now))); err != nil {
		t.Fatal(err)
	}
	// Bob's approval does not let Bob himself begin.
	_, err = x.Start(as(t.Context(), "uid:5", api.Roles...), starting(p))
	wantCode(t, err, "approval_required")
	if s.holds("A") == 0 {
		t.Fatal("it was touched")
	}
	j := s.start(x, p)
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
		t.Fatalf("%+v", end)
	}
	by, err := x.Agent.StartedBy(j.ID)
	if err != nil || len(by.Approvals) != 2 {
		t.Errorf("%d approvals are kept with the job, %v", len(by.Approvals), err)
	}
	// They expire while nobody starts.
	s.close(x)
	late := s.serve(func(o *Options) {
		o.Approvers, o.Required = []Approver{ann, bob, cyd}, 1
		o.Now = func() time.Time { return time.Now().Add(90 * time.Minute) }
	})
	data, err := keptApproval{By: "uid:0", Envelope: sign(bobKey, approval(other, now))}.encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(s.state, plansDir, other.ID, "approval-00.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = late.Start(s.ctx, starting(other))
	wantCode(t, err, "approval_required")
}
