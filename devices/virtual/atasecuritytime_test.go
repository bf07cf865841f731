package virtual

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// protocolErase is the list of SECURITY PROTOCOL OUT EFh, function 4.
func protocolErase(password string) []byte {
	list := make([]byte, 36)
	copy(list[2:34], password)
	return list
}

// eraseBegun has a process of its own begin a security erase, by two commands, and die. How the second
// ended comes out of the channel. The rig goes on by its own clock.
func (g *rig) eraseBegun(prepare, erase *scsi.Command) <-chan error {
	g.t.Helper()
	g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw"))
	closeIt(g.t, g.tr)
	*g.now = time.Now()
	host, err := Open(g.rack.dir)
	if err != nil {
		g.t.Fatal(err)
	}
	tr, answered := open(g.t, host, g.node), make(chan error, 1)
	if r, err := tr.SCSI(g.t.Context(), prepare); err != nil || r.Status != 0 && r.Sense[1] != 1 {
		g.t.Fatalf("prepare: %+v, %v", r, err)
	}
	go func() {
		r, err := tr.SCSI(g.t.Context(), erase)
		if err == nil && r.Status != 0 && r.Sense[1] != 1 {
			err = errors.New("failed")
		}
		answered <- err
	}()
	*g.now = g.begun().Since
	closeIt(g.t, tr)
	g.tr = open(g.t, g.rack, g.node)
	select {
	case err := <-answered:
		g.t.Fatalf("the command was over at once: %v", err)
	default:
	}
	return answered
}

// begun waits until an operation of the drive runs.
func (g *rig) begun() *operation {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if o := g.medium().memory.Units[0].Operation; o != nil {
			return o
		}
		if time.Now().After(deadline) {
			g.t.Fatal("nothing was begun")
		}
	}
}

// A drive that erases itself goes on when the host that told it to has died, is busy meanwhile, and
// has one erase to tell of.
func TestSecurityEraseGoesOn(t *testing.T) {
	unit := func(word uint16) (prepare, erase *scsi.Command) {
		return &scsi.Command{CDB: pass(3, 0xf3, 0, 0, 0), Timeout: 1},
			&scsi.Command{CDB: pass(5, 0xf4, 0, 0, 0), Direction: scsi.DataOut, Data: secret(word, "pw"), Timeout: 1}
	}
	for _, x := range []struct {
		name, profile, fault, begun string
		enhanced, protocol          bool
		seconds                     int // until it ends
		cycle                       bool
		state                       uint16 // word 128 then
		addressable, hidden, fails  bool
	}{
		{name: "normal", profile: "sata-hdd", begun: "f4:0", seconds: 100, state: 0x21, hidden: true},
		{name: "enhanced", profile: "sata-hdd", begun: "f4:1", enhanced: true, seconds: 100, state: 0x21},
		{name: "enhanced by key", profile: "sata-ssd", begun: "f4:1", enhanced: true, seconds: 50, state: 0x21},
		{name: "by the security protocol", profile: "sata-hdd", begun: "f4:0", protocol: true, seconds: 100, state: 0x21, hidden: true},
		{name: "power cycle", profile: "sata-hdd", begun: "f4:0", seconds: 50, cycle: true, state: 0x27, addressable: true, hidden: true, fails: true},
		{name: "power cut", profile: "sata-hdd", fault: "sanitize-power-cut:50", begun: "f4:0", seconds: 50, state: 0x27, addressable: true, hidden: true, fails: true},
		{name: "failure", profile: "sata-hdd", fault: "sanitize-fail:40", begun: "f4:0", seconds: 40, state: 0x23, addressable: true, hidden: true, fails: true},
		{name: "lie", profile: "sata-hdd", fault: "lie:nothing", begun: "f4:0", seconds: 100, state: 0x21, addressable: true, hidden: true},
		{name: "skipped", profile: "sata-hdd", fault: "skip-erase:10+5", begun: "f4:0", seconds: 100, state: 0x21, addressable: true, hidden: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, Spec{Profile: x.profile})
			if x.fault != "" {
				g.fault(x.fault)
			}
			word := uint16(0)
			if x.enhanced {
				word = 2
			}
			prepare, erase := unit(word)
			if x.protocol {
				prepare = &scsi.Command{CDB: []byte{0xb5, 0xef, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}, Timeout: 1}
				erase = &scsi.Command{CDB: []byte{0xb5, 0xef, 0, 4, 0, 0, 0, 0, 0, 36, 0, 0}, Direction: scsi.DataOut, Data: protocolErase("pw"), Timeout: 1}
			}
			answered, err := g.eraseBegun(prepare, erase), error(nil)
			busy := func(when string) {
				t.Helper()
				if w := g.identity(); w[128] != 0x23 || w[85]&2 == 0 {
					t.Errorf("%s: word 128 %04x, word 85 %04x", when, w[128], w[85])
				}
				for name, a := range map[string]answer{
					"set": g.ata(5, 0xf1, 0, 0, 0, secret(0, "x")), "unlock": g.ata(5, 0xf2, 0, 0, 0, secret(0, "pw")), "prepare": g.ata(3, 0xf3, 0, 0, 0, nil),
					"erase": g.ata(5, 0xf4, 0, 0, 0, secret(0, "pw")), "freeze": g.ata(3, 0xf5, 0, 0, 0, nil), "disable": g.ata(5, 0xf6, 0, 0, 0, secret(0, "pw")),
					"sanitize status": g.ata(3, 0xb4, 0, 0, 0, nil), "verify": g.ata(3, 0x42, 0, 1, 0, nil), "SMART": g.ata(3, 0xb0, 0xda, 0, 0xc24f00, nil),
				} {
					if !a.failed || a.failure != 4 {
						t.Errorf("%s: %s: %+v", when, name, a)
					}
				}
				if r, _ := g.send(make([]byte, 6), nil, 0); r.Status != 2 {
					t.Errorf("%s: TEST UNIT READY: %+v", when, r)
				}
				if ok, _ := g.readable(); ok {
					t.Errorf("%s: blocks can be read", when)
				}
				if _, err := backend(t, g.tr).WriteAt(make([]byte, 512), 0); !errors.Is(err, errIO) {
					t.Errorf("%s: written: %v", when, err)
				}
			}
			busy("at once")
			g.wait(x.seconds - 1)
			g.reopen()
			busy("just before the end")
			if x.state != 0x23 {
				g.holds("just before the end", true, true)
			}
			g.wait(1)
			if x.cycle {
				g.cycle()
			} else if _, err := g.rack.Medium("S"); err != nil { // somebody looks
				t.Fatal(err)
			}
			g.reopen()
			if w := g.identity()[128]; w != x.state || g.medium().Locked() != (x.state&2 != 0) {
				t.Errorf("at the end: word 128 %04x", w)
			}
			g.holds("at the end", x.addressable, x.hidden)
			if got := g.medium().Begun(); !slices.Equal(got, []string{x.begun}) {
				t.Errorf("begun %q", got)
			}
			select {
			case err = <-answered:
			case <-time.After(10 * time.Second):
				t.Fatal("the command does not end")
			}
			switch {
			case (err != nil) != x.fails, errors.Is(err, devices.ErrGone) != (x.state == 0x27):
				t.Errorf("the command ended by %v", err)
			}
			if x.state == 0x27 {
				first, last := make([]byte, 512), make([]byte, 512)
				m := g.medium()
				_, errF := m.ReadAt(first, 0)
				if _, errL := m.ReadAt(last, 1<<20-512); errors.Join(errF, errL) != nil || !zero(first) || zero(last) {
					t.Errorf("not erased in part: %v", errors.Join(errF, errL))
				}
				if g.ata(5, 0xf2, 0, 0, 0, secret(0, "pw")).failed || g.ata(5, 0xf6, 0, 0, 0, secret(0, "pw")).failed || g.identity()[128] != 0x21 {
					t.Error("its password does not come off")
				}
			}
			if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.failed || a.count != 0 {
				t.Errorf("the account of sanitizes: %+v", a)
			}
		})
	}
}

// By the real clock the command lasts as long as the erase, and nobody else waits for it.
func TestSecurityEraseTakesItsTime(t *testing.T) {
	t.Parallel()
	r := newRack(t, Spec{Profile: "sata-ssd", Serial: "S", SizeBytes: 1 << 20, HiddenBytes: 64 << 10, EraseSeconds: 2})
	list, err := r.Drives()
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, rack: r, node: list[0].Node, tr: open(t, r, list[0].Node)}
	t.Cleanup(func() { closeIt(t, g.tr) })
	g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw"))
	g.ata(3, 0xf3, 0, 0, 0, nil)
	begun, ended := time.Now(), make(chan error)
	go func() {
		a, err := g.tr.SCSI(t.Context(), &scsi.Command{CDB: pass(5, 0xf4, 0, 0, 0), Direction: scsi.DataOut, Data: secret(2, "pw"), Timeout: 1})
		if err == nil && readAnswer(a).failed {
			err = errors.New("failed")
		}
		ended <- err
	}()
	other, err := r.Opener()(t.Context(), g.node, devices.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	g.begun()
	asked := 0
	for done := false; !done; {
		select {
		case err := <-ended:
			if done = true; err != nil {
				t.Errorf("%v", err)
			}
		default:
			g.sendTo(other, []byte{0x85, 0x08, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0}, nil, 512)
			asked++
			time.Sleep(10 * time.Millisecond)
		}
	}
	closeIt(t, other)
	if took := time.Since(begun); took < time.Second || took > 30*time.Second || asked < 10 {
		t.Errorf("it took %v, and others were answered %d times", took, asked)
	}
	if w := g.identity()[128]; w != 0x21 {
		t.Errorf("word 128 %04x", w)
	}
	g.holds("afterwards", false, false)
}
