package overwrite

import "bytes"

// compare regenerates the pattern and lists the blocks that differ.
func (p *pump) compare(got []byte, e Extent) {
	if p.inspect != nil {
		wrong := NewSet(p.inspect(got, e.Offset)...)
		p.pending.Mismatch = append(p.pending.Mismatch, wrong.extents...)
		p.bad += wrong.Bytes()
		return
	}
	for len(got) > 0 {
		part := got[:min(len(got), len(p.want))]
		p.compareWith(p.want[:len(part)], part, e.Offset)
		got, e.Offset = got[len(part):], e.Offset+int64(len(part))
	}
}

// compareWith does it in a buffer that need not be as large as a request.
func (p *pump) compareWith(want, got []byte, off int64) {
	p.pattern.Fill(want, off)
	if bytes.Equal(got, want) {
		return
	}
	var wrong Set
	for at := 0; at < len(got); at += p.Block {
		if !bytes.Equal(got[at:at+p.Block], want[at:at+p.Block]) {
			wrong.Add(Extent{off + int64(at), int64(p.Block)})
		}
	}
	p.pending.Mismatch = append(p.pending.Mismatch, wrong.extents...)
	p.bad += wrong.Bytes()
}
