package overwrite

import "errors"

// errUnread: a read was reported as done, and left in a block what was in memory before.
var errUnread = errors.New("the read moved nothing")

// markBlocks puts bytes into each block of a buffer that no medium holds but by a chance of 2^-64: what a read leaves in memory without having read it would look like what was there before, which is all too
// often what should be on the medium.
func (p *pump) markBlocks(data []byte) {
	for at := 0; at < len(data); at += p.Block {
		copy(data[at:], p.mark[:])
	}
}

// marked says whether any block begins as it did before it was read.
func (p *pump) marked(data []byte) bool {
	for at := 0; at+len(p.mark) <= len(data); at += p.Block {
		if [8]byte(data[at:]) == p.mark {
			return true
		}
	}
	return false
}
