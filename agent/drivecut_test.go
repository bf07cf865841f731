package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// moment is what lies on disk when the host stops, and when that was.
type moment struct {
	name string
	dir  string
	now  time.Time
}

// moments stops the host, in thought, wherever it is told to: it copies everything that survives.
type moments struct {
	t    *testing.T
	s    *site
	c    *clock
	dir  string
	list []moment
}

func (m *moments) cut(what string) string {
	name := fmt.Sprintf("%03d-%s", len(m.list)+1, what)
	dir := filepath.Join(m.dir, name)
	for from, to := range map[string]string{m.s.rack.Root(): "rack", m.s.state: "state"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			m.t.Fatal(err)
		}
	}
	// A copy through fs.FS does not keep modes, and the agent refuses a key that others can read.
	if err := os.Chmod(filepath.Join(dir, "state", keysDir, "simulation.pem"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.list = append(m.list, moment{name, dir, m.c.Now()})
	return dir
}

// cutting stops before and after every command that changes or asks for what the drive does by
// itself, and before every write and flush.
type cutting struct {
	devices.Transport
	m *moments
}

func (c cutting) NVMe(ctx context.Context, cmd *nvme.Command) (nvme.Completion, error) {
	what := map[uint8]string{0x02: "log", 0x84: "sanitize"}[cmd.Opcode]
	if what != "" {
		c.m.cut("before-" + what)
	}
	done, err := c.Transport.NVMe(ctx, cmd)
	if what == "sanitize" {
		c.m.cut("after-" + what)
	}
	return done, err
}

func (c cutting) Queue(depth int) (blockio.Queue, error) {
	q, err := c.Transport.Queue(depth)
	n := 0
	return watchedQueue{q, func(op blockio.Op) {
		// One write of many is as good as another.
		if n++; op == blockio.Flush || op == blockio.Write && n%500 == 1 {
			c.m.cut(op.String())
		}
	}}, err
}

// The host stops before and after every command and every append to the journal, and in the middle
// of every append, while the drive goes on by itself. From each moment, at once or when the drive
// has long ended, the job is resumed to the right end: nothing is begun twice, and no success is
// taken for ours that is not.
func TestDriveGoesOnWhenTheHostStops(t *testing.T) {
	for _, technique := range []sanitize.Technique{sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase} {
		t.Run(strings.ReplaceAll(string(technique), " ", "-"), func(t *testing.T) {
			s, c := newTimed(t)
			s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 2 << 20, HiddenBytes: 4096, EraseSeconds: 40})
			p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: technique}, "A")
			m := &moments{t: t, s: s, c: c, dir: t.TempDir()}
			a := s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
				tr, err := s.rack.Opener()(ctx, node, access)
				if err != nil || access != devices.Exclusive {
					return tr, err
				}
				return cutting{tr, m}, nil
			}, nil), c)
			a.testOnlyObserve = func(r journal.Record) {
				m.cut("after-" + r.Kind)
				dir := m.cut("in-" + r.Kind)
				name := filepath.Join(dir, "state", jobsDir, jobName(p), string(p.Drives[0].ID), journalFile)
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				line := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
				if err := os.WriteFile(name, data[:line+(len(data)-line)/2], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := a.Run(t.Context(), p, Observer{}); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, o := range p.Drives[0].Operations {
				want = append(want, fmt.Sprintf("84:%08x", o.Code))
			}
			if len(m.list) < 40*len(want) {
				t.Fatalf("only %d moments were seen", len(m.list))
			}
			for _, at := range m.list {
				t.Run(at.name, func(t *testing.T) {
					t.Parallel()
					dirs := []string{at.dir, at.dir + "-later"}
					if err := os.CopyFS(dirs[1], os.DirFS(at.dir)); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(filepath.Join(dirs[1], "state", keysDir, "simulation.pem"), 0o600); err != nil {
						t.Fatal(err)
					}
					resumeDrive(t, dirs[0], at.now, p, want)
					resumeDrive(t, dirs[1], at.now.Add(20*time.Hour), p, want)
				})
			}
		})
	}
}

func resumeDrive(t *testing.T, dir string, now time.Time, p sanitize.Plan, want []string) {
	rack, err := virtual.Open(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: now}
	rack.Clock = c.Now
	s := &site{t: t, rack: rack, state: filepath.Join(dir, "state")}
	s.agent = s.timed(rack.Host(nil), c)
	before, err := s.agent.Job(jobName(p))
	if err != nil {
		t.Fatal(err)
	}
	if d := before.Drives[0]; d.Outcome != sanitize.Interrupted && d.Outcome != sanitize.Sanitized {
		t.Fatalf("after the cut: %s %v", d.Outcome, d.Reasons)
	}
	job, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	r := job.Drives[0]
	if r.Outcome != sanitize.Sanitized || r.Err != nil {
		t.Fatalf("resumed to %s %v, %v", r.Outcome, r.Reasons, r.Err)
	}
	m, err := rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Begun(), want) {
		t.Errorf("the drive began %q, planned were %q", m.Begun(), want)
	}
	if a, h, err := m.CountCanary(canary); err != nil || a+h != 0 {
		t.Errorf("%d canaries, %d hidden, %v", a, h, err)
	}
	if report := s.verify(r); report.Code != attest.CodeOK {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
	}
}
