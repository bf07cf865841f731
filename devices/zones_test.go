package devices_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// bent lets a test change what a drive answers, and see what it is asked.
type bent struct {
	devices.Transport
	mu   *sync.Mutex
	bend func(c *nvme.Command, done *nvme.Completion)
}

func (b bent) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	done, err := b.Transport.NVMe(ctx, c)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bend(c, &done)
	return done, err
}

func bending(r *virtual.Rack, bend func(c *nvme.Command, done *nvme.Completion)) *devices.Host {
	return devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := r.Opener()(ctx, node, access)
		return bent{tr, &sync.Mutex{}, bend}, err
	}, nil)
}

func zonedRack(t *testing.T) *virtual.Rack {
	t.Helper()
	return rackOf(t, virtual.Spec{Profile: "nvme-zns", Serial: "A", SizeBytes: 8 << 20, ZoneBytes: 16 << 10, ZoneCapacityBytes: 12 << 10})
}

func TestZonesAreRead(t *testing.T) {
	r := zonedRack(t)
	fault(t, r, "A", "zone-offline:3+2")
	fault(t, r, "A", "zone-read-only:500+1")
	d := onlyDrive(t, r.Host(nil))
	want := devices.Zones{Count: 512, SizeBytes: 16 << 10, CapacityBytes: 12 << 10}
	if n := d.Namespaces[0]; d.State != devices.StateReady || !n.Zoned || n.Zones != want || n.SizeBytes != 8<<20 || n.Zones.Bytes() != 6<<20 {
		t.Errorf("%s %v %+v", d.State, d.Reasons, d.Namespaces)
	}
	offline, is := d.Lack(devices.ReasonZonesOffline)
	readOnly, too := d.Lack(devices.ReasonZonesReadOnly)
	if !is || !too || !strings.Contains(offline.Message, "2 of 512 zones of namespace 1 can neither be written nor read (offline): 24576 bytes") || !strings.Contains(readOnly.Message, "1 of 512 zones of namespace 1 cannot be written (read-only): 12288 bytes") {
		t.Errorf("%+v", d.Lacks)
	}
	if d := onlyDrive(t, rackOf(t, virtual.Spec{Profile: "nvme-ssd", Serial: "B"}).Host(nil)); d.Namespaces[0].Zoned || d.Namespaces[0].Zones != (devices.Zones{}) {
		t.Errorf("%+v", d.Namespaces)
	}
}

// What is missing, malformed or contradicts itself is not relied on.
func TestZonesThatCannotBeReliedOn(t *testing.T) {
	at := func(page []byte, zone int) []byte { return page[64*(zone+1):] }
	put := binary.LittleEndian.PutUint64
	for _, x := range []struct {
		name   string
		report func(page []byte, done *nvme.Completion)
		zoned  func(page []byte, done *nvme.Completion)
		blocks func(page []byte)
		code   string
	}{
		{name: "no report", report: func(_ []byte, done *nvme.Completion) { done.Status = 0x4001 }},
		{name: "a report of zeros", report: func(p []byte, _ *nvme.Completion) { clear(p) }},
		{name: "one zone less", report: func(p []byte, _ *nvme.Completion) { put(p, binary.LittleEndian.Uint64(p)-1) }},
		{name: "one zone more", report: func(p []byte, _ *nvme.Completion) { put(p, binary.LittleEndian.Uint64(p)+1) }},
		{name: "zones overlap", report: func(p []byte, _ *nvme.Completion) { put(at(p, 1)[16:], 31); put(at(p, 1)[24:], 31) }},
		{name: "a hole", report: func(p []byte, _ *nvme.Completion) { put(at(p, 1)[16:], 33); put(at(p, 1)[24:], 33) }},
		{name: "the first zone elsewhere", report: func(p []byte, _ *nvme.Completion) { put(at(p, 0)[16:], 1); put(at(p, 0)[24:], 1) }},
		{name: "larger than its distance", report: func(p []byte, _ *nvme.Completion) { put(at(p, 0)[8:], 33) }},
		{name: "a state that there is not", report: func(p []byte, _ *nvme.Completion) { at(p, 7)[1] = 0x70 }},
		{name: "a type that there is not", report: func(p []byte, _ *nvme.Completion) { at(p, 7)[0] = 1 }},
		{name: "a write pointer behind its zone", report: func(p []byte, _ *nvme.Completion) { at(p, 0)[1] = 0x20; put(at(p, 0)[24:], 25) }},
		{name: "not identified", zoned: func(_ []byte, done *nvme.Completion) { done.Status = 0x4002 }},
		{name: "zones of no blocks", zoned: func(p []byte, _ *nvme.Completion) { clear(p) }},
		{name: "another size", zoned: func(p []byte, _ *nvme.Completion) { put(p[2816:], 64) }},
		{name: "larger than the namespace", zoned: func(p []byte, _ *nvme.Completion) { put(p[2816:], 1<<40) }},
		{name: "capacities vary", zoned: func(p []byte, _ *nvme.Completion) { p[0] = 1 }, code: devices.ReasonZonesKind},
		{name: "metadata", blocks: func(p []byte) { p[128] = 8 }, code: devices.ReasonZonesKind},
		{name: "one is smaller", report: func(p []byte, _ *nvme.Completion) { put(at(p, 9)[8:], 23) }, code: devices.ReasonZonesKind},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := onlyDrive(t, bending(zonedRack(t), func(c *nvme.Command, done *nvme.Completion) {
				switch {
				case x.report != nil && c.Queue == nvme.IO && c.Opcode == 0x7a:
					x.report(c.Data, done)
				case x.zoned != nil && c.Queue == nvme.Admin && c.Opcode == 0x06 && c.CDW10&0xff == 5:
					x.zoned(c.Data, done)
				case x.blocks != nil && c.Queue == nvme.Admin && c.Opcode == 0x06 && c.CDW10&0xff == 0:
					x.blocks(c.Data)
				}
			}))
			if x.code == "" {
				x.code = devices.ReasonZonesUnknown
			}
			if d.State != devices.StateBlocked || reasons(d) != x.code || d.Namespaces[0].Zones != (devices.Zones{}) || d.Reasons[0].Hint == "" {
				t.Errorf("%s %+v %+v", d.State, d.Reasons, d.Namespaces)
			}
		})
	}
}

// A space whose addresses count the blocks that exist: requests find their zone, stay in it, and are
// cut to what the drive moves at once.
func TestCompact(t *testing.T) {
	var lengths []int
	h := bending(zonedRack(t), func(c *nvme.Command, _ *nvme.Completion) {
		switch {
		case c.Queue == nvme.Admin && c.Opcode == 0x06 && c.CDW10&0xff == 1:
			c.Data[77] = 1 // MDTS: 8 KiB
		case c.Queue == nvme.IO && c.Opcode <= 2:
			lengths = append(lengths, len(c.Data))
		}
	})
	handle, err := h.Open(t.Context(), onlyDrive(t, h), devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	space := handle.Spaces()[0]
	report, err := space.ReadZones(t.Context())
	if err != nil || report.Most != 8<<10 || report.AtOnce != 0 || report.List[511] != (devices.Zone{Start: 511 * 16 << 10, Capacity: 12 << 10, State: devices.ZoneEmpty}) {
		t.Fatalf("%+v %v", report.List[511], err)
	}
	q, err := space.Compact(report).Queue(1)
	if err != nil {
		t.Fatal(err)
	}
	do := func(op blockio.Op, off int64, data []byte) error {
		t.Helper()
		var done [1]blockio.Completion
		if err := q.Submit(blockio.Request{Op: op, Offset: off, Data: data}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Complete(t.Context(), done[:]); err != nil {
			t.Fatal(err)
		}
		return done[0].Err
	}
	lengths = nil
	data := bytes.Repeat([]byte{7}, 12<<10)
	if err := errors.Join(do(blockio.Write, 12<<10, data), do(blockio.Flush, 0, nil)); err != nil || len(lengths) != 3 || lengths[0] != 8<<10 || lengths[1] != 4<<10 {
		t.Errorf("%v, commands of %d bytes", err, lengths)
	}
	got := make([]byte, 12<<10)
	if err := do(blockio.Read, 12<<10, got); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	if now, err := space.ReadZones(t.Context()); err != nil || now.List[1].State != devices.ZoneFull || now.List[0].State != devices.ZoneEmpty || now.List[2].State != devices.ZoneEmpty {
		t.Errorf("%v %+v", err, now.List[:3])
	}
	lengths = nil
	for name, x := range map[string]struct{ off, n int64 }{"across zones": {11 << 10, 2 << 10}, "behind the end": {6 << 20, 512}, "before": {-512, 512}, "half a block": {256, 512}, "of half a block": {0, 256}} {
		if err := do(blockio.Write, x.off, make([]byte, x.n)); err == nil || len(lengths) > 0 {
			t.Errorf("%s: %v, %d commands", name, err, len(lengths))
		}
	}
	if err := do(blockio.Write, 512, data[:512]); err == nil || devices.IsGone(err) {
		t.Errorf("not at the write pointer: %v", err)
	}
	if err := errors.Join(space.ResetZone(t.Context(), 16<<10, false), do(blockio.Write, 12<<10, data[:512]), space.FinishZone(t.Context(), 16<<10), do(blockio.Write, 24<<10, data[:512])); err != nil {
		t.Error(err)
	}
	if now, err := space.ReadZones(t.Context()); err != nil || now.List[1].State != devices.ZoneFull || now.List[2] != (devices.Zone{Start: 32 << 10, Capacity: 12 << 10, State: devices.ZoneBegun, Written: 512}) {
		t.Errorf("%v %+v", err, now.List[:3])
	}
	if err := space.ResetZone(t.Context(), 0, true); err != nil {
		t.Error(err)
	}
	if now, err := space.ReadZones(t.Context()); err != nil || now.List[1].State != devices.ZoneEmpty || now.List[2].State != devices.ZoneEmpty {
		t.Errorf("%v %+v", err, now.List[:3])
	}
	if err := errors.Join(q.Close(), handle.Close()); err != nil {
		t.Error(err)
	}
}

// A drive that erases itself does not tell its zones: it is the same drive all the same, and another when its
// zones are others.
func TestReidentifyZoned(t *testing.T) {
	bend := func(*nvme.Command, *nvme.Completion) {}
	h := bending(zonedRack(t), func(c *nvme.Command, done *nvme.Completion) { bend(c, done) })
	handle, err := h.Open(t.Context(), onlyDrive(t, h), devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bend = func(c *nvme.Command, done *nvme.Completion) {
		if c.Queue == nvme.IO {
			done.Status = 0x401d
		}
	}
	if err := handle.Reidentify(t.Context()); err != nil {
		t.Error(err)
	}
	bend = func(c *nvme.Command, _ *nvme.Completion) {
		if c.Queue == nvme.IO && c.Opcode == 0x7a {
			for at := 64; at < len(c.Data); at += 64 {
				if c.Data[at+8] == 24 {
					c.Data[at+8] = 16
				}
			}
		}
	}
	if err := handle.Reidentify(t.Context()); !errors.Is(err, devices.ErrChanged) {
		t.Errorf("zones of another capacity: %v", err)
	}
	if err := handle.Close(); err != nil {
		t.Error(err)
	}
}
