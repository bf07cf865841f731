package agent

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/tcg"
	"github.com/expunge-dev/expunge/sanitize"
)

// losing is a drive of which the answer to one security command is lost, and that may be gone from then on.
type losing struct {
	devices.Transport
	*loss
}

type loss struct {
	count, at int
	goes      bool // after it
	gone      bool
}

// next says how the next security command ends, once it was carried out.
func (l *loss) next() error {
	l.count++
	switch {
	case l.count != l.at:
		return nil
	case l.goes:
		l.gone = true
		return syscall.ENODEV
	}
	return syscall.EIO
}

func (w losing) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if w.gone {
		return nvme.Completion{}, syscall.ENODEV
	}
	done, err := w.Transport.NVMe(ctx, c)
	if err == nil && c.Queue == nvme.Admin && (c.Opcode == 0x81 || c.Opcode == 0x82) {
		err = w.next()
	}
	return done, err
}

func (w losing) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if w.gone {
		return scsi.Result{}, syscall.ENODEV
	}
	r, err := w.Transport.SCSI(ctx, c)
	trusted := c.CDB[0] == 0x85 && c.CDB[14] >= 0x5c && c.CDB[14] <= 0x5f
	if err == nil && (trusted || c.CDB[0] == 0xa2 || c.CDB[0] == 0xb5) {
		err = w.next()
	}
	return r, err
}

// lose has the site's agent work through such a drive.
func (s *site) lose(c *clock, l *loss) {
	pin := s.agent.pin
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		if err != nil || access != devices.Exclusive {
			return tr, err
		}
		return losing{tr, l}, nil
	}, nil), c)
	s.agent.pin = pin
}

// Whichever answer is lost, and whether the drive is gone then or loses its power, too: a job that is resumed ends
// with all keys changed and says so, or says that it cannot be told; and never that nothing was begun.
func TestTCGAnswersLost(t *testing.T) {
	for _, x := range []struct {
		profile string
		way     tcg.Way
		pin     string
	}{{"nvme-opal", "", ""}, {"sata-opal", tcg.WaySIDRevert, ownersPIN}, {"nvme-opal-inactive", tcg.WayRevertSP, ""}} {
		request := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: x.way, TCGPIN: x.pin != "", Verify: sanitize.VerifyStatus}
		s, c := tcgSite(t, x.profile, x.pin)
		all := &loss{}
		s.lose(c, all)
		want(t, s.run(s.plan(request, "A")), sanitize.Sanitized, "")
		for k := 1; k <= all.count; k += 3 + k%3 {
			if testing.Short() && k%17 != 0 {
				continue
			}
			for _, how := range []string{"lost", "gone", "gone and without power"} {
				t.Run(fmt.Sprintf("%s %s %d %s", x.profile, x.way, k, how), func(t *testing.T) {
					t.Parallel()
					s, c := tcgSite(t, x.profile, x.pin)
					p := s.plan(request, "A")
					s.lose(c, &loss{at: k, goes: how != "lost"})
					r := s.run(p)
					for n := 0; n < 4 && !r.Finished(); n++ {
						if how == "gone and without power" && n == 0 {
							if err := s.rack.PowerCycle("A"); err != nil {
								t.Fatal(err)
							}
						}
						s.lose(c, &loss{})
						j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
						if err != nil {
							t.Fatal(err)
						}
						r = j.Drives[0]
					}
					n, hidden := s.canaries()
					switch {
					case r.Outcome == sanitize.Sanitized && n+hidden == 0 && s.verify(r).Code == attest.CodeOK:
					case r.Outcome == sanitize.Unknown && len(s.begun()) == 1:
					case len(s.begun()) == 0 && (r.Outcome == sanitize.RefusedRun || r.Outcome == sanitize.Interrupted && how == "gone and without power"):
						// It was never opened; or the loss of power locked it, and that was not planned.
					default:
						t.Errorf("%s %v %v; %d canaries, %d hidden; begun %q", r.Outcome, r.Reasons, r.Err, n, hidden, s.begun())
					}
					if len(r.Reasons) > 0 && strings.Contains(r.Reasons[0].Message, "nothing was begun") && len(s.begun()) > 0 {
						t.Errorf("%v, and the drive began %q", r.Reasons, s.begun())
					}
				})
			}
		}
	}
}

// A job that has activated a Locking SP has touched the drive, and is given up as such.
func TestTCGAbandonedActivated(t *testing.T) {
	for k := 1; ; k++ {
		s, c := tcgSite(t, "nvme-opal-inactive", "")
		p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, Verify: sanitize.VerifyStatus}, "A")
		s.lose(c, &loss{at: k, goes: true})
		if r := s.run(p); r.Finished() && (r.Outcome != sanitize.RefusedRun || k > 20) {
			t.Fatalf("it ended before it was seen with its SP active: %s", r.Outcome)
		}
		s.lose(c, &loss{})
		if !s.drive().TCG.LockingEnabled || len(s.begun()) > 0 {
			continue
		}
		j, err := s.agent.Abandon(t.Context(), jobName(p), "enough")
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], sanitize.Failed, "Locking SP was activated")
		if report := s.verify(j.Drives[0]); report.Code != attest.CodeOutcome {
			t.Errorf("%d", report.Code)
		}
		return
	}
}
