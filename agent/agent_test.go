package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/attesttest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

var canary = []byte("CUSTOMER-DATA-7f3a")

// site is a rack, a state beside it and an agent on both.
type site struct {
	t     *testing.T
	rack  *virtual.Rack
	agent *Agent
	state string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, rack: rack, state: filepath.Join(dir, "state")}
	s.agent = s.reopen(rack.Host(nil))
	return s
}

func (s *site) reopen(h *devices.Host) *Agent {
	s.t.Helper()
	a, err := Open(Options{Host: h, StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// add puts a drive full of customer data into the rack.
func (s *site) add(spec virtual.Spec) {
	s.t.Helper()
	if _, err := s.rack.Add(spec); err != nil {
		s.t.Fatal(err)
	}
	if err := s.rack.Populate(spec.Serial, canary); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) fault(serial, text string) {
	s.t.Helper()
	f, err := virtual.ParseFault(text)
	if err == nil {
		err = s.rack.Fault(serial, f)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) plan(r sanitize.Request, names ...string) sanitize.Plan {
	s.t.Helper()
	p, err := s.agent.Plan(s.t.Context(), names, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *site) run(p sanitize.Plan) DriveResult {
	s.t.Helper()
	j, err := s.agent.Start(s.t.Context(), p, Started{}, Observer{})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.Drives[0]
}

// holds counts what is left of the customer's data where the host can address it.
func holds(t *testing.T, rack *virtual.Rack, serial string) int64 {
	t.Helper()
	m, err := rack.Medium(serial)
	if err != nil {
		t.Fatal(err)
	}
	addressable, hidden, err := m.CountCanary(canary)
	if err != nil {
		t.Fatal(err)
	}
	if hidden == 0 {
		t.Fatal("hidden blocks were reached by a host overwrite: the medium does not tell the truth")
	}
	return addressable
}

// verify checks a drive's certificate as somebody with the public key would.
func (s *site) verify(r DriveResult) attest.Report {
	s.t.Helper()
	data, err := os.ReadFile(r.Certificate)
	if err != nil {
		s.t.Fatal(err)
	}
	attesttest.CheckSchema(s.t, data)
	key, err := s.agent.Key()
	if err != nil {
		s.t.Fatal(err)
	}
	trust, err := attest.ParseTrust(key.PublicPEM())
	if err != nil {
		s.t.Fatal(err)
	}
	return attest.Verify(data, trust).AllowSimulated()
}

const small = 256 << 10

// The main job: whatever the pattern, scheme and verification, no customer data is left where the
// host can address it, and the certificate says what was done and no more.
func TestCleared(t *testing.T) {
	for name, request := range map[string]sanitize.Request{
		"default":        {},
		"zeros, full":    {Pattern: "zero", Verify: sanitize.VerifyFull},
		"three bytes":    {Pattern: "924924", Verify: sanitize.VerifyFull},
		"status only":    {Verify: sanitize.VerifyStatus},
		"DoD 5220.22-M":  {Scheme: "dod"},
		"Gutmann":        {Scheme: "gutmann"},
		"reuse, low":     {Disposition: sanitize.Reuse, Category: sanitize.Low},
		"flash, two":     {Scheme: "nist-800-88r1-flash", Verify: sanitize.VerifyFull},
		"blocks of 4096": {Verify: sanitize.VerifySampled},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			spec := virtual.Spec{Serial: "A", SizeBytes: 4 << 20}
			if name == "blocks of 4096" {
				spec.LogicalBlock, spec.SizeBytes = 4096, 20<<20
			}
			s.add(spec)
			r := s.run(s.plan(request, "A"))
			if r.Outcome != sanitize.Sanitized || r.Err != nil {
				t.Fatalf("outcome %s, reasons %v, error %v", r.Outcome, r.Reasons, r.Err)
			}
			if n := holds(t, s.rack, "A"); n != 0 {
				t.Fatalf("%d canaries are left on a drive called sanitized", n)
			}
			report := s.verify(r)
			if report.Code != attest.CodeOK || report.Result.Outcome.Method != "clear" || report.Result.Scope != "logical" || !report.Result.Simulated {
				t.Fatalf("certificate: code %d %v, %+v", report.Code, report.Reasons, report.Result)
			}
			if want := request.Verify; want == sanitize.VerifyStatus && report.Result.Verification.Result != "none" {
				t.Fatalf("nothing was read back and the certificate says %q", report.Result.Verification.Result)
			}
		})
	}
}

// Everything that a host can notice must keep the certificate from saying sanitized.
func TestNothingFalseIsCertified(t *testing.T) {
	cases := []struct {
		name, fault string
		request     sanitize.Request
		want        sanitize.Outcome
	}{
		{"unwritable blocks", "write-error:100+3", sanitize.Request{}, sanitize.Exceptions},
		{"unwritable last block", "write-error:8191+1", sanitize.Request{Verify: sanitize.VerifyFull}, sanitize.Exceptions},
		{"nothing can be written", "write-error:0+8192", sanitize.Request{}, sanitize.Failed},
		{"all writes are lost", "drop-writes", sanitize.Request{}, sanitize.Unproven},
		{"one write is lost, full", "drop-writes:5000+1", sanitize.Request{Verify: sanitize.VerifyFull}, sanitize.Unproven},
		{"the first write is lost, sampled", "drop-writes:0+1", sanitize.Request{}, sanitize.Unproven},
		{"unreadable block, full", "read-error:4000+1", sanitize.Request{Verify: sanitize.VerifyFull}, sanitize.Exceptions},
		{"unreadable sampled block", "read-error:100+8000", sanitize.Request{}, sanitize.Unproven},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
			s.fault("A", c.fault)
			r := s.run(s.plan(c.request, "A"))
			if r.Outcome != c.want {
				t.Fatalf("outcome %s %v, want %s", r.Outcome, r.Reasons, c.want)
			}
			report := s.verify(r)
			if report.Code != attest.CodeOutcome || report.Result.Outcome.Status != string(c.want) {
				t.Fatalf("certificate: code %d %v", report.Code, report.Reasons)
			}
			if left := holds(t, s.rack, "A"); strings.Contains(c.fault, "write") && left == 0 {
				t.Fatal("the fault did nothing: the test shows nothing")
			}
		})
	}
}

func TestDriveWhosePartitionTableCannotBeReadIsRefused(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	s.fault("A", "read-error:0+1")
	if p := s.plan(sanitize.Request{}, "A"); len(p.Drives) != 0 || len(p.Refused) != 1 {
		t.Fatalf("planned: %+v", p)
	}
}

func TestPulledDriveIsResumedWhenItIsBack(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
	s.fault("A", "pulled:40")
	r := s.run(s.plan(sanitize.Request{}, "A"))
	if r.Outcome != sanitize.Interrupted || r.Certificate != "" || !errors.Is(r.Err, devices.ErrGone) {
		t.Fatalf("outcome %s, certificate %q, error %v", r.Outcome, r.Certificate, r.Err)
	}
	j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.Interrupted {
		t.Fatalf("resumed without the drive: %v, %v", j.Drives, err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	j, err = s.agent.Resume(t.Context(), r.Job, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	r = j.Drives[0]
	if r.Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Fatalf("outcome %s %v, error %v", r.Outcome, r.Reasons, r.Err)
	}
	if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Sanitization.Interruptions == 0 {
		t.Fatalf("certificate: %v, %+v", report.Reasons, report.Result)
	}
}

// A plan is used once; what it binds is checked before it is used.
func TestPlansBind(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	s.add(virtual.Spec{Serial: "B", SizeBytes: small})
	p := s.plan(sanitize.Request{Pattern: "zero"}, "A", "B")

	t.Run("the drive was put to use", func(t *testing.T) {
		m, err := os.OpenFile(filepath.Join(s.rack.Root(), "media/vda.img"), os.O_WRONLY, 0)
		if err == nil {
			_, err = m.WriteAt([]byte("new partition table"), 512)
			err = errors.Join(err, m.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
		if err != nil {
			t.Fatal(err)
		}
		if j.Drives[0].Outcome != sanitize.RefusedRun || j.Drives[0].Certificate != "" || holds(t, s.rack, "A") == 0 {
			t.Fatalf("drive with a changed partition table: %s", j.Drives[0].Outcome)
		}
		if j.Drives[1].Outcome != sanitize.Sanitized {
			t.Fatalf("the other drive: %s %v", j.Drives[1].Outcome, j.Drives[1].Reasons)
		}
	})
	t.Run("run again", func(t *testing.T) {
		if err := s.rack.Populate("B", canary); err != nil {
			t.Fatal(err)
		}
		j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
		if err != nil || j.Drives[1].Outcome != sanitize.Sanitized || j.Drives[1].Certificate == "" {
			t.Fatalf("%v, %v", j.Drives, err)
		}
		if holds(t, s.rack, "B") == 0 {
			t.Fatal("a finished plan touched its drive again")
		}
	})
	t.Run("plan edited to claim more", func(t *testing.T) {
		p := s.plan(sanitize.Request{}, "A")
		p.Drives[0].Method = sanitize.Purge
		_, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
		var refused *RefusedError
		if !errors.As(err, &refused) || holds(t, s.rack, "A") == 0 {
			t.Fatalf("error %v, want a *RefusedError", err)
		}
	})
	t.Run("foreign", func(t *testing.T) {
		p := s.plan(sanitize.Request{}, "A")
		p.Host = "another"
		if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.Is(err, sanitize.ErrPlanForeign) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		p := s.plan(sanitize.Request{}, "A")
		p.Created, p.Expires = p.Created.Add(-25*3600e9), p.Expires.Add(-25*3600e9)
		if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.Is(err, sanitize.ErrPlanExpired) {
			t.Fatalf("error %v", err)
		}
	})
}

func TestUsedDrivesAreRefused(t *testing.T) {
	for use, want := range map[string]devices.State{
		"mounted:/srv": devices.StateInUse, "mounted:/": devices.StateSystem, "swap": devices.StateSystem,
		"holder:dm-0": devices.StateInUse, "partition-mounted:/data": devices.StateInUse, "partition": devices.StateReady,
	} {
		t.Run(use, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Serial: "A", SizeBytes: small})
			late := s.plan(sanitize.Request{}, "A")
			if err := s.rack.Use("A", use); err != nil {
				t.Fatal(err)
			}
			list, err := s.rack.Host(nil).Drives(t.Context())
			if err != nil || len(list) != 1 || list[0].State != want {
				t.Fatalf("listed as %+v, %v; want %s", list, err, want)
			}
			if want == devices.StateReady {
				return
			}
			if p := s.plan(sanitize.Request{}, "A"); len(p.Drives) != 0 || len(p.Refused) != 1 || len(p.Refused[0].Reasons) == 0 {
				t.Fatalf("planned: %+v", p)
			}
			var refused *RefusedError
			if _, err := s.agent.Start(t.Context(), late, Started{}, Observer{}); !errors.As(err, &refused) {
				t.Fatalf("a plan from before the use ran: %v", err)
			}
			if holds(t, s.rack, "A") == 0 {
				t.Fatal("the drive was touched")
			}
		})
	}
}

func TestStateBelongsToOneOwner(t *testing.T) {
	s := newSite(t)
	var wrong *OwnerError
	if _, err := Open(Options{StateDir: s.state, Owner: Owner{Kind: "host"}}); !errors.As(err, &wrong) {
		t.Fatalf("a rack's state was opened for the host: %v", err)
	}
	if _, err := Open(Options{StateDir: s.state, Owner: Owner{"rack", "another"}}); !errors.As(err, &wrong) {
		t.Fatalf("a rack's state was opened for another rack: %v", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{StateDir: other, Owner: Owner{Kind: "host"}}); err == nil {
		t.Fatal("somebody's directory was taken for a state directory")
	}
}

func TestAbandonedJobIsCertifiedAsFailed(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
	s.fault("A", "power-cut:20")
	p := s.plan(sanitize.Request{}, "A")
	r := s.run(p)
	if r.Outcome != sanitize.Interrupted {
		t.Fatalf("outcome %s", r.Outcome)
	}
	if again := s.plan(sanitize.Request{}, "A"); len(again.Drives) != 0 || again.Refused[0].Reasons[0].Code != "unfinished_job" {
		t.Fatalf("a second job was planned on a drive with an unfinished one: %+v", again)
	}
	j, err := s.agent.Abandon(t.Context(), r.Job, "no longer needed")
	if err != nil {
		t.Fatal(err)
	}
	if report := s.verify(j.Drives[0]); report.Code != attest.CodeOutcome || report.Result.Outcome.Status != "failed" {
		t.Fatalf("certificate: %v", report.Reasons)
	}
	if again := s.plan(sanitize.Request{}, "A"); len(again.Drives) != 1 {
		t.Fatalf("after abandoning: %+v", again.Refused)
	}
}

func TestLostCertificateIsReissued(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	r := s.run(s.plan(sanitize.Request{}, "A"))
	before, err := os.ReadFile(r.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.Certificate); err != nil {
		t.Fatal(err)
	}
	// Even without the journal: what is in the log stands.
	if err := os.Remove(s.agent.driveFile(r.Job, r.Drive.ID, journalFile)); err != nil {
		t.Fatal(err)
	}
	name, err := s.agent.Reissue(r.Job, r.Drive.ID)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The same statements, with proofs in the log as it is now: the manifest came after the result.
	var then, now attest.Certificate
	if err := errors.Join(json.Unmarshal(before, &then), json.Unmarshal(after, &now)); err != nil {
		t.Fatal(err)
	}
	if then.Checkpoint == now.Checkpoint {
		t.Error("the proofs are not newer")
	}
	now.Checkpoint, now.Proofs = then.Checkpoint, then.Proofs
	if !reflect.DeepEqual(then, now) {
		t.Errorf("the reissued certificate has other statements")
	}
	if report := attest.Verify(after, attest.Trust{}); report.Result == nil {
		t.Errorf("%v", report.Reasons)
	}
}

func TestStopIsResumable(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 8 << 20})
	s.fault("A", "slow:16000000")
	p := s.plan(sanitize.Request{}, "A")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("asked to stop")
	j, err := s.agent.Start(ctx, p, Started{}, Observer{Begun: func(_ sanitize.DrivePlan, m *sanitize.Meter) {
		go func() {
			for m.Read().Done == 0 {
			}
			cancel(stop)
		}()
	}})
	if err != nil || j.Drives[0].Outcome != sanitize.Interrupted || !errors.Is(j.Drives[0].Err, stop) {
		t.Fatalf("%+v, %v", j.Drives, err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	r := s.run(p) // the same plan again goes on
	if r.Outcome != sanitize.Sanitized || r.Evidence.Interruptions != 1 || holds(t, s.rack, "A") != 0 {
		t.Fatalf("outcome %s %v, %v", r.Outcome, r.Reasons, r.Err)
	}
}

// A drive that is put to use between the last look and the claim is noticed on the claimed drive.
func TestPartitionTableThatChangesAtTheLastMoment(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	s.agent = s.reopen(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		if access == devices.Exclusive {
			m, err := os.OpenFile(filepath.Join(s.rack.Root(), "media/vda.img"), os.O_WRONLY, 0)
			if err == nil {
				_, err = m.WriteAt([]byte("new partition table"), 512)
				err = errors.Join(err, m.Close())
			}
			if err != nil {
				return nil, err
			}
		}
		return s.rack.Opener()(ctx, node, access)
	}, nil))
	r := s.run(p)
	if r.Outcome != sanitize.RefusedRun || r.Evidence.BytesWritten != 0 || holds(t, s.rack, "A") < small/int64(len(canary))-3 {
		t.Fatalf("%s %v", r.Outcome, r.Reasons)
	}
	// Its intent was logged, so its end is too.
	if report := s.verify(r); report.Code != attest.CodeOutcome || report.Result.Outcome.Status != "refused" {
		t.Fatalf("certificate: %d %v", report.Code, report.Reasons)
	}
}

// Many drives share one log; each gets its own certificate, and the log stays one.
func TestManyDrivesAtOnce(t *testing.T) {
	s := newSite(t)
	var names []string
	for n := range 8 {
		names = append(names, fmt.Sprintf("D%d", n))
		s.add(virtual.Spec{Serial: names[n], SizeBytes: small})
	}
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, names...), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	for n, r := range j.Drives {
		if r.Outcome != sanitize.Sanitized || holds(t, s.rack, names[n]) != 0 {
			t.Errorf("%s: %s %v %v", names[n], r.Outcome, r.Reasons, r.Err)
			continue
		}
		if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Device.Serial != names[n] {
			t.Errorf("%s: %v", names[n], report.Reasons)
		}
	}
	if err := s.agent.CheckLog(); err != nil {
		t.Fatal(err)
	}
}

// A drive that is held in a way that no listing shows is refused when it is claimed.
func TestHeldDriveIsRefused(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	held, err := s.rack.Opener()(t.Context(), "/dev/vda", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	r := s.run(p)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Outcome != sanitize.RefusedRun || r.Certificate != "" || r.Err != nil || holds(t, s.rack, "A") == 0 {
		t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
	}
	if again := s.plan(sanitize.Request{}, "A"); len(again.Drives) != 1 {
		t.Fatalf("after it was let go: %v", again.Refused)
	}
}
