package virtual

import (
	"bytes"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// rig is one drive, full of canaries, that is spoken to in the bytes of the standards.
type rig struct {
	t    *testing.T
	rack *Rack
	node string
	now  *time.Time
	tr   devices.Transport
}

// newRig makes a drive of a profile; an erase takes 100 seconds of a clock that the test moves.
func newRig(t *testing.T, spec Spec, faults ...string) *rig {
	t.Helper()
	spec.Serial, spec.EraseSeconds = "S", 100
	orElse(&spec.SizeBytes, 1<<20)
	orElse(&spec.HiddenBytes, 64<<10)
	now := time.Unix(1_800_000_000, 0)
	g := &rig{t: t, rack: newRack(t, spec), now: &now}
	g.rack.Clock = func() time.Time { return now }
	g.fault(faults...)
	list, err := g.rack.Drives()
	if err != nil {
		t.Fatal(err)
	}
	g.node = list[0].Node
	g.tr = open(t, g.rack, g.node)
	t.Cleanup(func() { closeIt(t, g.tr) })
	return g
}

func (g *rig) fault(list ...string) {
	g.t.Helper()
	for _, text := range list {
		f, err := ParseFault(text)
		if err == nil {
			err = g.rack.Fault("S", f)
		}
		if err != nil {
			g.t.Fatal(err)
		}
	}
}

// reopen opens the drive anew, as faults and power cycles want it.
func (g *rig) reopen() {
	g.t.Helper()
	closeIt(g.t, g.tr)
	g.tr = open(g.t, g.rack, g.node)
}

func (g *rig) cycle() {
	g.t.Helper()
	if err := g.rack.PowerCycle("S"); err != nil {
		g.t.Fatal(err)
	}
	g.reopen()
}

func (g *rig) wait(seconds int) { *g.now = g.now.Add(time.Duration(seconds) * time.Second) }

func (g *rig) send(cdb, out []byte, in int) (scsi.Result, []byte) {
	g.t.Helper()
	return g.sendTo(g.tr, cdb, out, in)
}

func (g *rig) sendTo(tr devices.Transport, cdb, out []byte, in int) (scsi.Result, []byte) {
	g.t.Helper()
	c := &scsi.Command{CDB: cdb, Timeout: time.Second}
	switch {
	case out != nil:
		c.Direction, c.Data = scsi.DataOut, out
	case in > 0:
		c.Direction, c.Data = scsi.DataIn, make([]byte, in)
	}
	r, err := tr.SCSI(g.t.Context(), c)
	if err != nil {
		g.t.Fatalf("CDB %x: %v", cdb, err)
	}
	if in > 0 {
		return r, c.Data[:r.Transferred]
	}
	return r, nil
}

// key is key, ASC and ASCQ of fixed sense data; 0 is GOOD.
func key(r scsi.Result) int {
	if r.Status == 0 {
		return 0
	}
	if len(r.Sense) < 14 {
		return -1
	}
	return int(r.Sense[2]&15)<<16 | int(r.Sense[12])<<8 | int(r.Sense[13])
}

// want sends a command and compares how it ended.
func (g *rig) want(what string, sense int, cdb, out []byte, in int) []byte {
	g.t.Helper()
	r, data := g.send(cdb, out, in)
	if got := key(r); got != sense {
		g.t.Errorf("%s: sense %06x, want %06x", what, got, sense)
	}
	return data
}

// medium is the truth.
func (g *rig) medium() *Medium {
	g.t.Helper()
	m, err := g.rack.Medium("S")
	if err != nil {
		g.t.Fatal(err)
	}
	return m
}

// holds compares where customer data is with where it should be.
func (g *rig) holds(what string, addressable, hidden bool) {
	g.t.Helper()
	a, h, err := g.medium().CountCanary(canary)
	if err != nil || a > 0 != addressable || h > 0 != hidden {
		g.t.Errorf("%s: %d canaries where the host can address, %d where it cannot, %v", what, a, h, err)
	}
}

// readable says whether the block queue reads the first block, and whether old data is in it.
func (g *rig) readable() (ok, old bool) {
	g.t.Helper()
	p := make([]byte, 512)
	_, err := backend(g.t, g.tr).ReadAt(p, 0)
	return err == nil, bytes.Contains(p, canary)
}
