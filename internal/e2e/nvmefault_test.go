package e2e

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

const (
	opWrite    = 0x01
	opLogPage  = 0x02
	opFormat   = 0x80
	opSanitize = 0x84

	capSysAdmin = 21
)

// once is a fate for the n-th command that is meant, and passes the others.
func once(number int64, what fate, meant func(queue uint16, c *nvme.Command) bool) func(uint16, *nvme.Command) fate {
	var n atomic.Int64
	return func(queue uint16, c *nvme.Command) fate {
		if meant(queue, c) && n.Add(1) == number {
			return what
		}
		return passed
	}
}

func isSanitize(queue uint16, c *nvme.Command) bool { return queue == 0 && c.Opcode == opSanitize }

// statusLogs means the questions about a sanitize that was ordered.
func statusLogs() func(queue uint16, c *nvme.Command) bool {
	var ordered atomic.Bool
	return func(queue uint16, c *nvme.Command) bool {
		if isSanitize(queue, c) {
			ordered.Store(true)
		}
		return ordered.Load() && queue == 0 && c.Opcode == opLogPage && c.CDW10&0xff == nvme.LogSanitize
	}
}

// A controller that is reset, an answer that is lost and a command that hangs neither stop a sanitize nor
// have it begun again.
func TestNVMeResets(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	for _, x := range []struct {
		name   string
		serial string
		decide func(queue uint16, c *nvme.Command) fate
		sent   int // Sanitize commands
	}{
		{"the connection is cut while it runs", "CUT", once(3, severed, statusLogs()), 1},
		{"the answer of the command is lost", "LOST", once(1, lost, isSanitize), 1},
		{"a question hangs while it runs", "HANG", once(3, dropped, statusLogs()), 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := f.in(t)
			n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: x.serial, SizeBytes: 1 << 20, EraseSeconds: 10})
			defer f.g.disconnect(f.g.connect(n))
			r := record(n, x.decide)
			d, _, code := f.run(t, x.serial, "--method", "purge", "--technique", "block")
			if code != 0 || d.Outcome != "sanitized" {
				t.Fatalf("exit status %d: %+v", code, d)
			}
			m := f.medium(t, x.serial)
			if begun := m.Begun(); !slices.Equal(begun, []string{"84:00000002"}) || r.of(nvme.Admin, opSanitize) != x.sent {
				t.Errorf("the drive began %q, %d commands were sent", begun, r.of(nvme.Admin, opSanitize))
			}
			if blank, err := m.Blank(); err != nil || !blank {
				t.Errorf("the medium is not erased: %v", err)
			}
			certified(t, f.g, d)
		})
	}
	t.Run("the command never arrives", func(t *testing.T) {
		f := f.in(t)
		n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "NEVER", SizeBytes: 1 << 20})
		defer f.g.disconnect(f.g.connect(n))
		r := record(n, once(1, severed, isSanitize))
		d, _, code := f.run(t, "NEVER", "--method", "purge", "--technique", "block")
		begun := f.medium(t, "NEVER").Begun()
		if len(begun) == 0 && (code == 0 || d.Outcome == "sanitized") {
			t.Errorf("exit status %d, %+v, and the drive began nothing", code, d)
		}
		if r.of(nvme.Admin, opSanitize) != 1 {
			t.Errorf("a destructive command was sent %d times", r.of(nvme.Admin, opSanitize))
		}
		t.Logf("exit status %d: %+v", code, d)
	})
}

// A drive that goes away while the host writes leaves its job interrupted: neither done nor failed. When it
// is back the job goes on.
func TestNVMeGone(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	for _, x := range []struct {
		name, serial string
		options      string
		goes         func(n *nvmeTarget)
	}{
		{"its namespace is taken away", "DETACHED", "ctrl_loss_tmo=600", func(n *nvmeTarget) { n.detach(1) }},
		{"it stops answering", "SILENT", "ctrl_loss_tmo=3", func(n *nvmeTarget) { n.cut(true) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := f.in(t)
			n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: x.serial, SizeBytes: 8 << 20})
			controller := f.g.connect(n, x.options)
			var writes atomic.Int64
			record(n, func(queue uint16, c *nvme.Command) fate {
				if queue != 0 && c.Opcode == opWrite && writes.Add(1) == 20 {
					x.goes(n)
				}
				return passed
			})
			d, job, code := f.run(t, x.serial, "--method", "clear", "--technique", "host-overwrite")
			if code != 10 || d.Outcome != "interrupted" || d.Certificate != "" {
				t.Fatalf("exit status %d: %+v\n%s", code, d, f.g.Must("dmesg"))
			}
			if addressable, _ := left(t, f.medium(t, x.serial)); addressable == 0 {
				t.Fatal("nothing was left: the drive went too late")
			}
			if f.g.Must("ls", "/sys/class/nvme/"+controller) != "" {
				f.g.disconnect(controller)
			}
			n.powerOff()
			if err := n.powerOn(); err != nil {
				t.Fatal(err)
			}
			n.watch(nil)
			defer f.g.disconnect(f.g.connect(n))
			out, code := f.g.Run("expunge", "--state", "/host/state", "jobs", "resume", job, "--json")
			var r struct {
				Result struct {
					Drives []done `json:"drives"`
				} `json:"result"`
			}
			answerOf(t, out, &r)
			if code != 0 || len(r.Result.Drives) != 1 || r.Result.Drives[0].Outcome != "sanitized" {
				t.Fatalf("resumed, exit status %d: %s", code, out)
			}
			if addressable, _ := left(t, f.medium(t, x.serial)); addressable != 0 {
				t.Errorf("customer data is left %d times", addressable)
			}
			certified(t, f.g, r.Result.Drives[0])
		})
	}
}

// A drive that is pulled while it sanitizes itself goes on when it has power again. The job waits for it, and
// tells it nothing a second time.
func TestNVMePulledWhileItErasesItself(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "PULLED", SizeBytes: 1 << 20, EraseSeconds: 20})
	f.g.connect(n, "ctrl_loss_tmo=3")
	r := record(n, func(decide func(uint16, *nvme.Command) fate) func(uint16, *nvme.Command) fate {
		return func(queue uint16, c *nvme.Command) fate {
			then := decide(queue, c)
			if then == dropped {
				n.cut(true)
			}
			return then
		}
	}(once(3, dropped, statusLogs())))
	d, job, code := f.run(t, "PULLED", "--method", "purge", "--technique", "block")
	if code != 10 || d.Outcome != "interrupted" || d.Certificate != "" {
		t.Fatalf("exit status %d: %+v\n%s", code, d, f.g.Must("dmesg"))
	}
	n.powerOff()
	if err := errors.Join(f.rack.PowerCycle("PULLED"), n.powerOn()); err != nil {
		t.Fatal(err)
	}
	f.g.connect(n)
	d = f.recovered(t, job)
	m := f.medium(t, "PULLED")
	if begun := m.Begun(); !slices.Equal(begun, []string{"84:00000002"}) || r.of(nvme.Admin, opSanitize) != 1 {
		t.Errorf("the drive began %q, %d commands were sent", begun, r.of(nvme.Admin, opSanitize))
	}
	if blank, err := m.Blank(); err != nil || !blank || d.Outcome != "sanitized" {
		t.Errorf("%+v: the medium is not erased: %v", d, err)
	}
	certified(t, f.g, d)
}

// A drive that takes writes and never answers them holds nobody else up, and is not called done.
func TestNVMeHangs(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "HANGS", SizeBytes: 8 << 20})
	f.g.connect(n, "ctrl_loss_tmo=600")
	f.g.connect(f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "WORKS", SizeBytes: 8 << 20}))
	var writes atomic.Int64
	record(n, func(queue uint16, c *nvme.Command) fate {
		if queue != 0 && c.Opcode == opWrite && writes.Add(1) > 20 {
			return dropped
		}
		return passed
	})
	f.g.spawn("expunge", "--state", "/host/state", "run", "HANGS", "WORKS", "--allow-fabric", "--method", "clear", "--technique", "host-overwrite", "--confirm", "HANGS", "--confirm", "WORKS")
	certificates := func() []string { return strings.Fields(f.g.Must("ls", "/host/state/jobs/*/*/certificate.json")) }
	f.g.until("the other drive is certified", func() bool { return len(certificates()) > 0 })
	if addressable, _ := left(t, f.medium(t, "WORKS")); addressable != 0 {
		t.Errorf("customer data is left %d times", addressable)
	}
	if addressable, _ := left(t, f.medium(t, "HANGS")); addressable == 0 {
		t.Error("the drive that hangs was overwritten")
	}
	if result, _ := certified(t, f.g, done{Certificate: certificates()[0]}); len(certificates()) != 1 || result.Device.Serial != "WORKS" {
		t.Errorf("%q: %+v", certificates(), result.Device)
	}
}

// Without the capability the error names it, and nothing that changes a drive is sent.
func TestNVMeWithoutCapability(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "CAP", SizeBytes: 4 << 20})
	f.g.connect(n)
	before, hidden := left(t, f.medium(t, "CAP"))
	r := record(n, nil)
	for _, technique := range []string{"block", "host-overwrite"} {
		a, err := f.g.do(t.Context(), request{Args: []string{"expunge", "--state", "/host/state", "run", "CAP", "--allow-fabric", "--confirm", "CAP",
			"--technique", technique}, Drop: []int{capSysAdmin}})
		if err != nil {
			t.Fatal(err)
		}
		if said := string(a.Stdout) + string(a.Stderr); a.Code != 4 || !strings.Contains(said, "CAP_SYS_ADMIN") {
			t.Errorf("%s: exit status %d: %s", technique, a.Code, said)
		}
	}
	if n := r.of(nvme.Admin, opSanitize) + r.of(nvme.Admin, opFormat) + r.of(nvme.IO, opWrite); n != 0 {
		t.Errorf("%d commands that change the drive were sent", n)
	}
	if a, h := left(t, f.medium(t, "CAP")); a != before || h != hidden || before == 0 {
		t.Errorf("customer data: %d and %d before, %d and %d after", before, hidden, a, h)
	}
}

// A guest that loses power in the middle of a sanitize, and one that comes up over the same medium and
// state: what was ordered is adopted, finished and certified, and nothing is begun twice.
func TestNVMeGuestKilled(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "KILLED", SizeBytes: 1 << 20, EraseSeconds: 30})
	f.g.connect(n)
	f.g.spawn("expunge", "--state", "/host/state", "run", "KILLED", "--allow-fabric", "--confirm", "KILLED", "--method", "purge", "--technique", "crypto+block")
	f.g.until("the drive sanitizes itself", func() bool { return len(f.medium(t, "KILLED").Begun()) > 0 })
	f.g.Kill()
	if begun := f.medium(t, "KILLED").Begun(); len(begun) != 1 {
		t.Fatalf("the drive began %q before the guest was gone", begun)
	}

	f.g = startQEMU(t, hardware{disk: f.disk})
	f.g.connect(n)
	r := record(n, nil)
	d, m := f.recovered(t, ""), f.medium(t, "KILLED")
	if d.Outcome != "sanitized" || d.Method != "purge" {
		t.Errorf("%+v", d)
	}
	if begun := m.Begun(); !slices.Equal(begun, []string{"84:00000204", "84:00000002"}) || r.of(nvme.Admin, opSanitize) != 1 {
		t.Errorf("the drive began %q, the second guest sent %d", begun, r.of(nvme.Admin, opSanitize))
	}
	if blank, err := m.Blank(); err != nil || !blank {
		t.Errorf("the medium is not erased: %v", err)
	}
	result, kinds := certified(t, f.g, d)
	if result.Sanitization.Attempts != 2 || count(kinds, "attempt") != 2 || count(kinds, "operation_begun") != 2 {
		t.Errorf("%d attempts, journal %q", result.Sanitization.Attempts, kinds)
	}
}
