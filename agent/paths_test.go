package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// severalNodes are the profiles of one drive that this host reaches more than once, with the nodes and
// controllers that plan and certificate must name.
var severalNodes = []struct {
	profile            string
	nodes, controllers []string
}{
	{"sas-multipath", []string{"/dev/sda", "/dev/sdb"}, nil},
	{"nvme-multipath", []string{"/dev/nvme0n1"}, []string{"/dev/nvme0", "/dev/nvme1"}},
	{"nvme-two-controllers", []string{"/dev/nvme0n1", "/dev/nvme1n1"}, []string{"/dev/nvme0", "/dev/nvme1"}},
}

// A drive of several nodes is one drive: in the list, by whichever node it is named, in one job that
// holds all of them, and in a certificate that names them.
func TestOneJobForADriveOfSeveralNodes(t *testing.T) {
	for _, x := range severalNodes {
		for _, r := range []sanitize.Request{{Method: sanitize.Purge}, {Method: sanitize.Clear, Technique: sanitize.HostOverwrite}} {
			t.Run(x.profile+" "+string(r.Method), func(t *testing.T) {
				s, _ := erasing(t, virtual.Spec{Profile: x.profile})
				d := s.drive() // which makes sure that there is one
				if d.State != devices.StateReady || !slices.Equal(d.Nodes, x.nodes) || len(d.Paths) != len(x.nodes)-1 || !slices.Equal(d.Controllers, x.controllers) {
					t.Fatalf("%s %q %+v %q %+v", d.State, d.Nodes, d.Paths, d.Controllers, d.Reasons)
				}
				p := s.plan(r, x.nodes[len(x.nodes)-1])
				if len(p.Drives) != 1 || !slices.Equal(p.Drives[0].Nodes, x.nodes) {
					t.Fatalf("%+v %+v", p.Drives, p.Refused)
				}
				named := strings.Join(messages(p.Drives[0].Notes), "\n")
				for _, name := range append(x.nodes[1:], x.controllers...) {
					if !strings.Contains(named, name) {
						t.Errorf("the plan's notes do not name %s: %s", name, named)
					}
				}
				result := s.run(p)
				want(t, result, sanitize.Sanitized, "")
				if n, _ := s.canaries(); n != 0 {
					t.Errorf("%d canaries", n)
				}
				if report := s.verify(result); report.Code != attest.CodeOK || !slices.Equal(report.Result.Device.Nodes, x.nodes) {
					t.Errorf("%d %+v", report.Code, report.Result.Device)
				}
				var selected *devices.SelectError
				if _, err := s.agent.Plan(t.Context(), []string{x.nodes[0], x.nodes[len(x.nodes)-1]}, r); !errors.As(err, &selected) || selected.Reason.Code != "duplicate" {
					t.Errorf("one drive by two nodes: %v", err)
				}
			})
		}
	}
}

// What speaks against one path of a drive speaks against the drive, in the plan and in the run of a
// plan from before: another path is no way around a mount.
func TestAPathInUse(t *testing.T) {
	for _, profile := range []string{"sas-multipath", "nvme-two-controllers"} {
		for name, do := range map[string]func(s *site, node string) func(){
			"mounted": func(s *site, node string) func() {
				if err := s.rack.Use(node, "mounted:/srv"); err != nil {
					s.t.Fatal(err)
				}
				return func() {}
			},
			"held by another program": func(s *site, node string) func() {
				tr, err := s.rack.Opener()(s.t.Context(), node, devices.Exclusive)
				if err != nil {
					s.t.Fatal(err)
				}
				return func() {
					if err := tr.Close(); err != nil {
						s.t.Error(err)
					}
				}
			},
		} {
			t.Run(profile+" "+name, func(t *testing.T) {
				s, _ := erasing(t, virtual.Spec{Profile: profile})
				before, _ := s.canaries()
				request := sanitize.Request{Method: sanitize.Purge}
				late := s.plan(request, "A")
				nodes := s.drive().Nodes
				defer do(s, nodes[1])()
				j, err := s.agent.Start(t.Context(), late, Started{}, Observer{})
				var refused *RefusedError
				if err == nil && j.Drives[0].Outcome != sanitize.RefusedRun || err != nil && !errors.As(err, &refused) {
					t.Errorf("a plan from before ran: %v", err)
				}
				if name == "mounted" {
					s.refuses(request, nodes[0], "mounted")
					if d := s.drive(); d.State != devices.StateInUse {
						t.Errorf("%s", d.State)
					}
				}
				s.untouched(name, before)
			})
		}
	}
}

// Drives that claim one identity, as copies of firmware do, are told from paths of one drive by what
// is on them. Nothing is touched when they differ; when they are alike in everything, the markers of
// one do not show in the other.
func TestTwoDrivesThatClaimToBeOne(t *testing.T) {
	for _, r := range []sanitize.Request{{Method: sanitize.Purge}, {Method: sanitize.Clear, Technique: sanitize.HostOverwrite}} {
		for _, alike := range []bool{false, true} {
			s, _ := erasing(t, virtual.Spec{Profile: "sas-ssd"})
			node, err := s.rack.Add(virtual.Spec{Profile: "sas-ssd", Serial: "A", SameSerial: true, SizeBytes: 4 << 20})
			other := canary
			if !alike {
				other = []byte("SOMEBODY-ELSES-DATA")
			}
			if err == nil {
				err = s.rack.Populate(node, other)
			}
			if err != nil {
				t.Fatal(err)
			}
			if alike {
				p := s.plan(r, "/dev/sda")
				if len(p.Drives) != 1 {
					t.Fatalf("%+v", p.Refused)
				}
				want(t, s.run(p), sanitize.Failed, "does not show in another")
			} else {
				s.refuses(r, "/dev/sda", "paths_differ")
			}
			m, err := s.rack.Medium(node)
			if err != nil {
				t.Fatal(err)
			}
			if n, _, err := m.CountCanary(other); err != nil || n == 0 || len(m.Begun()) > 0 {
				t.Errorf("the other drive: %d canaries, begun %q, %v", n, m.Begun(), err)
			}
		}
	}
}

// Paths below a multipath map belong to the map until it is taken apart.
func TestPathsBelowAMap(t *testing.T) {
	s, _ := erasing(t, virtual.Spec{Profile: "sas-multipath", Mapped: true})
	before, _ := s.canaries()
	s.refuses(sanitize.Request{Method: sanitize.Purge}, "/dev/sdb", "held")
	s.refuses(sanitize.Request{Method: sanitize.Purge}, "/dev/dm-0", "mapped_device")
	drives, err := s.rack.Host(nil).Drives(t.Context())
	if err != nil || len(drives) != 2 {
		t.Fatalf("%+v %v", drives, err)
	}
	for _, d := range drives {
		if d.Nodes[0] == "/dev/sda" && !strings.Contains(d.Reasons[0].Hint, "multipath -f mpath") {
			t.Errorf("%+v", d.Reasons)
		}
	}
	s.untouched("a map", before)
}
