package overwrite

import (
	"encoding/binary"
	"errors"
)

// errUnread: a read was reported as done, and left in a block what was in memory before.
var errUnread = errors.New("the read moved nothing")

// markBlocks puts bytes into each block of a buffer that no medium holds but by a chance of 2^-64, others for each
// read: what a read leaves in memory without having read it would look like what was there before, which is all too
// often what should be on the medium.
func (p *pump) markBlocks(data []byte) [8]byte {
	binary.LittleEndian.PutUint64(p.mark[:], binary.LittleEndian.Uint64(p.mark[:])+0x9e3779b97f4a7c15)
	for at := 0; at < len(data); at += p.Block {
		copy(data[at:], p.mark[:])
	}
	return p.mark
}

// marked says whether any block begins as it did before it was read.
func (p *pump) marked(data []byte, mark [8]byte) bool {
	for at := 0; at+len(mark) <= len(data); at += p.Block {
		if [8]byte(data[at:]) == mark {
			return true
		}
	}
	return false
}
