package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// A controller of NVMe over Fabrics (NVMe base 2.0, 6) that a virtual drive stands behind. What makes it a
// controller of a fabric it answers by itself; every command of a drive it passes on as it is.

// fate is what becomes of a command.
type fate int

const (
	passed  fate = iota // carried out and answered
	dropped             // not carried out, never answered
	severed             // not carried out: the connections are cut
	lost                // carried out; the connections are cut in place of an answer
)

// nvmeTarget is a drive's controller.
type nvmeTarget struct {
	ctx     context.Context
	serial  string
	open    func() (map[uint32]devices.Transport, error) // the drive's namespaces, by NSID
	address string
	say     func(format string, args ...any)

	mu      sync.Mutex // guards what follows
	nqn     string
	cntlid  uint16
	units   map[uint32]devices.Transport // by NSID
	opened  []devices.Transport
	admin   devices.Transport
	queues  map[*queue]bool
	waiting []event  // requests for asynchronous events
	changed []uint32 // namespaces that the host was not told of
	config  uint32   // CC
	off     bool     // it takes no connections

	// before decides on a command and may hold it; nil passes all. queue 0 is the admin queue.
	before func(queue uint16, c *nvme.Command) fate
}

// event is a request for an asynchronous event that is held until there is one.
type event struct {
	q  *queue
	id uint16
}

// newNVMeTarget serves a drive to guests.
func newNVMeTarget(t *testing.T, serial string, open func() (map[uint32]devices.Transport, error)) *nvmeTarget {
	t.Helper()
	n := &nvmeTarget{ctx: t.Context(), serial: serial, open: open, queues: map[*queue]bool{}, say: t.Logf}
	if err := n.powerOn(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.powerOff)
	n.listen(t)
	return n
}

// path is another controller of the same drive.
func (n *nvmeTarget) path(t *testing.T) *nvmeTarget {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &nvmeTarget{ctx: n.ctx, serial: n.serial, queues: map[*queue]bool{}, say: n.say, nqn: n.nqn, cntlid: n.cntlid + 1, units: maps.Clone(n.units), admin: n.admin}
	p.listen(t)
	return p
}

func (n *nvmeTarget) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = l.Addr().String()
	t.Cleanup(func() {
		_ = l.Close()
		n.cut(true)
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.accept(conn)
		}
	}()
}

// options are what a guest's kernel is told to connect.
func (n *nvmeTarget) options() string {
	_, port, _ := net.SplitHostPort(n.address)
	return fmt.Sprintf("transport=tcp,traddr=10.0.2.2,trsvcid=%s,nqn=%s,nr_io_queues=1,nr_write_queues=1,reconnect_delay=1,keep_alive_tmo=30", port, n.nqn)
}

// powerOn opens the drive's nodes and learns its name.
func (n *nvmeTarget) powerOn() error {
	units, err := n.open()
	if err != nil {
		return err
	}
	page := make([]byte, 4096)
	c := nvme.IdentifyController{}.Command()
	c.Data = page
	if done, err := units[1].NVMe(n.ctx, c); err != nil || done.Status != 0 {
		return fmt.Errorf("identify: %v %v", done.Err(), err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened, n.units, n.admin, n.off = slices.Collect(maps.Values(units)), units, units[1], false
	n.nqn, n.cntlid = string(bytes.Trim(page[768:1024], "\x00")), binary.LittleEndian.Uint16(page[78:])
	return nil
}

// powerOff closes them. The drive's own state is the rack's.
func (n *nvmeTarget) powerOff() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.opened {
		_ = t.Close()
	}
	n.opened, n.units, n.admin = nil, nil, nil
}

// cut ends all connections; when the target is to stay away it takes no others.
func (n *nvmeTarget) cut(away bool) {
	n.mu.Lock()
	n.off = n.off || away
	list := make([]*queue, 0, len(n.queues))
	for q := range n.queues {
		list = append(list, q)
	}
	n.mu.Unlock()
	for _, q := range list {
		q.close()
	}
}

// back lets the host connect again.
func (n *nvmeTarget) back() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off = false
}

// watch sets what decides on commands.
func (n *nvmeTarget) watch(before func(queue uint16, c *nvme.Command) fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before = before
}

// detach takes a namespace from the host, which is told.
func (n *nvmeTarget) detach(nsid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.units, nsid)
	n.changed = append(n.changed, nsid)
	if len(n.waiting) > 0 {
		e := n.waiting[0]
		n.waiting = n.waiting[1:]
		go e.q.complete(e.id, 0, 2|0<<8|0x04<<16, nil) // a notice: namespace attributes changed
	}
}

func (n *nvmeTarget) note(format string, args ...any) {
	if n.ctx.Err() == nil {
		n.say("target %s: %s", n.serial, fmt.Sprintf(format, args...))
	}
}

func (n *nvmeTarget) accept(conn net.Conn) {
	q := &queue{target: n, conn: conn, transfers: map[uint16]*transfer{}, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.off {
		_ = conn.Close()
		return
	}
	n.queues[q] = true
	go q.run()
}

func (n *nvmeTarget) leave(q *queue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.queues, q)
	n.waiting = slices.DeleteFunc(n.waiting, func(e event) bool { return e.q == q })
}

// Statuses that the controller itself answers with.
const (
	statusInvalidOpcode    = 0x4001
	statusInvalidField     = 0x4002
	statusDataTransfer     = 0x0004
	statusSequence         = 0x000c
	statusInvalidNamespace = 0x400b
	statusConnectInvalid   = 0x4182
)

// command carries out one command of a queue.
func (n *nvmeTarget) command(q *queue, s sqe, inside []byte) {
	length, within := s.length()
	var data []byte
	toHost := s.opcode()&3 == 2
	if s.opcode() == 0x7f {
		toHost = s[4]&3 == 2
	}
	switch {
	case length == 0:
	case length > maxPDU, within && len(inside) != length:
		q.complete(s.id(), statusDataTransfer, 0, nil)
		return
	case within:
		data = inside
	case toHost:
		data = make([]byte, length)
	default:
		var err error
		if data, err = q.fetch(s.id(), length); err != nil {
			return
		}
	}
	var status uint16
	var result uint64
	switch {
	case s.opcode() == 0x7f:
		status, result = n.fabrics(q, s, data)
	case !q.joined:
		status = statusSequence
	case q.id == 0 && s.opcode() == 0x0c:
		n.mu.Lock()
		n.waiting = append(n.waiting, event{q, s.id()})
		n.mu.Unlock()
		return
	default:
		var answered bool
		if status, result, answered = n.drive(q, s, data); !answered {
			return
		}
	}
	if !toHost || status != 0 {
		data = nil
	}
	q.complete(s.id(), status, result, data)
}

// fabrics is the commands that only fabrics have (NVMe base 2.0, 6.3 to 6.6).
func (n *nvmeTarget) fabrics(q *queue, s sqe, data []byte) (status uint16, result uint64) {
	le := binary.LittleEndian
	switch s[4] {
	case 0x01:
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(data) != 1024 || string(bytes.Trim(data[256:512], "\x00")) != n.nqn {
			return statusConnectInvalid, 0
		}
		q.id, q.size, q.joined = le.Uint16(s[42:]), le.Uint16(s[44:])+1, true
		if q.id == 0 {
			n.config = 0
		}
		return 0, uint64(n.cntlid)
	case 0x00, 0x04:
	default:
		return statusInvalidOpcode, 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s[4] == 0x00 {
		if s.word(44) == 0x14 {
			n.config = s.word(48)
		}
		return 0, 0
	}
	switch s.word(44) {
	case 0x00: // CAP: 128 entries, contiguous queues, 30 s, NVM and any other command set
		return 0, 127 | 1<<16 | 60<<24 | (1<<0|1<<6)<<37
	case 0x08:
		return 0, 2 << 16
	case 0x14:
		return 0, uint64(n.config)
	case 0x1c: // CSTS: ready as soon as enabled, shut down as soon as told
		csts := uint64(n.config & 1)
		if n.config>>14&3 != 0 {
			csts |= 2 << 2
		}
		return 0, csts
	}
	return statusInvalidField, 0
}

// drive passes a command on.
func (n *nvmeTarget) drive(q *queue, s sqe, data []byte) (status uint16, result uint64, answered bool) {
	c := &nvme.Command{Opcode: s.opcode(), NSID: s.word(4), CDW2: s.word(8), CDW3: s.word(12), CDW10: s.word(40), CDW11: s.word(44),
		CDW12: s.word(48), CDW13: s.word(52), CDW14: s.word(56), CDW15: s.word(60), Data: data, Timeout: time.Hour}
	n.mu.Lock()
	before, door := n.before, n.admin
	if q.id != 0 {
		c.Queue, door = nvme.IO, n.units[c.NSID]
	}
	n.mu.Unlock()
	then := passed
	if before != nil {
		then = before(q.id, c)
	}
	switch {
	case then == dropped:
		return 0, 0, false
	case then == severed:
		n.cut(false)
		return 0, 0, false
	case c.Queue == nvme.Admin && ownCommand(c):
		status, result = n.own(c)
		return status, result, true
	case door == nil:
		return statusInvalidNamespace, 0, true
	}
	done, err := door.NVMe(n.ctx, c)
	switch {
	case devices.IsGone(err):
		n.note("%v", err)
		n.cut(true)
		return 0, 0, false
	case errors.Is(err, syscall.EINTR), then == lost:
		n.cut(false) // a reset took the answer away
		return 0, 0, false
	case err != nil:
		n.note("command %02xh of queue %d: %v", c.Opcode, q.id, err)
		return statusInvalidField, 0, true
	}
	if c.Queue == nvme.Admin && c.Opcode == 0x06 && done.Status == 0 {
		n.adapt(c)
	}
	return done.Status, done.Result, true
}

// ownCommand says whether a command is the controller's matter, and not the drive's.
func ownCommand(c *nvme.Command) bool {
	return slices.Contains([]uint8{0x08, 0x09, 0x0a, 0x18}, c.Opcode) || c.Opcode == 0x02 && c.CDW10&0xff == 0x04
}

// own is those commands: Abort, features, Keep Alive, and the log of changed namespaces.
func (n *nvmeTarget) own(c *nvme.Command) (status uint16, result uint64) {
	switch c.Opcode {
	case 0x02:
		n.mu.Lock()
		defer n.mu.Unlock()
		clear(c.Data)
		for i, id := range n.changed {
			if 4*i+4 <= len(c.Data) {
				binary.LittleEndian.PutUint32(c.Data[4*i:], id)
			}
		}
		n.changed = nil
		return 0, 0
	case 0x08:
		return 0, 1 // not aborted
	case 0x18:
		return 0, 0
	}
	switch c.CDW10 & 0xff {
	case 0x07: // number of queues, zero based: four of each
		return 0, 3 | 3<<16
	case 0x0b, 0x0f: // asynchronous events, keep alive timer
		return 0, 0
	}
	return statusInvalidField, 0
}

// adapt changes what a drive says of itself in what a controller on a fabric must say, and no more
// (NVMe base 2.0, figure 275).
func (n *nvmeTarget) adapt(c *nvme.Command) {
	page, le := c.Data, binary.LittleEndian
	switch c.CDW10 & 0xff {
	case 0x01:
		le.PutUint16(page[78:], n.cntlid)
		page[93] |= 1 << 0                           // OAES: namespace attribute notices
		page[111] = 1                                // CNTRLTYPE: an I/O controller
		le.PutUint16(page[320:], 10)                 // KAS, in 100 ms
		le.PutUint16(page[514:], 128)                // MAXCMD
		le.PutUint32(page[536:], 1|1<<20)            // SGLS, with offsets in capsules
		le.PutUint32(page[1792:], (64+inCapsule)/16) // IOCCSZ
		le.PutUint32(page[1796:], 1)                 // IORCSZ
		copy(page[1800:], []byte{0, 0, 0, 1})        // ICDOFF, FCATT, MSDBD
	case 0x02: // without namespaces that were taken away
		n.mu.Lock()
		defer n.mu.Unlock()
		kept := page[:0:0]
		for at := 0; at < len(page); at += 4 {
			if id := le.Uint32(page[at:]); id != 0 && n.units[id] != nil {
				kept = le.AppendUint32(kept, id)
			}
		}
		clear(page[copy(page, kept):])
	}
}
