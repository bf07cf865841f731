package overwrite

import (
	"context"
	"testing"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// merged is a medium below a kernel that makes one request of neighbours which it has at the same
// time: a bad block fails all of them.
type merged struct {
	*medium
	flying map[uint64]Extent
}

func (m *merged) Submit(r blockio.Request) error {
	err := m.medium.Submit(r)
	if err == nil && r.Op != blockio.Flush {
		m.flying[r.Tag] = Extent{r.Offset, int64(len(r.Data))}
	}
	return err
}

func (m *merged) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	for changed := true; changed; {
		changed = false
		for i := range m.held {
			for k := range m.held {
				a, b := m.flying[m.held[i].Tag], m.flying[m.held[k].Tag]
				if a.End() == b.Offset && a.Length > 0 && b.Length > 0 && (m.held[i].Err == nil) != (m.held[k].Err == nil) {
					m.held[i].Err, m.held[k].Err = errBad, errBad
					changed = true
				}
			}
		}
	}
	n, err := m.medium.Complete(ctx, done)
	for _, c := range done[:n] {
		delete(m.flying, c.Tag)
	}
	return n, err
}

// Good blocks beside bad ones are written, and not called bad with them.
func TestGoodNeighboursOfBadBlocks(t *testing.T) {
	for _, bad := range [][]int64{{100}, {100, 101, 102}, {0}, {255}, {7, 9, 11, 13}, {40, 41, 80, 120, 121, 160, 200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 240}} {
		m := &merged{newMedium(256, 512), map[uint64]Extent{}}
		for _, b := range bad {
			m.badWrite[b], m.badRead[b] = true, true
		}
		p := anyStream(t)
		var g gather
		if err := Fill(t.Context(), m, []Extent{{0, 256 * 512}}, p, Options{Block: 512, Request: 8192, Commit: g.commit(t, m.medium, p)}); err != nil {
			t.Fatal(err)
		}
		if g.failed.Bytes() != int64(len(bad))*512 || g.done.Bytes() != int64(256-len(bad))*512 {
			t.Errorf("%v: %v failed, %d bytes done", bad, g.failed, g.done.Bytes())
		}
		g = gather{}
		if err := Check(t.Context(), m, []Extent{{0, 256 * 512}}, p, Options{Block: 512, Request: 8192, Commit: g.commit(t, m.medium, nil)}); err != nil {
			t.Fatal(err)
		}
		if g.failed.Bytes() != int64(len(bad))*512 || g.mismatch.Bytes() != 0 {
			t.Errorf("%v: %v unread, %v do not match", bad, g.failed, g.mismatch)
		}
	}
}
