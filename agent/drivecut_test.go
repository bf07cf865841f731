package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/tcg"
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
	still sync.Mutex // held while a drive changes what it keeps
	t     *testing.T
	s     *site
	c     *clock
	dir   string
	list  []moment
}

func (m *moments) cut(what string) string {
	name := fmt.Sprintf("%03d-%s", len(m.list)+1, what)
	dir := filepath.Join(m.dir, name)
	for from, to := range map[string]string{m.s.rack.Root(): "rack", m.s.state: "state"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			m.t.Fatal(err)
		}
	}
	keepSecret(m.t, filepath.Join(dir, "state"))
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
	what := map[uint8]string{0x02: "log", 0x80: "format", 0x81: "security", 0x84: "sanitize"}[cmd.Opcode]
	if cmd.Queue == nvme.IO {
		what = map[uint8]string{0x00: "flush", 0x01: "write", 0x79: "zone"}[cmd.Opcode]
	}
	c.m.still.Lock()
	defer c.m.still.Unlock()
	if what != "" {
		c.m.cut("before-" + what)
	}
	done, err := c.Transport.NVMe(ctx, cmd)
	if what == "sanitize" || what == "format" || what == "zone" || what == "security" {
		c.m.cut("after-" + what)
	}
	return done, err
}

// SCSI cuts around commands that change the drive: ATA sanitize, security and addresses, SCSI
// sanitize, format and mode select.
func (c cutting) SCSI(ctx context.Context, cmd *scsi.Command) (scsi.Result, error) {
	what := map[byte]string{0x48: "sanitize", 0x04: "format", 0x55: "mode-select", 0xb5: "security-protocol", 0x94: "zone", 0x91: "flush"}[cmd.CDB[0]]
	if cmd.CDB[0] == 0x85 {
		what = map[byte]string{0xb4: "sanitize", 0xf1: "set-password", 0xf3: "erase-prepare", 0xf4: "erase-unit", 0xf2: "unlock", 0xf6: "disable-password", 0x5e: "trusted-send", 0x5f: "trusted-send", 0x37: "set-max", 0x78: "accessible-max"}[cmd.CDB[14]]
		if cmd.CDB[14] == 0xb4 && cmd.CDB[3] == 0 && cmd.CDB[4] == 0 || cmd.CDB[14] == 0x78 && cmd.CDB[4] == 0 {
			what = "" // they only ask
		}
		if cmd.CDB[14] == 0xb1 && cmd.CDB[4] == 0xc0 {
			what = "dco-restore"
		}
	}
	if what != "" {
		c.m.cut("before-" + what)
	}
	r, err := c.Transport.SCSI(ctx, cmd)
	if what != "" {
		c.m.cut("after-" + what)
	}
	return r, err
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

// cutSweeps are the techniques of every command set, on drives that have them.
var cutSweeps = []struct {
	profile   string
	technique sanitize.Technique
	blocks    int     // --block-size
	tcg       tcg.Way // --tcg
}{
	{"nvme-ssd", sanitize.CryptoThenBlock, 0, ""},
	{"nvme-ssd", sanitize.CryptographicErase, 0, ""},
	{"nvme-ssd", sanitize.BlockErase, 0, ""},
	{"nvme-hdd", sanitize.DriveOverwrite, 0, ""},
	{"nvme-verify", sanitize.CryptoThenBlock, 0, ""},
	{"nvme-verify", sanitize.CryptographicErase, 0, ""},
	{"nvme-format", sanitize.Format, 0, ""},
	{"nvme-format", sanitize.CryptographicFormat, 0, ""},
	{"nvme-zns", sanitize.CryptoThenBlock, 0, ""},
	{"sata-ssd", sanitize.CryptoThenBlock, 0, ""},
	{"sata-ssd-ama", sanitize.CryptographicErase, 0, ""},
	{"sata-hdd-hpa", sanitize.DriveOverwrite, 0, ""},
	{"sata-hdd-dco", sanitize.SecurityErase, 0, ""},
	{"sata-hdd", sanitize.EnhancedSecurityErase, 0, ""},
	{"sas-ssd", sanitize.CryptoThenBlock, 0, ""},
	{"sas-dual", sanitize.DriveOverwrite, 0, ""},
	{"sas-hdd", sanitize.Format, 0, ""},
	{"sas-520", sanitize.Format, 512, ""},
	{"nvme-opal-inactive", sanitize.TCGRevert, 0, ""},
	{"sata-opal-inactive", sanitize.TCGRevert, 0, ""},
	{"nvme-opal-inactive", sanitize.TCGRevert, 0, tcg.WayGenKey},
	{"sas-enterprise", sanitize.TCGRevert, 0, ""},
	{"sas-hdd-smr", sanitize.DriveOverwrite, 0, ""},
}

// begunAs is how a drive remembers that it began an operation.
func begunAs(o sanitize.Operation) string {
	word := ""
	switch o.Kind {
	case sanitize.NVMeSanitize:
		word = fmt.Sprintf("84:%08x", o.Code)
	case sanitize.NVMeFormat:
		word = fmt.Sprintf("80:%08x@%d", o.Code, o.NSID)
	case sanitize.ATASanitize:
		word = fmt.Sprintf("b4:%04x", o.Code>>16)
	case sanitize.ATASecurityErase:
		word = fmt.Sprintf("f4:%d", o.Code)
	case sanitize.SCSISanitize:
		word = fmt.Sprintf("48:%02x", o.Code&0x1f)
	case sanitize.SCSIFormat:
		word = "04"
	case sanitize.TCGRevertCommand:
		word = "tcg:revert"
	case sanitize.TCGKeysCommand:
		word = "tcg:erase"
		if o.Code&0xff == 4 {
			word = "tcg:genkey"
		}
	}
	if o.Unit > 0 {
		word += fmt.Sprintf("@%d", o.Unit)
	}
	return word
}

// The host stops before and after every command that changes the drive and every append to the
// journal, and in the middle of every append, while the drive goes on by itself. From each moment, at
// once, when the drive has long ended, or after its power was cycled, the job is resumed to the right
// end: nothing is begun twice that goes on by itself, no success is taken for ours that is not, and no
// drive stays locked.
func TestDriveGoesOnWhenTheHostStops(t *testing.T) {
	for n, x := range cutSweeps {
		if testing.Short() && n%24 != 0 {
			continue // hundreds of moments each, which the run without the race detector has
		}
		t.Run(x.profile+"/"+strings.ReplaceAll(string(x.technique)+string(x.tcg), " ", "-"), func(t *testing.T) {
			s, c := newTimed(t)
			spec := virtual.Spec{Profile: x.profile, Serial: "A", SizeBytes: 2 << 20, HiddenBytes: 4096, EraseSeconds: 40}
			if x.profile == "sas-hdd-smr" {
				spec.ZoneBytes, spec.ActiveZones, spec.ConventionalZones = 256<<10, 1, 2
			}
			if x.profile == "nvme-zns" {
				spec.ZoneBytes, spec.ZoneCapacityBytes, spec.ActiveZones = 256<<10, 192<<10, 1
			}
			s.add(spec)
			r := sanitize.Request{Method: sanitize.Purge, Technique: x.technique, BlockSize: x.blocks, TCG: x.tcg}
			if x.technique == sanitize.Format || x.technique == sanitize.CryptographicFormat || x.technique == sanitize.SecurityErase {
				r.Method = sanitize.Clear
			}
			p := s.plan(r, "A")
			if len(p.Drives) != 1 {
				t.Fatalf("%+v", p.Refused)
			}
			m := &moments{t: t, s: s, c: c, dir: t.TempDir()}
			a := s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
				tr, err := s.rack.Opener()(ctx, node, access)
				if err != nil || access != devices.Exclusive {
					return tr, err
				}
				return cutting{tr, m}, nil
			}, nil), c)
			a.testOnlyObserve = func(r journal.Record) {
				m.still.Lock()
				defer m.still.Unlock()
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
			j, err := a.Start(t.Context(), p, Started{}, Observer{})
			if err != nil || j.Drives[0].Outcome != sanitize.Sanitized {
				t.Fatalf("%+v, %v", j.Drives, err)
			}
			var want []string
			for _, o := range p.Drives[0].Operations {
				want = append(want, begunAs(o))
			}
			if len(m.list) < 30*len(want) {
				t.Fatalf("only %d moments were seen", len(m.list))
			}
			list := few(m.list)
			if x.technique != sanitize.TCGRevert && !testing.Short() { // pairs of moments in turn: what one sweep leaves out, the next has
				list = slices.DeleteFunc(list, func(at moment) bool { return (int(at.name[2]-'0')/2+n)%2 != 0 })
			}
			if x.technique == sanitize.TCGRevert && !testing.Short() { // of the many commands of its sessions a few tell as much
				list = slices.DeleteFunc(list, func(at moment) bool {
					return at.name[2]%5 != 0 && (strings.Contains(at.name, "security") || strings.Contains(at.name, "trusted")) || at.name[2]%2 != 0
				})
			}
			for i, at := range list {
				t.Run(at.name, func(t *testing.T) {
					t.Parallel()
					// Each moment is resumed at once; every other one also later, the rest after a power cycle.
					again := at.dir + "-again"
					if err := os.CopyFS(again, os.DirFS(at.dir)); err != nil {
						t.Fatal(err)
					}
					keepSecret(t, filepath.Join(again, "state"))
					resumeDrive(t, at.dir, at.now, p, want, false)
					if i%2 == 0 {
						resumeDrive(t, again, at.now.Add(20*time.Hour), p, want, false)
					} else {
						resumeDrive(t, again, at.now.Add(15*time.Second), p, want, true)
					}
				})
			}
		})
	}
}

func resumeDrive(t *testing.T, dir string, now time.Time, p sanitize.Plan, want []string, powerCycle bool) {
	t.Helper()
	rack, err := virtual.Open(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: now}
	rack.Clock = c.Now
	if powerCycle {
		if err := rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
	}
	s := &site{t: t, rack: rack, state: filepath.Join(dir, "state")}
	s.agent = s.timed(rack.Host(nil), c)
	before, err := s.agent.Job(jobName(p))
	if err != nil {
		t.Fatal(err)
	}
	if d := before.Drives[0]; d.Outcome != sanitize.Interrupted && d.Outcome != sanitize.Sanitized {
		t.Fatalf("after the cut: %s %v", d.Outcome, d.Reasons)
	}
	var r DriveResult
	for range 3 {
		job, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
		if err != nil {
			t.Fatal(err)
		}
		if r = job.Drives[0]; r.Finished() {
			break
		}
		// A change that a drive takes once after each power-on is what may stop a job here.
		if len(r.Reasons) == 0 || r.Reasons[0].Code != ReasonPowerCycle {
			break
		}
		if err := rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
	}
	if r.Outcome != sanitize.Sanitized || r.Err != nil {
		t.Fatalf("resumed to %s %v, %v", r.Outcome, r.Reasons, r.Err)
	}
	m, err := rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	begun := m.Begun()
	// Begun again is what was cut off for good, and what nothing shows to have ended: a format (that of an
	// NVMe drive always, of which nothing is kept), and the
	// second of two erases of drives that do not name the command, whose markers went by the first.
	kind := p.Drives[0].Operations[0].Kind
	if kind == sanitize.NVMeFormat || kind == sanitize.SCSIFormat && (powerCycle || p.Drives[0].Reformat != 0) || kind != sanitize.NVMeSanitize && p.Drives[0].Technique == sanitize.CryptoThenBlock {
		begun = slices.Compact(begun)
	}
	if kind == sanitize.TCGKeysCommand { // of every band; all of them again when it was cut off
		for n, w := range begun {
			begun[n] = strings.TrimRight(w, ":0123456789")
		}
		begun = slices.Compact(begun)
	}
	if !slices.Equal(begun, want) {
		t.Errorf("the drive began %q, planned were %q", begun, want)
	}
	addressable, hidden, err := m.CountCanary(canary)
	if p.Drives[0].Method == sanitize.Clear {
		hidden = 0
	}
	if err != nil || addressable+hidden != 0 {
		t.Errorf("%d canaries, %d hidden, %v", addressable, hidden, err)
	}
	if m.Locked() {
		t.Error("the drive has a password")
	}
	if report := s.verify(r); report.Code != attest.CodeOK {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
	}
}
