package overwrite

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// zonedMedium takes writes at the pointers of its zones alone, one at a time for each zone, and lets so
// many be partly written.
type zonedMedium struct {
	*medium
	zone     int64
	pointers []int64 // within each zone
	dead     map[int64]bool
	active   int  // that may be partly written; 0 is any number
	stays    bool // a failed write leaves the pointer where it was
	ended    map[int64]bool
	wrong    []string
}

func newZonedMedium(zones, blocks, block int) *zonedMedium {
	m := newMedium(zones*blocks, block)
	return &zonedMedium{medium: m, zone: int64(blocks * block), pointers: make([]int64, zones), dead: map[int64]bool{}, ended: map[int64]bool{}}
}

func (m *zonedMedium) complain(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

func (m *zonedMedium) Submit(r blockio.Request) error {
	if r.Op != blockio.Write {
		return m.medium.Submit(r)
	}
	n, open := r.Offset/m.zone, 0
	if r.Offset%m.zone+int64(len(r.Data)) > m.zone {
		m.complain("%d+%d reaches into the next zone", r.Offset, len(r.Data))
	}
	for _, c := range m.held {
		if c.Tag == r.Tag {
			m.complain("tag %d twice", c.Tag)
		}
	}
	for i, p := range m.pointers {
		if int64(i) != n && p > 0 && p < m.zone && !m.ended[int64(i)] {
			open++
		}
	}
	if m.active > 0 && open >= m.active {
		m.complain("%d zones are partly written, and zone %d is begun", open, n)
	}
	if m.pointers[n] != r.Offset%m.zone {
		m.complain("a write at %d, the pointer of zone %d is %d", r.Offset, n, m.pointers[n])
	}
	if m.dead[n] {
		m.held = append(m.held, blockio.Completion{Tag: r.Tag, Err: errBad})
		return nil
	}
	before := len(m.held)
	err := m.medium.Submit(r)
	if err == nil && (m.held[before].Err == nil || !m.stays) {
		m.pointers[n] += int64(m.held[before].N)
	}
	return err
}

func (m *zonedMedium) options(t testing.TB, g *gather, p Pattern, lanes int) Options {
	return Options{Block: m.block, Request: 4 * m.block, Boundary: m.zone, Commit: g.commit(t, m.medium, p), Zoned: &Zoned{
		Lanes: lanes,
		Pointer: func(off int64) (int64, error) {
			if m.dead[off/m.zone] {
				return 0, errBad
			}
			return off/m.zone*m.zone + m.pointers[off/m.zone], nil
		},
		End: func(part Extent, broken bool) error {
			if m.ended[part.Offset/m.zone] {
				m.complain("zone %d ends twice", part.Offset/m.zone)
			}
			m.ended[part.Offset/m.zone] = true
			if full := m.pointers[part.Offset/m.zone] == part.Length; !full && !broken {
				m.complain("zone %d is broken: %v, written %d", part.Offset/m.zone, broken, m.pointers[part.Offset/m.zone])
			}
			return nil
		},
	}}
}

// Whatever fails, every zone is written in order from its start with one write in flight, no more are begun than
// may be, each block is done or failed and not both, and what is done is on the medium.
func TestFillZones(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const block = 512
		blocks := rapid.IntRange(1, 11).Draw(rt, "blocks of a zone")
		m := newZonedMedium(rapid.IntRange(1, 8).Draw(rt, "zones"), blocks, block)
		m.active, m.stays = rapid.IntRange(0, 3).Draw(rt, "active"), rapid.Bool().Draw(rt, "stays")
		for _, b := range rapid.SliceOfN(rapid.Int64Range(0, int64(len(m.stable)/block)-1), 0, 4).Draw(rt, "bad") {
			m.badWrite[b] = true
		}
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, int64(len(m.pointers))-1), 0, 2).Draw(rt, "dead") {
			m.dead[n] = true
		}
		g, p := &gather{}, anyStream(t)
		all := Extent{0, int64(len(m.stable))}
		if err := Fill(t.Context(), m, []Extent{all}, p, m.options(t, g, p, m.active)); err != nil {
			rt.Fatal(err)
		}
		if len(m.wrong) > 0 {
			rt.Fatal(m.wrong)
		}
		if g.done.Intersect(g.failed).Bytes() != 0 || NewSet(all).Without(g.done).Without(g.failed).Bytes() != 0 {
			rt.Fatalf("done %v, failed %v", g.done, g.failed)
		}
		for b := range m.badWrite {
			n := b / int64(blocks)
			rest := NewSet(Extent{b * block, (n+1)*m.zone - b*block})
			if left := rest.Intersect(g.done).Bytes(); left != 0 {
				rt.Fatalf("%d bytes behind a block that cannot be written are done", left)
			}
		}
		for n := range m.pointers {
			if first := firstBad(m.badWrite, int64(n), int64(blocks)); m.stays && !m.dead[int64(n)] && NewSet(Extent{int64(n) * m.zone, first * block}).Without(g.done).Bytes() != 0 {
				rt.Fatalf("zone %d is done up to %v, and %d blocks of it can be written", n, g.done, first)
			}
			if whole := NewSet(Extent{int64(n) * m.zone, m.zone}); !m.dead[int64(n)] && whole.Intersect(g.failed).Bytes() == 0 && m.pointers[n] != m.zone {
				rt.Fatalf("zone %d is written up to %d", n, m.pointers[n])
			}
			if !m.ended[int64(n)] {
				rt.Fatalf("zone %d was not ended", n)
			}
		}
	})
}

// firstBad is how many blocks of a zone come before one that cannot be written.
func firstBad(bad map[int64]bool, zone, blocks int64) int64 {
	for n := range blocks {
		if bad[zone*blocks+n] {
			return n
		}
	}
	return blocks
}

// A write that fails once, and not again, costs what it may have brought, and no more.
func TestZoneGoesOnAfterAFailure(t *testing.T) {
	m := newZonedMedium(1, 16, 512)
	m.badWrite[6] = true
	m.onSubmit = func(r blockio.Request) {
		if r.Op == blockio.Write && r.Offset == 6*512 {
			delete(m.badWrite, 6)
		}
	}
	g, p := &gather{}, anyStream(t)
	if err := Fill(t.Context(), m, []Extent{{0, 16 * 512}}, p, m.options(t, g, p, 0)); err != nil || len(m.wrong) > 0 {
		t.Fatal(err, m.wrong)
	}
	if want := []Extent{{4 * 512, 2 * 512}}; g.failed.Len() != 1 || g.failed.Extents()[0] != want[0] || g.done.Bytes() != 14*512 {
		t.Errorf("failed %v, done %v", g.failed, g.done)
	}
}

// A part that could not be ended is not to be relied on.
func TestPartThatDoesNotEnd(t *testing.T) {
	m := newZonedMedium(2, 8, 512)
	g, p := &gather{}, anyStream(t)
	o := m.options(t, g, p, 0)
	o.Zoned.End = func(part Extent, _ bool) error {
		if part.Offset > 0 {
			return errBad
		}
		return nil
	}
	if err := Fill(t.Context(), m, []Extent{{0, 1024}, {8 * 512, 1024}}, p, o); err != nil || len(m.wrong) > 0 {
		t.Fatal(err, m.wrong)
	}
	if g.failed.Bytes() != 1024 || g.failed.Extents()[0].Offset != 8*512 {
		t.Errorf("failed %v", g.failed)
	}
}

func TestZonesNeedABoundary(t *testing.T) {
	m := newZonedMedium(1, 8, 512)
	o := m.options(t, &gather{}, nil, 0)
	o.Boundary = 0
	if err := Fill(t.Context(), m, []Extent{{0, 4096}}, anyStream(t), o); err == nil || m.writes > 0 {
		t.Error(err)
	}
}

// No request reaches across a boundary, whatever the extents.
func TestBoundary(t *testing.T) {
	m := newMedium(64, 512)
	m.onSubmit = func(r blockio.Request) {
		if r.Op != blockio.Flush && r.Offset/(5*512) != (r.Offset+int64(len(r.Data))-1)/(5*512) {
			t.Errorf("%v %d+%d", r.Op, r.Offset, len(r.Data))
		}
	}
	p := anyStream(t)
	o := Options{Block: 512, Request: 8 * 512, Boundary: 5 * 512}
	if err := Fill(t.Context(), m, []Extent{{512, 60 * 512}}, p, o); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), m, []Extent{{512, 60 * 512}}, p, o); err != nil || !bytes.Equal(m.stable[512:61*512], expect(p, 61*512)[512:]) {
		t.Fatal(err)
	}
}

func TestZoneMarkers(t *testing.T) {
	seed := bytes.Repeat([]byte{9}, KeySize)
	for _, x := range []struct {
		name                   string
		zones, capacity, count int64
		take, each             int64
	}{
		{"one zone", 1, 100, 2000, 1, 100}, {"few", 8, 1000, 2000, 7, 286}, {"small zones", 100, 3, 2000, 88, 3}, {"many", 904, 275712, 2000, 500, 4}, {"a share", 904, 275712, 10, 500, 1},
	} {
		extents, err := ZoneMarkers(x.zones, x.capacity, 4096, x.count, seed)
		set := NewSet(extents...)
		if err != nil || set.Bytes() != x.take*x.each*4096 {
			t.Errorf("%s: %d blocks, %v", x.name, set.Bytes()/4096, err)
		}
		for _, e := range extents {
			if e.Offset%(x.capacity*4096) != 0 || e.End() > x.zones*x.capacity*4096 {
				t.Errorf("%s: %v", x.name, e)
			}
		}
	}
	for _, x := range [][3]int64{{0, 1, 512}, {1, 0, 512}, {1, 1, 0}} {
		if e, err := ZoneMarkers(x[0], x[1], int(x[2]), 1, seed); err == nil {
			t.Errorf("%v: %v", x, e)
		}
	}
}
