package virtual

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/blockio/blockiotest"
)

// Queues of virtual drives keep the contract that those of real nodes keep, with blocks of every size: those that a
// kernel does not carry are read and written by commands.
func TestQueues(t *testing.T) {
	for _, x := range []Spec{
		{Profile: "plain", LogicalBlock: 512}, {Profile: "sata-hdd", LogicalBlock: 4096}, {Profile: "nvme-ssd", LogicalBlock: 512},
		{Profile: "sas-520"}, {Profile: "sas-520", LogicalBlock: 4160},
	} {
		t.Run(fmt.Sprintf("%s %d", x.Profile, x.LogicalBlock), func(t *testing.T) {
			block := max(x.LogicalBlock, 512)
			if x.Profile == "sas-520" {
				block = max(x.LogicalBlock, 520)
			}
			x.Serial, x.SizeBytes = "A", int64(256*block)
			r := newRack(t, x)
			const bad = 200
			for _, kind := range []string{WriteError, ReadError} {
				if err := r.Fault("A", Fault{Kind: kind, Block: bad, Count: 1}); err != nil {
					t.Fatal(err)
				}
			}
			host := r.Host(nil)
			drives, err := host.Drives(t.Context())
			if err != nil || len(drives) != 1 {
				t.Fatal(drives, err)
			}
			h, err := host.Open(t.Context(), drives[0], devices.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			g := h.Spaces()[0].Geometry
			if g.LogicalBlock != block {
				t.Fatalf("blocks of %d bytes, made with %d", g.LogicalBlock, block)
			}
			blockiotest.Run(t, blockiotest.Target{
				Size: g.SizeBytes, Block: block, Bad: int64(bad * block),
				Open: func(t *testing.T, depth int) blockio.Queue {
					t.Helper()
					q, err := h.Queue(depth)
					if err != nil {
						t.Fatal(err)
					}
					return q
				},
				// What is on the medium, once the cache is.
				Read: func(t *testing.T, p []byte, off int64) {
					t.Helper()
					q, err := h.Queue(1)
					if err != nil {
						t.Fatal(err)
					}
					var done [1]blockio.Completion
					if err := q.Submit(blockio.Request{Op: blockio.Flush}); err != nil {
						t.Fatal(err)
					}
					if _, err := q.Complete(t.Context(), done[:]); err != nil || done[0].Err != nil {
						t.Fatal(err, done[0].Err)
					}
					if err := q.Close(); err != nil {
						t.Fatal(err)
					}
					m, err := r.Medium("A")
					if err != nil {
						t.Fatal(err)
					}
					if _, err := m.ReadAt(p, off); err != nil {
						t.Fatal(err)
					}
				},
			})
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			m, err := r.Medium("A")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, block)
			if _, err := m.ReadAt(got, int64(bad*block)); err != nil || !bytes.Contains(got, canary) {
				t.Errorf("the block that cannot be written is %x… (%v)", got[:16], err)
			}
		})
	}
}
