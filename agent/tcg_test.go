package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

const ownersPIN = "the owner's own PIN"

// tcgSite has a drive whose owner has that PIN, where it has an owner. pin is what a person gives.
func tcgSite(t *testing.T, profile, pin string, faults ...string) (*site, *clock) {
	t.Helper()
	spec := virtual.Spec{Profile: profile, EraseSeconds: 40}
	if owned(profile) {
		spec.OwnerPIN = ownersPIN
	}
	s, c := erasing(t, spec, faults...)
	if pin == "PSID" {
		label, err := s.rack.Label("A")
		if err != nil {
			t.Fatal(err)
		}
		pin = label.PSID
	}
	s.agent.pin = func(string, sanitize.DrivePlan) (string, error) { return pin, nil }
	return s, c
}

func owned(profile string) bool {
	return slices.Contains([]string{"sata-opal", "nvme-opal-owned", "nvme-opal-lockout", "nvme-pyrite", "sas-enterprise-owned"}, profile)
}

// Each way destroys the keys of every range, and nothing else is taken for it. Which keys the medium says.
func TestTCGErase(t *testing.T) {
	for _, x := range []struct {
		profile string
		way     tcg.Way
		pin     string
		begun   string // what the drive did, for each of its locking objects where it has no revert
	}{
		{"sata-opal-inactive", "", "", "tcg:revert"},
		{"nvme-opal-inactive", "", "", "tcg:revert"},
		{"nvme-opal", "", "", "tcg:revert"},
		{"nvme-ruby", "", "", "tcg:revert"},
		{"sas-enterprise", "", "", "tcg:erase"},
		{"sata-opal", tcg.WayPSIDRevert, "PSID", "tcg:revert"},
		{"sata-opal", tcg.WaySIDRevert, ownersPIN, "tcg:revert"},
		{"sata-opal", tcg.WayRevertSP, ownersPIN, "tcg:revertsp"},
		{"sata-opal", tcg.WayGenKey, ownersPIN, "tcg:genkey"},
		{"nvme-opal-lockout", tcg.WayPSIDRevert, "PSID", "tcg:revert"},
		{"nvme-opal-inactive", tcg.WayRevertSP, "", "tcg:revertsp"},
	} {
		t.Run(x.profile+" "+string(x.way), func(t *testing.T) {
			s, _ := tcgSite(t, x.profile, x.pin)
			r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: x.way, TCGPIN: x.pin != ""}, "A"))
			want(t, r, sanitize.Sanitized, "")
			done := []string{x.begun}
			if x.begun == "tcg:erase" || x.begun == "tcg:genkey" {
				done = nil
				for n := range 9 { // the global one, and eight that the drive has room for
					done = append(done, fmt.Sprintf("%s:%d", x.begun, n))
				}
			}
			if begun := s.begun(); !slices.Equal(begun, done) {
				t.Errorf("begun %q, not %q", begun, done)
			}
			if n, hidden := s.canaries(); n+hidden != 0 {
				t.Errorf("%d canaries, %d hidden", n, hidden)
			}
			report := s.verify(r)
			if report.Code != attest.CodeOK || report.Result.Outcome.Method != "purge" || len(report.Result.Sanitization.RestsOn) < 2 {
				t.Errorf("%d %v %+v", report.Code, report.Reasons, report.Result)
			}
		})
	}
}

// A drive that is locked by a PIN that nobody knows is reverted by the PSID on its label. Nothing can be marked
// before, so that nothing can be shown after: its word alone is taken only where that was asked for.
func TestTCGLocked(t *testing.T) {
	whole(t)
	byPSID := sanitize.Request{Method: sanitize.Purge, TCG: tcg.WayPSIDRevert}
	s, _ := tcgSite(t, "nvme-opal-owned", "PSID")
	s.refuses(sanitize.Request{Method: sanitize.Purge}, "A", devices.ReasonTCGLocked)
	s.refuses(byPSID, "A", "not_provable")
	byPSID.Verify = sanitize.VerifyStatus
	r := s.run(s.plan(byPSID, "A"))
	want(t, r, sanitize.Sanitized, "")
	if n, hidden := s.canaries(); n+hidden != 0 {
		t.Errorf("%d canaries, %d hidden", n, hidden)
	}
	if d := s.drive(); d.State != devices.StateReady || d.TCG.LockingEnabled {
		t.Errorf("%s %+v", d.State, d.Reasons)
	}
	if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Verification.Mode != "status" || !report.Result.Sanitization.BlocksBarred {
		t.Errorf("%d %v", report.Code, report.Reasons)
	}
	// What is free again can be shown to be erased.
	want(t, s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}, "A")), sanitize.Sanitized, "")
}

// What cannot be done by keys is refused for the right reason, and nothing of the drive changes.
func TestTCGRefused(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		profile string
		request sanitize.Request
		code    string
		faults  []string
	}{
		{"nvme-pyrite", sanitize.Request{}, "tcg_pyrite", nil},
		{"nvme-pyrite", sanitize.Request{TCG: tcg.WayPSIDRevert}, "tcg_pyrite", nil},
		{"sata-opal-sid-blocked", sanitize.Request{}, "tcg_sid_blocked", nil},
		{"sata-opal-inactive", sanitize.Request{TCG: tcg.WayPSIDRevert}, "tcg_sp_inactive", nil},
		{"sata-opal", sanitize.Request{}, "tcg_owned", nil},
		{"sata-opal", sanitize.Request{TCG: tcg.WaySIDRevert}, "tcg_owned", nil},
		{"nvme-opal", sanitize.Request{TCG: tcg.WayEnterpriseErase}, "tcg_other_ssc", nil},
		{"nvme-ssd", sanitize.Request{}, "not_supported", nil},
		{"nvme-opal", sanitize.Request{}, "tcg_unread", []string{"tcg-answer:no-discovery"}},
	} {
		t.Run(x.profile+" "+x.code, func(t *testing.T) {
			s, _ := tcgSite(t, x.profile, "PSID", x.faults...)
			before, _ := s.canaries()
			x.request.Method, x.request.Technique = sanitize.Purge, sanitize.TCGRevert
			p := s.plan(x.request, "A")
			if len(p.Refused) != 1 || !slices.ContainsFunc(p.Refused[0].Reasons, func(r devices.Reason) bool { return r.Code == x.code }) {
				t.Errorf("%+v", p.Refused)
			}
			if n, _ := s.canaries(); n != before || len(s.begun()) > 0 {
				t.Errorf("%d canaries, were %d; begun %q", n, before, s.begun())
			}
		})
	}
}

// A wrong PIN, a session that cannot be had and answers that are none end with nothing touched, and never in a
// certificate of success.
func TestTCGNothingBegun(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		profile, pin string
		way          tcg.Way
		faults       []string
		outcome      sanitize.Outcome
		says         string
	}{
		{"sata-opal", "not the PIN", tcg.WaySIDRevert, nil, sanitize.RefusedRun, "does not take the PIN"},
		{"sata-opal", strings.Repeat("0", 32), tcg.WayPSIDRevert, nil, sanitize.RefusedRun, "does not take the PIN"},
		{"nvme-opal-lockout", ownersPIN, tcg.WaySIDRevert, nil, sanitize.Interrupted, "locked out"},
		{"nvme-opal", "", "", []string{"tcg-answer:zero"}, sanitize.Interrupted, ""},
		{"nvme-opal", "", "", []string{"tcg-answer:truncated"}, sanitize.Interrupted, ""},
	} {
		t.Run(x.profile+" "+x.says, func(t *testing.T) {
			s, _ := tcgSite(t, x.profile, x.pin, x.faults...)
			before, _ := s.canaries()
			r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: x.way, TCGPIN: x.pin != ""}, "A"))
			want(t, r, x.outcome, x.says)
			if n, _ := s.canaries(); n != before || len(s.begun()) > 0 {
				t.Errorf("%d canaries, were %d; begun %q", n, before, s.begun())
			}
		})
	}
}

// A drive that reports success and keeps its keys is found out by its markers.
func TestTCGLies(t *testing.T) {
	whole(t)
	for _, profile := range []string{"nvme-opal", "sata-opal-inactive", "sas-enterprise"} {
		for _, lie := range []string{"keep-key", "nothing"} {
			s, _ := tcgSite(t, profile, "", "lie:"+lie)
			r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}, "A"))
			want(t, r, sanitize.Unproven, "")
			if report := s.verify(r); report.Code != attest.CodeOutcome {
				t.Errorf("%s %s: %d", profile, lie, report.Code)
			}
		}
	}
	// The SP is as it was: its own account shows that.
	s, _ := tcgSite(t, "nvme-opal", "", "lie:ignored")
	want(t, s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}, "A")), sanitize.Failed, "no success")
}

// A session that is lost, and a power that fails in the middle of a revert, leave a job that is resumed to the
// right end: the keys are changed, and nothing is certified before that.
func TestTCGInterrupted(t *testing.T) {
	whole(t)
	var faults []string
	for n := 1; n <= 6; n++ {
		faults = append(faults, fmt.Sprintf("session-lost:%d", n))
	}
	for _, fault := range few(append(faults, "revert-power-cut:50", "revert-power-cut:99")) {
		for _, profile := range []string{"nvme-opal", "nvme-opal-inactive", "sas-enterprise"} {
			t.Run(fault+" "+profile, func(t *testing.T) {
				s, _ := tcgSite(t, profile, "", fault)
				p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert}, "A")
				j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
				for n := 0; err == nil && n < 3 && !j.Drives[0].Finished(); n++ {
					if j.Drives[0].Certificate != "" {
						t.Error("an interrupted drive has a certificate")
					}
					if err := s.rack.ClearFaults("A"); err != nil {
						t.Fatal(err)
					}
					j, err = s.agent.Resume(t.Context(), j.ID, Observer{})
				}
				if err != nil {
					t.Fatal(err)
				}
				want(t, j.Drives[0], sanitize.Sanitized, "")
				if n, hidden := s.canaries(); n+hidden != 0 {
					t.Errorf("%d canaries, %d hidden", n, hidden)
				}
			})
		}
	}
}

// where counts the files below a directory that hold a secret; only secrets may.
func where(t *testing.T, dir, secret string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(secret)) {
			if n++; filepath.Base(name) != secretsFile {
				t.Errorf("it is in %s", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a person gave is in the job's secrets while it is needed, and nowhere else.
func TestTCGSecrets(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		way tcg.Way
		pin string
	}{{tcg.WayPSIDRevert, "PSID"}, {tcg.WaySIDRevert, ownersPIN}, {tcg.WaySIDRevert, "a wrong PIN of mine"}} {
		s, _ := tcgSite(t, "sata-opal", x.pin)
		pin, err := s.agent.pin("", sanitize.DrivePlan{})
		if err != nil {
			t.Fatal(err)
		}
		p := s.plan(sanitize.Request{Method: sanitize.Purge, TCG: x.way, TCGPIN: true}, "A")
		used := 0
		s.agent.testOnlyObserve = func(r journal.Record) {
			if r.Kind == "operation_begun" {
				used = where(t, s.state, pin)
			}
		}
		j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%+v %+v %v", j, p, j.Drives[0].Err); strings.Contains(text, pin) {
			t.Error("it is in the result")
		}
		if n := where(t, s.state, pin); n != 0 {
			t.Errorf("when all is over it is in %d files", n)
		}
		if wrong := x.pin == "a wrong PIN of mine"; used != 1 && !wrong {
			t.Errorf("while it was used it was in %d files", used)
		}
	}
	s, _ := tcgSite(t, "sata-opal", "")
	s.agent.pin = nil
	p := s.plan(sanitize.Request{Method: sanitize.Purge, TCG: tcg.WayPSIDRevert}, "A")
	if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); err == nil || !strings.Contains(err.Error(), "PSID is wanted") || s.agent.WasRun(p) {
		t.Errorf("%v", err)
	}
}

// A drive that somebody else reverted, after our own revert was lost on the way, is not called ours: that one may
// have kept the key of the global range, and nothing that is left tells.
func TestTCGRevertedByAnother(t *testing.T) {
	whole(t)
	for _, slow := range []bool{false, true} { // whether data are removed for a while, which is seen
		revertedByAnother(t, slow)
	}
}

func revertedByAnother(t *testing.T, slow bool) {
	for n := 1; ; n++ {
		if n == 20 {
			t.Fatal("no session was lost in a revert")
		}
		s, _ := tcgSite(t, "nvme-opal", "", fmt.Sprintf("session-lost:%d", n))
		j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, Verify: sanitize.VerifyStatus}, "A"), Started{}, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		if r := j.Drives[0]; r.Outcome != sanitize.Interrupted || len(r.Evidence.Operations) == 0 || r.Evidence.Operations[0].Sends == 0 || len(s.begun()) > 0 {
			continue
		}
		if err := s.rack.ClearFaults("A"); err != nil {
			t.Fatal(err)
		}
		revertByHand(t, s, slow)
		if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
			t.Fatal(err)
		}
		if r := j.Drives[0]; r.Outcome == sanitize.Sanitized {
			t.Errorf("%s: %+v", r.Outcome, r.Evidence.Operations)
		}
		return
	}
}

// revertByHand is what another tool does as the owner, whose PIN is the MSID.
func revertByHand(t *testing.T, s *site, slow bool) {
	t.Helper()
	tr, err := s.rack.Opener()(t.Context(), "/dev/nvme0n1", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	door, d, err := devices.OpenTCG(t.Context(), tr, devices.ProtocolNVMe)
	if err != nil {
		t.Fatal(err)
	}
	open := func(as tcg.Authority, pin tcg.Secret) *tcg.Session {
		session, err := tcg.OpenSession(t.Context(), door, d, tcg.AdminSP, as, pin)
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
	anybody := open(tcg.Anybody, tcg.Secret{})
	msid, err := anybody.ReadMSID(t.Context())
	if err = errors.Join(err, anybody.Close(t.Context())); err == nil {
		owner := open(tcg.SID, msid)
		if slow {
			err = owner.SetDataRemoval(t.Context(), 1) // block erase
		}
		err = errors.Join(err, owner.Revert(t.Context(), tcg.AdminSP))
	}
	if err != nil {
		t.Fatal(err)
	}
}
