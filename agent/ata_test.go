package agent

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// erasing is a site with one drive of a profile.
func erasing(t *testing.T, spec virtual.Spec, faults ...string) (*site, *clock) {
	t.Helper()
	s, c := newTimed(t)
	spec.Serial = "A"
	if spec.SizeBytes == 0 {
		spec.SizeBytes = 4 << 20
	}
	s.add(spec)
	for _, f := range faults {
		s.fault("A", f)
	}
	return s, c
}

func (s *site) medium() *virtual.Medium {
	s.t.Helper()
	m, err := s.rack.Medium("A")
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// drive is what the host says of the only drive.
func (s *site) drive() devices.Drive {
	s.t.Helper()
	list, err := s.rack.Host(nil).Drives(s.t.Context())
	if err != nil || len(list) != 1 {
		s.t.Fatalf("%d drives, %v", len(list), err)
	}
	return list[0]
}

// canaries counts what is left of the customer's data.
func (s *site) canaries() (addressable, hidden int64) {
	s.t.Helper()
	addressable, hidden, err := s.medium().CountCanary(canary)
	if err != nil {
		s.t.Fatal(err)
	}
	return addressable, hidden
}

var securityErase = sanitize.Request{Method: sanitize.Clear, Technique: sanitize.SecurityErase}

// Power fails in the middle of a security erase: the drive comes back locked by the job's password.
// It is recognised, nobody else may plan for it, and recover brings it to its end.
func TestLockedByAnEraseThatWasCutOff(t *testing.T) {
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd", EraseSeconds: 600}, "sanitize-power-cut:50")
	r := s.run(s.plan(securityErase, "A"))
	want(t, r, sanitize.Interrupted, "")
	if d := s.drive(); !s.medium().Locked() || d.State != devices.StateBlocked || d.Reasons[0].Code != devices.ReasonLocked {
		t.Fatalf("%s %+v", d.State, d.Reasons)
	}
	if p := s.plan(securityErase, "A"); len(p.Refused) != 1 || p.Refused[0].Reasons[0].Code != "unfinished_job" {
		t.Fatalf("%+v", p.Refused)
	}
	jobs, left, err := s.agent.Recover(t.Context(), Observer{})
	if err != nil || len(jobs) != 1 || len(left) != 0 {
		t.Fatalf("%d jobs, %+v, %v", len(jobs), left, err)
	}
	want(t, jobs[0].Drives[0], sanitize.Sanitized, "")
	if n, _ := s.canaries(); n != 0 || s.medium().Locked() {
		t.Errorf("%d canaries, locked %v", n, s.medium().Locked())
	}
	if report := s.verify(jobs[0].Drives[0]); report.Code != attest.CodeOK {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
	}
}

// Whoever gives such a job up gets the drive back unlocked, and a certificate of the failure. While
// the drive cannot be reached the job says where the password is.
func TestAbandonTakesThePasswordOff(t *testing.T) {
	whole(t)
	for _, attached := range []bool{true, false} {
		s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd"}, "sanitize-power-cut:50")
		r := s.run(s.plan(securityErase, "A"))
		want(t, r, sanitize.Interrupted, "")
		if !attached {
			s.fault("A", "pulled:1")
			_, _ = s.rack.Host(nil).Open(t.Context(), s.drive(), devices.OpenOptions{Ours: true}) // it is gone then
		}
		j, err := s.agent.Abandon(t.Context(), r.Job, "no time")
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], sanitize.Failed, "abandoned")
		if s.medium().Locked() == attached {
			t.Errorf("attached %v: locked %v", attached, s.medium().Locked())
		}
		if says := strings.Contains(j.Drives[0].Reasons[0].Message, "may be locked"); says == attached {
			t.Errorf("attached %v: %+v", attached, j.Drives[0].Reasons)
		}
		if report := s.verify(j.Drives[0]); report.Code != attest.CodeOutcome {
			t.Errorf("certificate: %d %v", report.Code, report.Reasons)
		}
	}
}

// A security erase that the drive fails, or does not take, leaves no password behind.
func TestFailedSecurityEraseLeavesNoPassword(t *testing.T) {
	whole(t)
	for _, fault := range []string{"sanitize-fail:40", "refuse:set-password", "refuse:erase-prepare", "refuse:erase-unit"} {
		for _, spec := range []virtual.Spec{{Profile: "sata-hdd"}, {Profile: "sata-hdd", FilterSecurity: true}} {
			s, _ := erasing(t, spec, fault)
			r := s.run(s.plan(securityErase, "A"))
			want(t, r, sanitize.Failed, "")
			if s.medium().Locked() {
				t.Errorf("%s on %+v: it has a password", fault, spec)
			}
			if report := s.verify(r); report.Code != attest.CodeOutcome {
				t.Errorf("%s: certificate: %d %v", fault, report.Code, report.Reasons)
			}
		}
	}
}

// Where the translation does not pass security commands, its own security protocol carries them.
func TestSecurityProtocol(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd", FilterSecurity: true})
	want(t, s.run(s.plan(securityErase, "A")), sanitize.Sanitized, "")
	if n, _ := s.canaries(); n != 0 || s.medium().Locked() {
		t.Errorf("%d canaries, locked %v", n, s.medium().Locked())
	}
}

// The password of an erase is in the job's secrets, readable by the owner alone, and nowhere else.
func TestPasswordsAreNowhereElse(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd"}, "sanitize-fail:40")
	r := s.run(s.plan(securityErase, "A"))
	name := s.agent.driveFile(r.Job, r.Drive.ID, secretsFile)
	secrets, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(secrets), `"passwords":{"1":"`)
	if !found || len(rest) < 32 {
		t.Fatal("no password in the secrets")
	}
	password := []byte(rest[:32])
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	err = filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == name {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, password) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.Reasons[0].Message, string(password)) {
		t.Error("the password is in a reason")
	}
}

// Blocks that are hidden from the host are made accessible and erased with the rest, for good; where
// the drive needs its power cycled for that, the job says so and waits.
func TestHiddenAreas(t *testing.T) {
	whole(t)
	overwrite := sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}
	for _, spec := range []virtual.Spec{
		{Profile: "sata-hdd", HPABytes: 1 << 20}, {Profile: "sata-hdd", DCOBytes: 1 << 20}, {Profile: "sata-ssd", AMABytes: 1 << 20},
		{Profile: "sata-hdd", HPABytes: 1 << 20, DCOBytes: 1 << 20},
	} {
		for _, later := range []bool{false, true} {
			spec.SizeAfterPowerCycle = later
			s, _ := erasing(t, spec)
			p := s.plan(overwrite, "A")
			if len(p.Drives) != 1 || len(p.Drives[0].Restore) == 0 {
				t.Fatalf("%+v: %+v %+v", spec, p.Drives, p.Refused)
			}
			r := s.run(p)
			cycles := 0
			for ; !r.Finished() && cycles < 4; cycles++ {
				if len(r.Reasons) == 0 || r.Reasons[0].Code != ReasonPowerCycle || r.Reasons[0].Hint == "" {
					t.Fatalf("%+v: %s %+v", spec, r.Outcome, r.Reasons)
				}
				if n, _ := s.canaries(); n == 0 {
					t.Fatalf("%+v: it was erased before it was whole", spec)
				}
				if err := s.rack.PowerCycle("A"); err != nil {
					t.Fatal(err)
				}
				j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
				if err != nil {
					t.Fatal(err)
				}
				r = j.Drives[0]
			}
			want(t, r, sanitize.Sanitized, "")
			if (cycles > 0) != later {
				t.Errorf("%+v: %d power cycles", spec, cycles)
			}
			if n, _ := s.canaries(); n != 0 {
				t.Errorf("%+v: %d canaries", spec, n)
			}
			report := s.verify(r)
			if report.Code != attest.CodeOK || report.Result.Device.SizeBytes != 4<<20 || len(report.Result.Sanitization.Reshaped) != len(p.Drives[0].Restore) {
				t.Errorf("%+v: certificate: %d %v", spec, report.Code, report.Reasons)
			}
			if d := s.drive(); d.SizeBytes != 4<<20 || len(d.Hidden) != 0 {
				t.Errorf("%+v: the host sees %d bytes, hidden %+v", spec, d.SizeBytes, d.Hidden)
			}
		}
	}
}

// A drive that never takes the change stays interrupted, and is not overwritten in part.
func TestHiddenAreaThatStays(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd", HPABytes: 1 << 20}, "refuse:set-max")
	r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A"))
	want(t, r, sanitize.Interrupted, "host protected area")
	before, _ := s.canaries()
	j, err := s.agent.Abandon(t.Context(), r.Job, "it cannot be made accessible")
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Failed, "")
	if after, _ := s.canaries(); after != before || before == 0 {
		t.Errorf("%d canaries, were %d", after, before)
	}
}

// A password that its owner knows is taken off a drive; a wrong one is refused, and nothing else is.
func TestTakePasswordOff(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd-locked"})
	_, err := s.agent.TakePasswordOff(t.Context(), "A", [32]byte{'x'}, false)
	if err == nil || !s.medium().Locked() {
		t.Fatalf("%v, locked %v", err, s.medium().Locked())
	}
	for range 6 {
		_, err = s.agent.TakePasswordOff(t.Context(), "A", [32]byte{'x'}, false)
	}
	if !errors.Is(err, devices.ErrPowerCycle) {
		t.Errorf("after many wrong passwords: %v", err)
	}
	if d := s.drive(); !slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == devices.ReasonCountExpired }) {
		t.Errorf("%+v", d.Reasons)
	}
	s, _ = erasing(t, virtual.Spec{Profile: "sata-hdd"})
	if _, err := s.agent.TakePasswordOff(t.Context(), "A", [32]byte{'x'}, false); !errors.Is(err, ErrNoPassword) {
		t.Errorf("%v", err)
	}
}

// An older success of an ATA drive lies in its registers for ever. A drive that ignores the command
// shows it again, and it is not taken for the new one.
func TestOldATASuccessIsNotOurs(t *testing.T) {
	whole(t)
	for _, mode := range []sanitize.VerifyMode{sanitize.VerifySampled, sanitize.VerifyStatus} {
		s, c := erasing(t, virtual.Spec{Profile: "sata-ssd", EraseSeconds: 60})
		block := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase, Verify: mode}
		want(t, s.run(s.plan(block, "A")), sanitize.Sanitized, "")
		if err := s.rack.Populate("A", canary); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Hour)
		s.fault("A", "lie:ignored")
		r := s.run(s.plan(block, "A"))
		if r.Outcome == sanitize.Sanitized {
			t.Errorf("%s: an old success is taken for a new one", mode)
		}
		if n, _ := s.canaries(); n == 0 {
			t.Errorf("%s: nothing is left to be wrong about", mode)
		}
	}
}

// A drive that failed to overwrite itself takes nothing but another sanitize, also no try of the way to it: the next plan gets it clean.
func TestSanitizeAfterOneThatFailed(t *testing.T) {
	whole(t)
	for _, profile := range []string{"sata-hdd", "sata-ssd", "sas-hdd", "nvme-hdd"} {
		s, _ := erasing(t, virtual.Spec{Profile: profile}, "sanitize-fail:50")
		overwrite := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite}
		if profile == "sata-ssd" {
			overwrite.Technique = sanitize.BlockErase
		}
		want(t, s.run(s.plan(overwrite, "A")), sanitize.Failed, "")
		if err := s.rack.ClearFaults("A"); err != nil {
			t.Fatal(err)
		}
		r := s.run(s.plan(overwrite, "A"))
		if n, _ := s.canaries(); r.Outcome != sanitize.Sanitized || n != 0 {
			t.Errorf("%s: %s %+v, %v; %d canaries", profile, r.Outcome, r.Reasons, r.Err, n)
		}
		if report := s.verify(r); report.Code != attest.CodeOK {
			t.Errorf("%s: certificate: %d %v", profile, report.Code, report.Reasons)
		}
	}
}
