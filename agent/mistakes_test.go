package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// twisted lets a test change what the drive answers to a command, once the drive has answered.
type twisted struct {
	devices.Transport
	twist func(c *nvme.Command, done *nvme.Completion) error
}

func (w twisted) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	done, err := w.Transport.NVMe(ctx, c)
	if err == nil {
		err = w.twist(c, &done)
	}
	return done, err
}

// twist puts a twist between the site's agent and its drives, those that are held.
func (s *site) twist(c *clock, twist func(*nvme.Command, *nvme.Completion) error) {
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		if err != nil || access != devices.Exclusive {
			return tr, err
		}
		return twisted{tr, twist}, nil
	}, nil), c)
}

// status calls set with the status word and the command of every sanitize status page.
func status(set func(page []byte)) func(*nvme.Command, *nvme.Completion) error {
	return func(c *nvme.Command, _ *nvme.Completion) error {
		if c.Opcode == 0x02 && c.CDW10&0xff == 0x81 {
			set(c.Data)
		}
		return nil
	}
}

func nvmeSite(t *testing.T, list ...string) (*site, *clock) {
	t.Helper()
	s, c := newTimed(t)
	s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 4 << 20, EraseSeconds: 600})
	for _, f := range list {
		s.fault("A", f)
	}
	return s, c
}

func purge() sanitize.Request { return sanitize.Request{Method: sanitize.Purge} }

// begun is what the drive began, by its own account.
func (s *site) begun() []string {
	s.t.Helper()
	m, err := s.rack.Medium("A")
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Begun()
}

func want(t *testing.T, r DriveResult, outcome sanitize.Outcome, reason string) {
	t.Helper()
	words := ""
	for _, x := range r.Reasons {
		words += x.Message
	}
	if r.Outcome != outcome || !strings.Contains(words, reason) {
		t.Errorf("%s: %s; want %s with %q; %v", r.Outcome, words, outcome, reason, r.Err)
	}
}

// A failed sanitize has the progress FFFFh of one that ended: other tools took that for success,
// printed "passed" and exited with 0.
func TestMistakeFailureTakenForSuccess(t *testing.T) {
	s, _ := nvmeSite(t, "sanitize-fail:40")
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Failed, "restricted")
	if report := s.verify(r); report.Code != attest.CodeOutcome || report.Result.Outcome.Method != "" {
		t.Errorf("certificate: %d", report.Code)
	}
	if n := len(s.begun()); n != 1 {
		t.Errorf("%d operations were begun: after a failure nothing is sent by itself", n)
	}
}

// Other tools give up when progress stands still for longer than the drive's own estimate.
func TestMistakeGivingUpOnStuckProgress(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "progress-stuck:40000")
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Sanitized, "")
	if all := strings.Join(r.Evidence.Warnings, "\n"); !strings.Contains(all, "no progress for 2h0m0s") || !strings.Contains(all, "twice the drive's estimate") {
		t.Errorf("warnings: %s", all)
	}
}

// Progress that falls back is said, and waited for.
func TestMistakeProgressGoesOneWay(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "progress-backward:60")
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Sanitized, "")
	if all := strings.Join(r.Evidence.Warnings, "\n"); !strings.Contains(all, "progress fell from") {
		t.Errorf("warnings: %s", all)
	}
}

// A status that says "succeeded, and deallocated although it should not" is a success: others
// called it unknown. What it takes from the proof is said.
func TestMistakeUnexpectedDeallocationIsUnknown(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	s.twist(c, status(func(page []byte) {
		if page[2]&7 == 1 {
			page[2] = page[2]&^7 | 4
		}
	}))
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Sanitized, "")
	if !strings.Contains(strings.Join(r.Evidence.Warnings, "\n"), "deallocated blocks although") {
		t.Errorf("warnings: %v", r.Evidence.Warnings)
	}
	if report := s.verify(r); report.Code != attest.CodeOK {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
	}
}

// "No deallocation" was an option that never reached the drive.
func TestMistakeNoDeallocateIsNotSent(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t)
	p := s.plan(purge(), "A")
	s.run(p)
	if got := s.begun(); len(got) != 2 || got[0] != "84:00000204" || p.Drives[0].Operations[0].Code != 0x204 {
		t.Errorf("the drive began %#x", got)
	}
}

// An answer without the field that tells is the end for other tools, with exit status 0. Here it is
// unknown, and unknown is no success.
func TestMistakeMissingAnswerTakenForSuccess(t *testing.T) {
	whole(t)
	for name, twist := range map[string]func(page []byte){
		"zeros":           func(page []byte) { clear(page) },
		"reserved status": func(page []byte) { page[2] |= 7 },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := nvmeSite(t)
			sent, answers := false, false
			tell := status(func(page []byte) {
				if sent && !answers {
					twist(page)
				}
			})
			s.twist(c, func(cmd *nvme.Command, done *nvme.Completion) error {
				sent = sent || cmd.Opcode == 0x84
				return tell(cmd, done)
			})
			p := s.plan(purge(), "A")
			r := s.run(p)
			want(t, r, sanitize.Interrupted, "has not told for 10m0s how it stands")
			if r.Certificate != "" {
				t.Error("it was certified")
			}
			answers = true
			j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
			if err != nil {
				t.Fatal(err)
			}
			want(t, j.Drives[0], sanitize.Sanitized, "")
			if n := len(s.begun()); n != 2 {
				t.Errorf("%d operations were begun", n)
			}
		})
	}
}

// A success that is missing one of its three marks is none.
func TestMistakeHalfASuccess(t *testing.T) {
	whole(t)
	for name, twist := range map[string]func(page []byte){
		"not our command":    func(page []byte) { binary.LittleEndian.PutUint32(page[4:], 0x3) },
		"global data erased": func(page []byte) { page[3] &^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := nvmeSite(t)
			s.twist(c, status(func(page []byte) {
				if page[2]&7 == 1 {
					twist(page)
				}
			}))
			r := s.run(s.plan(purge(), "A"))
			want(t, r, sanitize.Failed, "shows no success of it")
		})
	}
}

// A drive with an old success in its log, by the very same command, ignores a new one: nobody may
// take the old one for it.
func TestOldSuccessIsNotOurs(t *testing.T) {
	whole(t)
	for _, request := range []sanitize.Request{
		{Method: sanitize.Purge, Technique: sanitize.BlockErase},
		{Method: sanitize.Purge, Technique: sanitize.BlockErase, Verify: sanitize.VerifyStatus},
	} {
		s, _ := nvmeSite(t)
		want(t, s.run(s.plan(request, "A")), sanitize.Sanitized, "")
		if err := s.rack.Populate("A", canary); err != nil { // below the drive: its log still says that all is erased
			t.Fatal(err)
		}
		s.fault("A", "lie:ignored")
		r := s.run(s.plan(request, "A"))
		if request.Verify == sanitize.VerifyStatus {
			// Nothing was written since, so that the log is the same before and after.
			want(t, r, sanitize.Unknown, "nothing tells whether it is of this command")
		} else {
			want(t, r, sanitize.Failed, "shows no success of it")
		}
		if n := len(s.begun()); n != 1 {
			t.Errorf("%d operations", n)
		}
	}
}

// The host stops after it noted that it will send, and before it sends. An old success lies in the
// drive's log. The command must be sent, and only its own success counts.
func TestOldSuccessAfterACrashIsNotOurs(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	request := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}
	want(t, s.run(s.plan(request, "A")), sanitize.Sanitized, "")
	if err := s.rack.Populate("A", canary); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	dead := false
	a := s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		if err != nil || access != devices.Exclusive {
			return tr, err
		}
		return lost{tr, func() { dead = true; stop() }}, nil
	}, nil), c)
	p := s.plan(request, "A")
	j, err := a.Start(ctx, p, Started{}, Observer{})
	if err != nil || !dead {
		t.Fatalf("%v, lost %v", err, dead)
	}
	want(t, j.Drives[0], sanitize.Interrupted, "")
	if len(s.begun()) != 1 {
		t.Fatal("the command arrived")
	}
	c.pass(time.Hour)
	if j, err = s.agent.Resume(t.Context(), jobName(p), Observer{}); err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Sanitized, "")
	if n := len(s.begun()); n != 2 {
		t.Errorf("%d operations: the old success was taken for this one", n)
	}
}

// lost loses a sanitize command on its way to the drive.
type lost struct {
	devices.Transport
	then func()
}

func (l lost) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if c.Opcode == 0x84 {
		l.then()
		return nvme.Completion{}, syscall.EINTR
	}
	return l.Transport.NVMe(ctx, c)
}

// A drive that sanitizes itself by somebody else's order is reported and left alone, and is not
// ours afterwards either.
func TestForeignOperationIsLeftAlone(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	p := s.plan(purge(), "A")
	tr, err := s.rack.Opener()(t.Context(), "/dev/nvme0n1", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	command, err := nvme.Sanitize{SANACT: nvme.BlockErase}.Command()
	if err != nil {
		t.Fatal(err)
	}
	if done, err := tr.NVMe(t.Context(), command); err != nil || done.Err() != nil {
		t.Fatal(err, done.Err())
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &refused) || refused.Drives[0].Reasons[0].Code != devices.ReasonSanitizing {
		t.Fatalf("%v", err)
	}
	other := s.plan(purge(), "A")
	if len(other.Refused) != 1 || other.Refused[0].Reasons[0].Code != devices.ReasonSanitizing {
		t.Fatalf("%+v", other)
	}
	c.pass(time.Hour)
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Sanitized, "")
	if got := s.begun(); len(got) != 3 {
		t.Errorf("%#x", got)
	}
}

// Somebody else's operation begins between two of ours: it is not waited for as if it were ours.
func TestForeignOperationInBetween(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	sends := 0
	s.twist(c, func(cmd *nvme.Command, _ *nvme.Completion) error {
		if cmd.Opcode == 0x84 {
			sends++
		}
		if sends == 1 && cmd.Opcode == 0x02 && cmd.CDW10&0xff == 0x81 && cmd.Data[2]&7 == 2 {
			binary.LittleEndian.PutUint32(cmd.Data[4:], 0x3) // an overwrite that nobody here ordered
		}
		return nil
	})
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Interrupted, "a command that this job did not send")
}

// Somebody else's operation begins after the markers were set and before ours was sent: nothing is
// sent then.
func TestForeignOperationBefore(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	pages := 0
	s.twist(c, func(cmd *nvme.Command, _ *nvme.Completion) error {
		if cmd.Opcode == 0x02 && cmd.CDW10&0xff == 0x81 {
			if pages++; pages >= 4 {
				cmd.Data[2], cmd.Data[3] = 2, 0
				binary.LittleEndian.PutUint32(cmd.Data[4:], 0x204) // the very command that we would send
			}
		}
		return nil
	})
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Interrupted, "a command that this job did not send")
	if n := len(s.begun()); n != 0 {
		t.Errorf("%d operations were begun over somebody else's", n)
	}
}

// Status alone, and a lying drive: nothing can be found out, and the words say that nothing was
// read. That is why it is not the default.
func TestStatusOnlySaysSo(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "lie:nothing")
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Verify: sanitize.VerifyStatus}, "A"))
	want(t, r, sanitize.Sanitized, "")
	report := s.verify(r)
	if v := report.Result.Verification; v.Mode != "status" || v.Result != "none" || v.Markers != nil || v.Bytes != 0 {
		t.Errorf("%+v", v)
	}
}

// An unrestricted failure is failed as much as a restricted one, and the drive can be used again.
func TestUnrestrictedFailure(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "sanitize-fail:40")
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, FailureMode: sanitize.Unrestricted}, "A"))
	want(t, r, sanitize.Failed, "unrestricted")
	if got := s.begun(); len(got) != 1 || got[0] != "84:0000020c" {
		t.Errorf("%#x", got)
	}
}

// After a restricted failure the drive takes nothing but another sanitize: that can be planned,
// although nothing on it can be read or marked, and it is proven by what is read afterwards.
func TestSanitizeAfterAFailure(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "sanitize-fail:40")
	want(t, s.run(s.plan(purge(), "A")), sanitize.Failed, "")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []sanitize.Request{{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, {Method: sanitize.Purge, FailureMode: sanitize.Unrestricted},
		{Method: sanitize.Purge, Technique: sanitize.CryptographicErase}} {
		if p := s.plan(bad, "A"); len(p.Drives) != 0 {
			t.Errorf("%+v was planned for a drive in restricted failure", bad)
		}
	}
	p := s.plan(purge(), "A")
	if len(p.Drives) != 1 || !p.Drives[0].BlocksBarred {
		t.Fatalf("%+v", p)
	}
	r := s.run(p)
	want(t, r, sanitize.Sanitized, "")
	report := s.verify(r)
	if report.Code != attest.CodeOK || report.Result.Verification.Markers != nil || !report.Result.Sanitization.BlocksBarred {
		t.Errorf("%d %v", report.Code, report.Reasons)
	}
	if m, err := s.rack.Medium("A"); err != nil {
		t.Error(err)
	} else if blank, err := m.Blank(); err != nil || !blank {
		t.Errorf("blank %v, %v", blank, err)
	}
}

// An erase that is far faster than the drive's own estimate is said to be.
func TestImplausiblyFast(t *testing.T) {
	whole(t)
	s, c := nvmeSite(t)
	s.twist(c, status(func(page []byte) { binary.LittleEndian.PutUint32(page[12:], 36000) }))
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}, "A"))
	want(t, r, sanitize.Sanitized, "")
	if all := strings.Join(r.Evidence.Warnings, "\n"); !strings.Contains(all, "implausibly fast") {
		t.Errorf("warnings: %s", all)
	}
}

// Two namespaces that are attached are both marked, both held and both read back.
func TestEveryNamespaceIsProven(t *testing.T) {
	whole(t)
	s, c := newTimed(t)
	s.add(virtual.Spec{Profile: "nvme-two-namespaces", Serial: "A", SizeBytes: 4 << 20, AttachAll: true, EraseSeconds: 10})
	p := s.plan(purge(), "A")
	if len(p.Drives) != 1 || p.Drives[0].SizeBytes != 6<<20 || len(p.Drives[0].Nodes) != 2 {
		t.Fatalf("%+v %+v", p.Drives, p.Refused)
	}
	r := s.run(p)
	want(t, r, sanitize.Sanitized, "")
	if v := s.verify(r).Result.Verification; v.Markers.Set < 2000 || v.Bytes < 600<<10 {
		t.Errorf("%+v %+v", v, v.Markers)
	}
	// The second alone is left out of the erase.
	if err := s.rack.Populate("A", canary); err != nil {
		t.Fatal(err)
	}
	s.fault("A", "skip-erase:8192+4096")
	want(t, s.run(s.plan(purge(), "A")), sanitize.Unproven, "marked blocks still hold")
	// The second in use keeps the first from being touched.
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	other, err := s.rack.Opener()(t.Context(), "/dev/nvme0n2", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.begun())
	j, err := s.agent.Start(t.Context(), s.plan(purge(), "A"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.RefusedRun, "")
	if len(s.begun()) != before {
		t.Error("a drive was sanitized while one of its namespaces was held by another")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	_ = c
}

// One drive that fails is the whole job's problem: others logged it and went on.
func TestMistakeOneFailureAmongMany(t *testing.T) {
	whole(t)
	s, _ := nvmeSite(t, "sanitize-fail:40")
	s.add(virtual.Spec{Profile: "sata-hdd", Serial: "B", SizeBytes: 2 << 20})
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{Method: sanitize.Clear}, "A", "B"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]sanitize.Outcome{}
	for _, d := range j.Drives {
		got[d.Drive.Serial] = d.Outcome
	}
	if len(got) != 2 || got["A"] != sanitize.Failed || got["B"] != sanitize.Sanitized {
		t.Errorf("%v", got)
	}
}

// The controller is reset in the middle of every command in turn: its answer is lost, what it did is
// not. Nothing is begun twice, and nothing is lost.
func TestResetInEveryCommand(t *testing.T) {
	whole(t)
	for n := 1; ; n++ {
		s, _ := newTimed(t)
		s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 2 << 20, EraseSeconds: 20})
		s.fault("A", fmt.Sprintf("reset:%d", n))
		r := s.run(s.plan(purge(), "A"))
		want(t, r, sanitize.Sanitized, "")
		if got := s.begun(); len(got) != 2 {
			t.Fatalf("reset in command %d: %#x", n, got)
		}
		list, err := s.rack.Drives()
		if err != nil {
			t.Fatal(err)
		}
		if len(list[0].Faults) > 0 { // it did not happen any more
			if n < 60 {
				t.Errorf("a whole run has %d commands only", n)
			}
			return
		}
	}
}

// A drive that rejects "no deallocation" is not told so, and is purged all the same: the markers are
// gone after both steps together.
func TestNoDeallocationInhibited(t *testing.T) {
	whole(t)
	s, _ := newTimed(t)
	s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 4 << 20, NoDeallocateInhibited: true})
	r := s.run(s.plan(purge(), "A"))
	want(t, r, sanitize.Sanitized, "")
	if got := s.begun(); len(got) != 2 || got[0] != "84:00000004" || got[1] != "84:00000002" {
		t.Errorf("%#x", got)
	}
	if report := s.verify(r); report.Code != attest.CodeOK {
		t.Errorf("%d %v", report.Code, report.Reasons)
	}
}
