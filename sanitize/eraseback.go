package sanitize

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// queue is what carries block I/O to one node.
type queue = blockio.Queue

// pumped opens a queue on a node for as long as do needs it.
func pumped(h devices.Space, do func(queue) error) error {
	q, err := h.Queue(overwrite.QueueDepth)
	if err != nil {
		return fmt.Errorf("open queue: %w", err)
	}
	return errors.Join(do(q), q.Close())
}

// eachNode calls do for each space with its node, which must be the one that was planned.
func (r *run) eachNode(do func(h devices.Space, s space) error) error {
	nodes, spaces := r.handle.Spaces(), r.drive.spaces()
	if len(nodes) != len(spaces) {
		return fmt.Errorf("the drive has %d nodes, planned were %d: %w", len(nodes), len(spaces), devices.ErrChanged)
	}
	for i, s := range spaces {
		if uint64(nodes[i].NSID)+nodes[i].LUN != uint64(s.number) || nodes[i].SizeBytes != s.nodeSize() || nodes[i].LogicalBlock != s.block {
			return fmt.Errorf("%s is not the namespace or logical unit %d that was planned: %w", nodes[i].Node, s.number, devices.ErrChanged)
		}
		if err := do(nodes[i], s); err != nil {
			return err
		}
	}
	return nil
}

// eachSpace calls do for each space with what of a drive-wide set lies in it, at the addresses of
// its node.
func (r *run) eachSpace(ctx context.Context, set overwrite.Set, do func(h devices.Space, s space, todo []overwrite.Extent) error) error {
	return r.eachNode(func(node devices.Space, s space) error {
		in := set.Intersect(overwrite.NewSet(overwrite.Extent{Offset: s.base, Length: s.size})).Shift(-s.base)
		if in.Bytes() == 0 {
			return nil
		}
		h, err := s.ofZones(ctx, node)
		if err != nil {
			return err
		}
		return do(h, s, in.Extents())
	})
}

// options are those of reading and writing a space, with what is done at each commit.
func (r *run) options(s space, commit func(overwrite.Progress) error) overwrite.Options {
	return overwrite.Options{
		Block: s.block, Budget: r.budget, Boundary: s.zones.CapacityBytes, Gone: devices.IsGone, Resets: r.handle.Resets, Moved: &r.meter.moved, Commit: commit,
		Pace: func(ctx context.Context) (overwrite.Pace, error) { return r.paced(ctx, overwrite.MostRequests) }, Now: r.now, Wait: r.wait,
	}
}

// streaming are options for long runs of blocks: how many requests are in flight is found out.
func (r *run) streaming(o overwrite.Options, t *overwrite.Tuner) overwrite.Options {
	o.Tuner = t
	o.Pace = func(ctx context.Context) (overwrite.Pace, error) { return r.paced(ctx, t.InFlight()) }
	return o
}

// verifyErase reads back what the drive's own erase left: all of it, or samples drawn now. After a
// block erase every block must be all 00h or all FFh; after a cryptographic erase alone there is
// nothing to compare with, and no block may begin like a file or a file system does.
func (r *run) verifyErase(ctx context.Context) error {
	var look *erasedBlocks
	counted := func() (zeros, ones int64) {
		zeros, ones = look.zeros, look.ones
		look.zeros, look.ones = 0, 0
		return zeros, ones
	}
	return r.readBack(ctx, func(q queue, s space, todo []overwrite.Extent, o overwrite.Options) error {
		look = &erasedBlocks{block: s.block, leaves: r.drive.Leaves}
		// Blocks may be unreadable after an erase: half of them must tell.
		o.BadLimit = max(o.BadLimit, overwrite.NewSet(todo...).Bytes()/2)
		return overwrite.Inspect(ctx, q, todo, look.judge, o)
	}, counted)
}

// erasedBlocks judges what was read after an erase by the drive, and counts it.
type erasedBlocks struct {
	block       int
	leaves      devices.ReadBack
	zeros, ones int64
}

func (e *erasedBlocks) judge(got []byte, off int64) []overwrite.Extent {
	var wrong []overwrite.Extent
	for at := 0; at+e.block <= len(got); at += e.block {
		b := got[at : at+e.block]
		same := bytes.Count(b, b[:1]) == len(b)
		zeros, ones := same && b[0] == 0x00, same && b[0] == 0xff
		right := false
		switch e.leaves {
		case devices.ReadsZeros:
			right = zeros
		case devices.ReadsConstant:
			right = zeros || ones
		case devices.ReadsAnything:
			right = zeros || ones || !signed(b)
		}
		switch {
		case !right:
			wrong = append(wrong, overwrite.Extent{Offset: off + int64(at), Length: int64(e.block)})
		case zeros:
			e.zeros++
		case ones:
			e.ones++
		}
	}
	return wrong
}

// signatures are beginnings of blocks by which partition tables, volumes and files are known. Each
// is eight bytes or longer, so that noise does not look like one.
var signatures = []struct {
	at   int
	text string
}{
	{0, "EFI PART"}, {0, "LABELONE"}, {0, "LUKS\xba\xbe\x00\x01"}, {0, "LUKS\xba\xbe\x00\x02"}, {3, "NTFS    "}, {3, "EXFAT   "},
	{64, "_BHRfS_M"}, {0, "SQLite format 3\x00"}, {0, "\x89PNG\r\n\x1a\n"},
}

func signed(b []byte) bool {
	for _, s := range signatures {
		if len(b) >= s.at+len(s.text) && string(b[s.at:s.at+len(s.text)]) == s.text {
			return true
		}
	}
	return false
}
