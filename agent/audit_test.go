package agent

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

var byCrypto = sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptographicErase}

// idle makes sure that the drive waits for nobody: it takes a write.
func (s *site) idle() {
	s.t.Helper()
	if d := s.drive(); d.State != devices.StateReady || d.Sanitize.State != devices.SanitizeIdle {
		s.t.Errorf("%s %+v", d.State, d.Reasons)
	}
}

// What is read back in media verification are the media, and not what unmapped blocks read as; and
// the drive is told to go on when all of it was read.
func TestMediaVerification(t *testing.T) {
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-verify"})
	var order []string
	s.agent.testOnlyObserve = func(r journal.Record) { order = append(order, r.Kind) }
	p := s.plan(byCrypto, "A")
	r := s.run(p)
	want(t, r, sanitize.Sanitized, "")
	at := func(kind string) int { return slices.Index(order, kind) }
	if at("verify_done") < 0 || at("verify_done") > at("media_verified") || at("media_verified") > at("operation_ended") {
		t.Errorf("%q", order)
	}
	if v := r.Evidence.Verification; v.Zeros != 0 || v.Ones != 0 || v.Samples == 0 || len(r.Evidence.Warnings) > 0 {
		t.Errorf("%d blocks of zeros among %d samples, which are of blocks that were unmapped; warnings %q", v.Zeros, v.Samples, r.Evidence.Warnings)
	}
	if report := s.verify(r); report.Code != attest.CodeOK || !strings.Contains(report.Result.Sanitization.Operations[0].Because, "media verification") {
		t.Errorf("%d %+v", report.Code, report.Result.Sanitization.Operations)
	}
	s.idle()

	s, _ = erasing(t, virtual.Spec{Profile: "nvme-verify"})
	for technique, codes := range map[sanitize.Technique][]string{
		sanitize.CryptoThenBlock: {"84:00000204", "84:00000402"}, sanitize.BlockErase: {"84:00000402"}, sanitize.CryptographicErase: {"84:00000404"},
	} {
		r := sanitize.Request{Method: sanitize.Purge, Technique: technique}
		var got []string
		for _, o := range s.plan(r, "A").Drives[0].Operations {
			got = append(got, begunAs(o))
		}
		if !slices.Equal(got, codes) {
			t.Errorf("%s: %q", technique, got)
		}
		r.Verify = sanitize.VerifyStatus
		if o := s.plan(r, "A").Drives[0].Operations; o[len(o)-1].Code&(1<<10) != 0 {
			t.Errorf("%s, and nothing is read back: %q", technique, o[len(o)-1].Command)
		}
	}
}

// An agent that stops in media verification leaves the drive there; the job goes on from it. A loss
// of power ends it, and then it is said that less was seen.
func TestStoppedInMediaVerification(t *testing.T) {
	whole(t)
	for _, cut := range []string{"markers_read", "extents_read", "verify_done", "media_verified"} {
		for _, power := range []bool{false, true} {
			t.Run(cut, func(t *testing.T) {
				s, _ := erasing(t, virtual.Spec{Profile: "nvme-verify"})
				ctx, stop := context.WithCancel(t.Context())
				read := false // all of it, so that the drive was told to go on
				s.agent.testOnlyObserve = func(r journal.Record) {
					read = read || r.Kind == "media_verified"
					if r.Kind == cut {
						stop()
					}
				}
				j, err := s.agent.Start(ctx, s.plan(byCrypto, "A"), Started{}, Observer{})
				if err != nil {
					t.Fatal(err)
				}
				s.agent.testOnlyObserve = nil
				result := j.Drives[0]
				if result.Outcome == sanitize.Interrupted {
					if !read {
						if d := s.drive(); d.State != devices.StateBlocked || !strings.Contains(d.Reasons[0].Message, "media verification") {
							t.Errorf("%s %+v", d.State, d.Reasons)
						}
						s.refuses(byCrypto, "A", "unfinished_job")
					}
					if power {
						if err := s.rack.PowerCycle("A"); err != nil {
							t.Fatal(err)
						}
					}
					if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
						t.Fatal(err)
					}
					result = j.Drives[0]
				}
				want(t, result, sanitize.Sanitized, "")
				warned := strings.Contains(strings.Join(result.Evidence.Warnings, "\n"), "unmapped")
				if warned != (power && !read) {
					t.Errorf("warnings %q", result.Evidence.Warnings)
				}
				if n, _ := s.canaries(); n != 0 || len(s.begun()) != 1 {
					t.Errorf("%d canaries, begun %q", n, s.begun())
				}
				s.idle()
			})
		}
	}
}

// deaf loses the commands that a drive is told to leave media verification by.
type deaf struct{ devices.Transport }

func (d deaf) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if c.Opcode == 0x84 && c.CDW10 == 5 {
		return nvme.Completion{}, nil
	}
	return d.Transport.NVMe(ctx, c)
}

// resetting is a drive that was reset, and has left its media verification by that.
type resetting struct {
	devices.Transport
	now   func() bool // whether it is to be
	tells bool        // by SSTAT bit 9
	reset *bool
}

func (w resetting) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	status := c.Opcode == 0x02 && c.CDW10&0xff == 0x81
	if status && !*w.reset && w.now() {
		*w.reset = true
		if done, err := w.Transport.NVMe(ctx, &nvme.Command{Opcode: 0x84, CDW10: 5}); err != nil || done.Err() != nil {
			return done, err
		}
	}
	done, err := w.Transport.NVMe(ctx, c)
	if status && *w.reset && w.tells && err == nil {
		c.Data[3] |= 1 << 1
	}
	return done, err
}

// A drive that was reset when all had been read, and before it was told to go on, may have been reset
// before the last of it was: nobody knows which reads were of media, so that all are done again.
func TestResetAfterMediaVerification(t *testing.T) {
	whole(t)
	for _, tells := range []bool{true, false} {
		s, c := erasing(t, virtual.Spec{Profile: "nvme-verify"})
		read, reset := false, false
		s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
			tr, err := s.rack.Opener()(ctx, node, access)
			return resetting{tr, func() bool { return read }, tells, &reset}, err
		}, nil), c)
		s.agent.testOnlyObserve = func(r journal.Record) { read = read || r.Kind == "verify_done" }
		r := s.run(s.plan(byCrypto, "A"))
		if !reset {
			t.Fatal("it was not reset")
		}
		want(t, r, sanitize.Sanitized, "")
		if o := r.Evidence.Operations[0]; strings.Contains(o.Because, "media verification") || !strings.Contains(strings.Join(r.Evidence.Warnings, "\n"), "unmapped") {
			t.Errorf("SSTAT tells: %v: %q, warnings %q", tells, o.Because, r.Evidence.Warnings)
		}
		if n, _ := s.canaries(); n != 0 || len(s.begun()) != 1 {
			t.Errorf("%d canaries, begun %q", n, s.begun())
		}
	}
}

// A drive that stays in media verification was not brought to the end, whatever was read there.
func TestAMediaVerificationThatDoesNotEnd(t *testing.T) {
	whole(t)
	s, c := erasing(t, virtual.Spec{Profile: "nvme-verify"})
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return deaf{tr}, err
	}, nil), c)
	r := s.run(s.plan(byCrypto, "A"))
	want(t, r, sanitize.Failed, "is still in it")
	if report := s.verify(r); report.Code != attest.CodeOutcome {
		t.Errorf("%d", report.Code)
	}
}

// What a lie leaves is seen in media verification, and the drive is not left there.
func TestALieInMediaVerification(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-verify"}, "lie:nothing")
	want(t, s.run(s.plan(byCrypto, "A")), sanitize.Unproven, "still hold")
	s.idle()
}

// A drive that waits in media verification by another's command is left alone.
func TestForeignMediaVerification(t *testing.T) {
	whole(t)
	s, c := erasing(t, virtual.Spec{Profile: "nvme-verify"})
	late := s.plan(byCrypto, "A")
	tr, err := s.rack.Opener()(t.Context(), "/dev/nvme0n1", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := tr.NVMe(t.Context(), &nvme.Command{Opcode: 0x84, CDW10: 0x402}); err != nil || done.Err() != nil {
		t.Fatal(err, done.Err())
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	c.pass(1000e9)
	s.refuses(byCrypto, "A", devices.ReasonSanitizing)
	if j, err := s.agent.Start(t.Context(), late, Started{}, Observer{}); err == nil && j.Drives[0].Outcome != sanitize.RefusedRun {
		t.Errorf("%+v", j.Drives[0])
	}
	if begun := s.begun(); len(begun) != 1 {
		t.Errorf("begun %q", begun)
	}
}

// Media verification shows more of what an erase left, and never less: blocks that were left out are
// found without a marker in them.
func TestBlocksLeftOutInMediaVerification(t *testing.T) {
	whole(t)
	for _, technique := range []sanitize.Technique{sanitize.BlockErase, sanitize.CryptoThenBlock} {
		s, _ := erasing(t, virtual.Spec{Profile: "nvme-verify", SizeBytes: 32 << 20}, "skip-erase:20777+1")
		p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: technique, Verify: sanitize.VerifyFull}, "A")
		if leaves := p.Drives[0].Leaves; leaves != devices.ReadsConstant {
			t.Errorf("%s leaves %q", technique, leaves)
		}
		want(t, s.run(p), sanitize.Unproven, "")
		s.idle()
	}
}

// A drive that was reset while it was read had unmapped the blocks by the end: they are read again, and it
// is not said that the media were.
func TestResetInMediaVerification(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-verify"})
	reset := false
	s.agent.testOnlyObserve = func(r journal.Record) {
		if r.Kind == "extents_read" && !reset {
			reset = true
			if err := s.rack.PowerCycle("A"); err != nil {
				t.Error(err)
			}
		}
	}
	j, err := s.agent.Start(t.Context(), s.plan(byCrypto, "A"), Started{}, Observer{})
	if err != nil || !reset {
		t.Fatal(err, reset)
	}
	s.agent.testOnlyObserve = nil
	if j.Drives[0].Outcome == sanitize.Interrupted {
		if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
			t.Fatal(err)
		}
	}
	r := j.Drives[0]
	want(t, r, sanitize.Sanitized, "")
	if o := r.Evidence.Operations[0]; strings.Contains(o.Because, "media verification") || !strings.Contains(strings.Join(r.Evidence.Warnings, "\n"), "unmapped") {
		t.Errorf("%q, warnings %q", o.Because, r.Evidence.Warnings)
	}
}
