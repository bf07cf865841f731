package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A drive that two controllers of one host lead to is one drive, with the kernel's multipath and without,
// and is sanitized once.
func TestNVMePaths(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ name, profile, line, nodes string }{
		{"one node above them", "nvme-multipath", "", "/dev/nvme0n1"},
		{"a node of each", "nvme-two-controllers", "nvme_core.multipath=N", "/dev/nvme0n1\n/dev/nvme1n1"},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFabric(t, hardware{line: x.line})
			spec := virtual.Spec{Profile: x.profile, Serial: "PATHS", SizeBytes: 8 << 20}
			first := f.add(t, spec)
			f.g.connect(first)
			second := first.path(t)
			f.g.connectPath(second)
			f.g.until("both paths", func() bool { return f.g.Must("ls", "/dev/nvme*n1") == x.nodes && f.g.Must("ls", "/dev/nvme1") != "" })

			out := f.g.Must("expunge", "--state", "/host/state", "list", "--json")
			var list struct {
				Items []struct {
					Serial      string
					Nodes       []string
					Controllers []string
				}
			}
			answerOf(t, out, &list)
			n := 0
			for _, d := range list.Items {
				if d.Serial == "PATHS" {
					n++
					if len(d.Controllers) != 2 || strings.Join(d.Nodes, "\n") != x.nodes {
						t.Errorf("%+v", d)
					}
				}
			}
			if n != 1 {
				t.Fatalf("%d drives: %s", n, out)
			}
			request := sanitize.Request{Method: sanitize.Purge}
			f.g.Must("expunge", "--state", "/host/state", "plan", "PATHS", "--allow-fabric", "--method", "purge", "-o", "/tmp/plan.json")
			samePlan(t, f.g.Must("cat", "/tmp/plan.json"), spec, request)

			r, s := record(first, nil), record(second, nil)
			d, _, code := f.run(t, "PATHS", "--method", "purge")
			if code != 0 || d.Outcome != "sanitized" {
				said, _ := json.Marshal(d)
				t.Fatalf("exit status %d: %s", code, said)
			}
			m := f.medium(t, "PATHS")
			if begun := m.Begun(); !slices.Equal(begun, []string{"84:00000204", "84:00000002"}) || r.of(nvme.Admin, opSanitize)+s.of(nvme.Admin, opSanitize) != 2 {
				t.Errorf("the drive began %q", begun)
			}
			if blank, err := m.Blank(); err != nil || !blank {
				t.Errorf("the medium is not erased: %v", err)
			}
			certified(t, f.g, d)
		})
	}
}

// When the controller that took the command is lost, the sanitize is not begun again, and is certified once
// that is back. Until then the subsystem has a controller that may be another host's.
func TestNVMePathLost(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	first := f.add(t, virtual.Spec{Profile: "nvme-multipath", Serial: "LOSES", SizeBytes: 1 << 20, EraseSeconds: 10})
	f.g.connect(first, "ctrl_loss_tmo=3")
	second := first.path(t)
	f.g.connectPath(second, "ctrl_loss_tmo=3")
	f.g.until("both paths", func() bool { return f.g.Must("ls", "/dev/nvme1") != "" })
	mean := statusLogs()
	var asked atomic.Int64
	var r, s *recorder
	lose := func(n *nvmeTarget) func(uint16, *nvme.Command) fate {
		return func(queue uint16, c *nvme.Command) fate {
			if mean(queue, c) && asked.Add(1) == 3 {
				n.cut(true)
				return dropped
			}
			return passed
		}
	}
	r, s = record(first, lose(first)), record(second, lose(second))
	d, job, code := f.run(t, "LOSES", "--method", "purge", "--technique", "block")
	t.Logf("exit status %d: %+v", code, d)
	if d.Outcome != "sanitized" {
		if code != 10 || d.Outcome != "interrupted" {
			t.Fatalf("exit status %d: %+v", code, d)
		}
		for _, n := range []*nvmeTarget{first, second} {
			n.mu.Lock()
			away := n.off
			n.mu.Unlock()
			if away {
				n.back()
				f.g.connectPath(n)
			}
		}
		d = f.recovered(t, job)
	}
	m := f.medium(t, "LOSES")
	if begun := m.Begun(); !slices.Equal(begun, []string{"84:00000002"}) || r.of(nvme.Admin, opSanitize)+s.of(nvme.Admin, opSanitize) != 1 {
		t.Errorf("the drive began %q", begun)
	}
	if blank, err := m.Blank(); err != nil || !blank || d.Outcome != "sanitized" {
		t.Errorf("%+v: the medium is not erased: %v", d, err)
	}
	certified(t, f.g, d)
}
