package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

var canary = []byte("CUSTOMER-DATA-7f3a")

// bench is a rack of virtual drives full of customer data whose nodes are given to guests.
type bench struct {
	t      *testing.T
	rack   *virtual.Rack
	target *scsiTarget
	share  string // a directory that guests have at /host: their state outlives them
	next   uint16
	open   map[string][]devices.Transport // the units of each drive, by serial number
}

func newBench(t *testing.T) *bench {
	t.Helper()
	rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, rack: rack, target: newSCSITarget(t.Context()), share: t.TempDir(), open: map[string][]devices.Transport{}}
	t.Cleanup(b.journals)
	return b
}

// journals shows the end of what was recorded of each drive, when the test has failed.
func (b *bench) journals() {
	list, err := filepath.Glob(filepath.Join(b.share, "state/jobs/*/*/journal"))
	if err != nil || !b.t.Failed() {
		return
	}
	for _, name := range list {
		data, err := os.ReadFile(name)
		b.t.Logf("%s (%v): …%q", name, err, data[max(0, len(data)-3000):])
	}
}

// add puts a drive full of customer data into the rack, with what is wrong with it, and its units
// behind the next target.
func (b *bench) add(spec virtual.Spec, faults ...string) (target uint16) {
	b.t.Helper()
	if spec.SizeBytes == 0 {
		spec.SizeBytes = 8 << 20
	}
	if _, err := b.rack.Add(spec); err != nil {
		b.t.Fatal(err)
	}
	if err := b.rack.Populate(spec.Serial, canary); err != nil {
		b.t.Fatal(err)
	}
	for _, text := range faults {
		f, err := virtual.ParseFault(text)
		if err == nil {
			err = b.rack.Fault(spec.Serial, f)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	target = b.next
	b.next++
	b.plug(spec.Serial, target)
	return target
}

// plug puts the units of a drive behind a target.
func (b *bench) plug(serial string, target uint16) {
	b.t.Helper()
	drives, err := b.rack.Drives()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range drives {
		if d.Spec.Serial != serial {
			continue
		}
		for _, s := range d.Spaces {
			tr, err := b.rack.Opener()(b.t.Context(), s.Node, devices.Exclusive)
			if err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { _ = tr.Close() })
			b.open[serial] = append(b.open[serial], tr)
			b.target.attach(target, uint16(s.LUN), tr)
		}
	}
}

// left counts what is left of the customer's data on a medium, where the host can address it and
// where it cannot.
func (b *bench) left(serial string) (addressable, hidden int64) {
	b.t.Helper()
	m, err := b.rack.Medium(serial)
	if err != nil {
		b.t.Fatal(err)
	}
	if addressable, hidden, err = m.CountCanary(canary); err != nil {
		b.t.Fatal(err)
	}
	return addressable, hidden
}

// begun is what a drive began by itself.
func (b *bench) begun(serial string) []string {
	b.t.Helper()
	m, err := b.rack.Medium(serial)
	if err != nil {
		b.t.Fatal(err)
	}
	return m.Begun()
}

// boot starts a guest of User Mode Linux that has the drives and the share.
func (b *bench) boot() *Guest {
	b.t.Helper()
	return startUML(b.t, b.target, b.share, nil, nil)
}

// expunge runs the program in a guest, with its state in the share.
func (g *Guest) expunge(args ...string) (stdout string, code int) {
	g.t.Helper()
	return g.Run(append([]string{"expunge", "--state", "/host/state"}, args...)...)
}

// document runs it and decodes what it says in JSON.
func document[T any](g *Guest, args ...string) (result T, code int) {
	g.t.Helper()
	out, code := g.expunge(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		g.t.Fatalf("%q: %v in %s", args, err, out)
	}
	return result, code
}

// decisions are a drive's in a plan, as far as they do not depend on where it is attached.
func decisions(t *testing.T, p sanitize.Plan) string {
	t.Helper()
	for i := range p.Drives {
		d := &p.Drives[i]
		d.Nodes, d.Notes, d.PartitionTable = nil, nil, ""
	}
	for i := range p.Refused {
		p.Refused[i].Nodes = nil
	}
	b, err := json.MarshalIndent([]any{p.Drives, p.Refused, p.Policy}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// techniquesHere are those that the rig carries, with drives that have them.
var techniquesHere = []struct {
	profile   string
	technique sanitize.Technique
	method    sanitize.Method
}{
	{"sas-ssd", sanitize.CryptoThenBlock, sanitize.Purge},
	{"sas-ssd", sanitize.BlockErase, sanitize.Purge},
	{"sas-ssd", sanitize.CryptographicErase, sanitize.Purge},
	{"sas-hdd", sanitize.DriveOverwrite, sanitize.Purge},
	{"sas-hdd", sanitize.Format, sanitize.Clear},
	{"sas-hdd", sanitize.HostOverwrite, sanitize.Clear},
	{"sas-dual", sanitize.DriveOverwrite, sanitize.Purge},
	{"sas-520", sanitize.HostOverwrite, sanitize.Clear},
	{"sata-ssd", sanitize.CryptoThenBlock, sanitize.Purge},
	{"sata-ssd", sanitize.BlockErase, sanitize.Purge},
	{"sata-hdd", sanitize.DriveOverwrite, sanitize.Purge},
	{"sata-hdd", sanitize.EnhancedSecurityErase, sanitize.Purge},
	{"sata-hdd", sanitize.SecurityErase, sanitize.Clear},
	{"sata-hdd", sanitize.HostOverwrite, sanitize.Clear},
	{"sata-hdd-hpa", sanitize.HostOverwrite, sanitize.Clear},
	{"sata-hdd-dco", sanitize.DriveOverwrite, sanitize.Purge},
	{"sata-ssd-ama", sanitize.BlockErase, sanitize.Purge},
}

// word is a technique as people type it.
func word(t sanitize.Technique) string {
	if t == sanitize.CryptoThenBlock {
		return "crypto+block"
	}
	return strings.ReplaceAll(string(t), " ", "-")
}

// In a real kernel each technique is planned as it is on a rack, carried out, and ends in a certificate
// that the medium bears out.
func TestTechniquesInARealKernel(t *testing.T) {
	t.Parallel()
	techniques(t, "", func(b *bench) *Guest { return b.boot() })
}

// A second kernel, years younger, comes to the same.
func TestTechniquesInASecondKernel(t *testing.T) {
	t.Parallel()
	need(t, "kernel")
	techniques(t, "sas-hdd sata-ssd", func(b *bench) *Guest { return startQEMU(b.t, hardware{target: b.target, disk: newDisk(b.t)}) })
}

// techniques carries out those of some profiles, or of all.
func techniques(t *testing.T, profiles string, boot func(b *bench) *Guest) {
	b, list := newBench(t), slices.Clone(techniquesHere)
	if profiles != "" {
		seen := map[sanitize.Technique]bool{}
		list = list[:0]
		for _, x := range techniquesHere {
			if slices.Contains(strings.Fields(profiles), x.profile) && (!seen[x.technique] || x.profile == "sas-dual") {
				seen[x.technique] = true
				list = append(list, x)
			}
		}
	}
	for i, x := range list {
		b.add(virtual.Spec{Profile: x.profile, Serial: serialOf(i), EraseSeconds: 1})
	}
	g := boot(b)
	host, err := agent.Open(agent.Options{Host: b.rack.Host(nil), StateDir: filepath.Join(t.TempDir(), "state"), Owner: agent.Owner{Kind: "rack", ID: b.rack.ID()}})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range list {
		t.Run(x.profile+" "+string(x.technique), func(t *testing.T) {
			g, serial, plan := g.in(t), serialOf(i), "/tmp/"+serialOf(i)+".json"
			if out, code := g.expunge("plan", serial, "--output", plan, "--method", string(x.method), "--technique", word(x.technique)); code != 0 {
				t.Fatalf("plan: exit %d: %s", code, out)
			}
			inGuest, err := sanitize.ParsePlan([]byte(g.Must("cat", plan)))
			if err != nil {
				t.Fatal(err)
			}
			onRack, err := host.Plan(t.Context(), []string{serial}, sanitize.Request{Method: x.method, Technique: x.technique})
			if err != nil {
				t.Fatal(err)
			}
			if a, b := decisions(t, inGuest), decisions(t, onRack); a != b {
				t.Errorf("planned in the guest:\n%s\non the rack:\n%s", a, b)
			}
			out, code := document[struct {
				Result struct {
					Drives []done `json:"drives"`
				} `json:"result"`
			}](g, "run", "--plan", plan, "--confirm", serial)
			if code != 0 || len(out.Result.Drives) != 1 {
				t.Fatalf("exit %d: %+v", code, out)
			}
			addressable, hidden := b.left(serial)
			if addressable != 0 || x.method == sanitize.Purge && hidden != 0 {
				t.Errorf("%d canaries that the host can address, %d that it cannot", addressable, hidden)
			}
			if x.technique == sanitize.HostOverwrite && hidden == 0 {
				t.Error("a host overwrite reached blocks that no host can address")
			}
			result, _ := certified(t, g, out.Result.Drives[0])
			if result.Device.Serial != serial || result.Outcome.Method != string(x.method) || result.Sanitization.Technique != string(x.technique) {
				t.Errorf("certificate: %+v %+v %q", result.Device, result.Outcome, result.Sanitization.Technique)
			}
		})
	}
}

func serialOf(i int) string { return "DRIVE" + string(rune('A'+i)) }
