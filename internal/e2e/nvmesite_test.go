package e2e

import (
	"encoding/json"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// fabric is a rack whose NVMe drives a guest reaches over a fabric.
type fabric struct {
	t    *testing.T
	rack *virtual.Rack
	disk string
	g    *Guest
}

// newFabric makes a rack and boots a guest.
func newFabric(t *testing.T, m hardware) *fabric {
	t.Helper()
	need(t, "kernel")
	rack, err := virtual.Create(t.TempDir() + "/rack")
	if err != nil {
		t.Fatal(err)
	}
	m.disk = newDisk(t)
	return &fabric{t, rack, m.disk, startQEMU(t, m)}
}

// in is the same for a part of a test.
func (f *fabric) in(t *testing.T) *fabric { return &fabric{t, f.rack, f.disk, f.g.in(t)} }

// addTo puts a drive full of customer data into a rack, with a fault if one is named.
func addTo(t *testing.T, rack *virtual.Rack, spec virtual.Spec, fault string) {
	t.Helper()
	_, err := rack.Add(spec)
	if err == nil {
		err = rack.Populate(spec.Serial, canary)
	}
	if err == nil && fault != "" {
		var f virtual.Fault
		if f, err = virtual.ParseFault(fault); err == nil {
			err = rack.Fault(spec.Serial, f)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// add puts such a drive into the rack, and serves it.
func (f *fabric) add(t *testing.T, spec virtual.Spec, faults ...string) *nvmeTarget {
	t.Helper()
	addTo(t, f.rack, spec, strings.Join(faults, ""))
	return f.serve(t, spec.Serial)
}

// serve has guests reach a drive of the rack.
func (f *fabric) serve(t *testing.T, serial string) *nvmeTarget {
	t.Helper()
	return newNVMeTarget(t, serial, func() (map[uint32]devices.Transport, error) {
		list, err := f.rack.Drives()
		if err != nil {
			return nil, err
		}
		units := map[uint32]devices.Transport{}
		for _, i := range list {
			for _, s := range i.Spaces {
				if i.Spec.Serial != serial || s.Node == "" || s.Path > 0 {
					continue
				}
				if units[s.NSID], err = f.rack.Opener()(t.Context(), s.Node, devices.Exclusive); err != nil {
					return nil, err
				}
			}
		}
		return units, nil
	})
}

// medium is the truth about a drive.
func (f *fabric) medium(t *testing.T, serial string) *virtual.Medium {
	t.Helper()
	m, err := f.rack.Medium(serial)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// left counts what is left of the customer's data.
func left(t *testing.T, m *virtual.Medium) (addressable, hidden int64) {
	t.Helper()
	addressable, hidden, err := m.CountCanary(canary)
	if err != nil {
		t.Fatal(err)
	}
	return addressable, hidden
}

// done is what run and recover say of a drive.
type done struct {
	Serial      string   `json:"serial"`
	Outcome     string   `json:"outcome"`
	Method      string   `json:"method"`
	Technique   string   `json:"technique"`
	Certificate string   `json:"certificate"`
	Attempts    int      `json:"attempts"`
	Reasons     []string `json:"-"`
}

// answerOf reads the JSON document of a verb.
func answerOf(t *testing.T, out string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// run has the guest sanitize a drive, and returns what is said of it.
func (f *fabric) run(t *testing.T, serial string, args ...string) (d done, job string, code int) {
	t.Helper()
	out, code := f.g.Run(append([]string{"expunge", "--state", "/host/state", "run", serial, "--allow-fabric", "--confirm", serial, "--json"}, args...)...)
	var r struct {
		Result struct {
			Job    string `json:"job"`
			Drives []done `json:"drives"`
		} `json:"result"`
	}
	answerOf(t, out, &r)
	if len(r.Result.Drives) != 1 {
		t.Fatalf("exit status %d: %s", code, out)
	}
	return r.Result.Drives[0], r.Result.Job, code
}

// recovered has the guest recover the only job there is, by its name if that is known, and returns what is said
// of its only drive.
func (f *fabric) recovered(t *testing.T, job string) done {
	t.Helper()
	out, code := f.g.Run("expunge", "--state", "/host/state", "recover", "--json")
	var r struct {
		Result struct {
			Jobs []struct {
				Job    string `json:"job"`
				Drives []done `json:"drives"`
			} `json:"jobs"`
		} `json:"result"`
	}
	answerOf(t, out, &r)
	if code != 0 || len(r.Result.Jobs) != 1 || len(r.Result.Jobs[0].Drives) != 1 || job != "" && r.Result.Jobs[0].Job != job {
		t.Fatalf("recover, exit status %d: %s", code, out)
	}
	return r.Result.Jobs[0].Drives[0]
}

// certified checks a drive's certificate as somebody with the issuer's key does, outside of the guest and
// in it, and returns the kinds of records in its journal.
func certified(t *testing.T, g *Guest, d done) (attest.Result, []string) {
	t.Helper()
	if d.Certificate == "" {
		t.Fatalf("no certificate: %+v", d)
	}
	trust, err := attest.ParseTrust([]byte(g.Must("expunge", "--state", "/host/state", "key")))
	if err != nil {
		t.Fatal(err)
	}
	report := attest.Verify([]byte(g.Must("cat", d.Certificate)), trust)
	if report.Code != attest.CodeOK || report.Simulated || report.Result == nil {
		t.Fatalf("certificate of %s: %d %v", d.Serial, report.Code, report.Reasons)
	}
	if out, code := g.Run("expunge", "--state", "/host/state", "verify", d.Certificate); code != 0 {
		t.Errorf("verify exits with %d: %s", code, out)
	}
	return *report.Result, journalOf(t, g, path.Dir(d.Certificate)+"/journal")
}

// journalOf are the kinds of a journal's records, in order.
func journalOf(t *testing.T, g *Guest, name string) []string {
	t.Helper()
	var kinds []string
	for line := range strings.Lines(g.Must("cat", name)) {
		var r struct {
			Kind string `json:"kind"`
		}
		answerOf(t, line, &r)
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// count says how often a word is in a list.
func count(list []string, word string) (n int) {
	for _, s := range list {
		if s == word {
			n++
		}
	}
	return n
}

// recorder counts the commands that a target gets.
type recorder struct {
	mu   sync.Mutex // guards seen
	seen map[[2]int]int
}

// record counts commands until the target is told otherwise; then decides on each, or passes all when nil.
func record(n *nvmeTarget, then func(queue uint16, c *nvme.Command) fate) *recorder {
	r := &recorder{seen: map[[2]int]int{}}
	n.watch(func(queue uint16, c *nvme.Command) fate {
		r.mu.Lock()
		r.seen[[2]int{int(min(queue, 1)), int(c.Opcode)}]++
		r.mu.Unlock()
		if then == nil {
			return passed
		}
		return then(queue, c)
	})
	return r
}

// of is how many commands of an opcode there were; I/O queues are counted together.
func (r *recorder) of(queue nvme.Queue, opcode int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[[2]int{int(queue), opcode}]
}
