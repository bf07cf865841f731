package overwrite

// compare lists the blocks that are not the pattern.
func (p *pump) compare(got []byte, e Extent) {
	var wrong Set
	switch {
	case p.inspect != nil:
		wrong = NewSet(p.inspect(got, e.Offset)...)
	case p.pattern.Equal(got, e.Offset):
		return
	default:
		wrong = p.differing(got, e)
	}
	p.pending.Mismatch = append(p.pending.Mismatch, wrong.extents...)
	p.bad += wrong.Bytes()
}

// differing names the blocks of a request that is not the pattern.
func (p *pump) differing(got []byte, e Extent) Set {
	var wrong Set
	for at := 0; at < len(got); at += p.Block {
		if off := e.Offset + int64(at); !p.pattern.Equal(got[at:at+p.Block], off) {
			wrong.Add(Extent{off, int64(p.Block)})
		}
	}
	if wrong.Bytes() == 0 {
		wrong.Add(e) // the whole differs and no part does: that cannot be, and proves nothing
	}
	return wrong
}
