package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// The controller's half of the transport (NVMe over TCP transport specification 1.0): one connection is
// one queue. There are no digests.

// Types of protocol data units (3.6.2).
const (
	pduICReq       = 0x00
	pduICResp      = 0x01
	pduCapsuleCmd  = 0x04
	pduCapsuleResp = 0x05
	pduH2CData     = 0x06
	pduC2HData     = 0x07
	pduR2T         = 0x09

	pduLast = 1 << 2 // flag of the last data unit
)

// How data move. Small enough that a kernel's requests take several of each.
const (
	inCapsule  = 4096      // at most so much in an I/O command's capsule
	ofAdmin    = 8192      // and in another's, which the specification sets (3.3.2.1)
	maxH2CData = 16 << 10  // in one data unit of the host
	r2tLength  = 32 << 10  // asked for at once
	c2hLength  = 64 << 10  // sent in one data unit
	maxPDU     = 256 << 10 // nothing is longer
)

// sqe is a submission queue entry.
type sqe []byte

func (s sqe) opcode() uint8      { return s[0] }
func (s sqe) id() uint16         { return binary.LittleEndian.Uint16(s[2:]) }
func (s sqe) word(at int) uint32 { return binary.LittleEndian.Uint32(s[at:]) }

// length is what the data pointer describes: one SGL descriptor of all of it, in the capsule or not.
func (s sqe) length() (n int, inside bool) { return int(s.word(32)), s[39]>>4 == 0 }

// queue is one connection.
type queue struct {
	target *nvmeTarget
	conn   net.Conn
	id     uint16 // 0 is the admin queue; set by Connect
	joined bool
	size   uint16
	window int // transfers of one command that may be under way (MAXR2T + 1)

	write sync.Mutex
	head  uint16 // guarded by write

	mu        sync.Mutex // guards what follows
	transfers map[uint16]*transfer
	tag       uint16
	closed    chan struct{}
	once      sync.Once
}

// transfer is data that the host was asked for.
type transfer struct {
	base, got int
	into      []byte
	done      func()
}

// run serves the connection until either side ends it.
func (q *queue) run() {
	defer q.target.leave(q)
	defer q.close()
	if err := q.greet(); err != nil {
		return
	}
	for {
		kind, b, err := q.read()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				q.target.note("%v", err)
			}
			return
		}
		switch {
		case kind == pduCapsuleCmd && len(b) >= 72 && b[8] == 0x7f:
			q.target.command(q, sqe(b[8:72]), b[72:]) // its data are in the capsule, and what follows goes by it
		case kind == pduCapsuleCmd && len(b) >= 72:
			go q.target.command(q, sqe(b[8:72]), b[72:])
		case kind == pduH2CData && len(b) >= 24:
			if err := q.accept(b); err != nil {
				q.target.note("%v", err)
				return
			}
		default:
			q.target.note("PDU of type %#x and %d bytes", kind, len(b))
			return
		}
	}
}

func (q *queue) close() {
	q.once.Do(func() {
		close(q.closed)
		_ = q.conn.Close()
	})
}

// greet answers the request to open the connection (3.6.2.2).
func (q *queue) greet() error {
	kind, b, err := q.read()
	if err != nil || kind != pduICReq || len(b) != 128 {
		return fmt.Errorf("no ICReq: %#x %d %w", kind, len(b), err)
	}
	q.window = int(min(binary.LittleEndian.Uint32(b[12:]), 7)) + 1
	answer := header(pduICResp, 128, 128, 0)
	binary.LittleEndian.PutUint32(answer[12:], maxH2CData)
	_, err = q.conn.Write(answer)
	return err
}

// header makes a PDU's header, all of size bytes, of length in all.
func header(kind byte, size, length, data int) []byte {
	b := make([]byte, size, length)
	b[0], b[2], b[3] = kind, byte(size), byte(data)
	binary.LittleEndian.PutUint32(b[4:], uint32(length))
	return b
}

// read reads one PDU. What is between its header and its data is left out.
func (q *queue) read() (kind byte, b []byte, err error) {
	common := make([]byte, 8)
	if _, err := io.ReadFull(q.conn, common); err != nil {
		return 0, nil, err
	}
	n, size, data := int(binary.LittleEndian.Uint32(common[4:])), int(common[2]), int(common[3])
	if n < 8 || n > maxPDU || size < 8 || size > n || data != 0 && (data < size || data > n) {
		return 0, nil, fmt.Errorf("PDU of %d bytes, %d of header, data at %d", n, size, data)
	}
	b = append(common, make([]byte, n-8)...)
	if _, err := io.ReadFull(q.conn, b[8:]); err != nil {
		return 0, nil, err
	}
	if data > size {
		b = append(b[:size:size], b[data:]...)
	}
	return common[0], b, nil
}

// accept takes data that was asked for.
func (q *queue) accept(b []byte) error {
	le := binary.LittleEndian
	tag, off, data := le.Uint16(b[10:]), int(le.Uint32(b[12:])), b[24:]
	q.mu.Lock()
	x := q.transfers[tag]
	bad := x == nil || off != x.base+x.got || x.got+len(data) > len(x.into) || len(data) != int(le.Uint32(b[16:])) || len(data) > maxH2CData
	if bad {
		q.mu.Unlock()
		return fmt.Errorf("H2CData of %d bytes at %d for transfer %d: not asked for", len(data), off, tag)
	}
	x.got += copy(x.into[x.got:], data)
	whole := x.got == len(x.into)
	if whole {
		delete(q.transfers, tag)
	}
	q.mu.Unlock()
	if whole != (b[1]&pduLast != 0) {
		return fmt.Errorf("H2CData at %d: its last flag is wrong", off)
	}
	if whole {
		x.done()
	}
	return nil
}

// fetch asks the host for n bytes of a command, in parts of which several are under way.
func (q *queue) fetch(id uint16, n int) ([]byte, error) {
	all, under := make([]byte, n), make(chan struct{}, q.window)
	take := func() error {
		select {
		case under <- struct{}{}:
			return nil
		case <-q.closed:
			return net.ErrClosed
		}
	}
	for off := 0; off < n; off += r2tLength {
		if err := take(); err != nil {
			return nil, err
		}
		part := all[off:min(n, off+r2tLength)]
		q.mu.Lock()
		q.tag++
		tag := q.tag
		q.transfers[tag] = &transfer{base: off, into: part, done: func() { <-under }}
		q.mu.Unlock()
		le, b := binary.LittleEndian, header(pduR2T, 24, 24, 0)
		le.PutUint16(b[8:], id)
		le.PutUint16(b[10:], tag)
		le.PutUint32(b[12:], uint32(off))
		le.PutUint32(b[16:], uint32(len(part)))
		if err := q.send(b); err != nil {
			return nil, err
		}
	}
	for range q.window { // all are back
		if err := take(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (q *queue) send(b []byte) error {
	q.write.Lock()
	defer q.write.Unlock()
	_, err := q.conn.Write(b)
	return err
}

// complete sends a command's data and its completion.
func (q *queue) complete(id, status uint16, result uint64, data []byte) {
	le := binary.LittleEndian
	var all []byte
	for off := 0; off < len(data); off += c2hLength {
		part := data[off:min(len(data), off+c2hLength)]
		b := header(pduC2HData, 24, 24+len(part), 24)
		if off+len(part) == len(data) {
			b[1] = pduLast
		}
		le.PutUint16(b[8:], id)
		le.PutUint32(b[12:], uint32(off))
		le.PutUint32(b[16:], uint32(len(part)))
		all = append(append(all, b...), part...)
	}
	b := header(pduCapsuleResp, 24, 24, 0)
	le.PutUint64(b[8:], result)
	le.PutUint16(b[18:], q.id)
	le.PutUint16(b[20:], id)
	le.PutUint16(b[22:], status<<1)
	q.write.Lock()
	defer q.write.Unlock()
	q.head = (q.head + 1) % max(1, q.size)
	le.PutUint16(b[16:], q.head)
	_, _ = q.conn.Write(append(all, b...))
}
