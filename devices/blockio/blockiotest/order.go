package blockiotest

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// testOrder: any sequence of requests leaves what plain writes one after the other would, and reads see it.
// Requests that touch the same blocks are not in flight together: their order is nobody's promise.
func testOrder(t *testing.T, target Target) {
	blocks := int(min(target.usable()/int64(target.Block), 512))
	model := make([]byte, blocks*target.Block)
	target.Read(t, model, 0)
	generation := byte(0)
	rapid.Check(t, func(r *rapid.T) {
		depth := rapid.IntRange(1, 12).Draw(r, "depth")
		q := target.open(t, depth)
		type flight struct {
			request blockio.Request
			want    []byte // of a read
		}
		flights := map[uint64]flight{}
		done := make([]blockio.Completion, depth)
		settle := func(until int) {
			for len(flights) > until {
				n, err := q.Complete(t.Context(), done[:rapid.IntRange(1, depth).Draw(r, "room")])
				if err != nil {
					r.Fatal(err)
				}
				for _, c := range done[:n] {
					f, ok := flights[c.Tag]
					delete(flights, c.Tag)
					if !ok || c.Err != nil || c.N != len(f.request.Data) {
						r.Fatalf("%v %d+%d: %+v", f.request.Op, f.request.Offset, len(f.request.Data), c)
					}
					if f.request.Op == blockio.Read && !bytes.Equal(f.request.Data, f.want) {
						r.Fatalf("read %d+%d: not what was written", f.request.Offset, len(f.request.Data))
					}
				}
			}
		}
		// A buffer is used again and again, in parts, as those of a budget are.
		buffers := make([][]byte, depth+1)
		for tag := range uint64(rapid.IntRange(1, 40).Draw(r, "requests")) {
			request := blockio.Request{Op: blockio.Op(rapid.IntRange(0, 2).Draw(r, "op")), Tag: tag}
			if request.Op != blockio.Flush {
				from := rapid.IntRange(0, blocks-1).Draw(r, "from")
				n := rapid.IntRange(1, min(blocks-from, max(2, 160<<10/target.Block))).Draw(r, "blocks")
				request.Offset = int64(from * target.Block)
				for _, f := range flights {
					if f.request.Offset < request.Offset+int64(n*target.Block) && request.Offset < f.request.Offset+int64(len(f.request.Data)) {
						settle(0)
						break
					}
				}
				i := int(tag) % len(buffers)
				if need := n * target.Block; len(buffers[i]) < need {
					settle(0)
					buffers[i] = blockio.AlignedBuffer(need)
				}
				for _, f := range flights {
					if len(f.request.Data) > 0 && &f.request.Data[0] == &buffers[i][0] {
						settle(0)
						break
					}
				}
				request.Data = buffers[i][:n*target.Block]
			}
			settle(depth - 1)
			f := flight{request: request}
			switch place := model[request.Offset:]; request.Op {
			case blockio.Write:
				generation++
				Fill(request.Data, request.Offset, generation)
				copy(place, request.Data)
			case blockio.Read:
				clear(request.Data)
				f.want = bytes.Clone(place[:len(request.Data)])
			}
			flights[tag] = f
			if err := q.Submit(request); err != nil {
				r.Fatal(err)
			}
		}
		if rapid.Bool().Draw(r, "settled") {
			settle(0)
		}
		if err := q.Close(); err != nil {
			r.Fatal(err)
		}
		if got := target.stored(t, 0, int64(len(model))); !bytes.Equal(got, model) {
			r.Fatalf("what is stored differs from plain writes, first at %d", first(got, model))
		}
	})
}
