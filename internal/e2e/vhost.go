package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The back end's half of vhost-user (QEMU's docs/interop/vhost-user.rst): a guest's virtio device whose
// queues are served by this process, in memory that both share.

// Messages of the front end.
const (
	vhostGetFeatures         = 1
	vhostSetFeatures         = 2
	vhostSetOwner            = 3
	vhostSetMemTable         = 5
	vhostSetVringNum         = 8
	vhostSetVringAddr        = 9
	vhostSetVringBase        = 10
	vhostGetVringBase        = 11
	vhostSetVringKick        = 12
	vhostSetVringCall        = 13
	vhostSetVringErr         = 14
	vhostGetProtocolFeatures = 15
	vhostSetProtocolFeatures = 16
	vhostGetQueueNum         = 17
	vhostSetVringEnable      = 18
	vhostSetSlaveReqFD       = 21
	vhostGetConfig           = 24
	vhostSetConfig           = 25
)

// Features that are offered. User Mode Linux cannot do without a channel for requests of the back
// end, and asks the back end for the configuration space.
const (
	featureProtocol    = 1 << 30
	featureVersion1    = 1 << 32
	protocolMQ         = 1 << 0
	protocolReplyAck   = 1 << 3
	protocolBackendReq = 1 << 5
	protocolConfig     = 1 << 9
)

// vhostDevice is what a virtio device is beside its transport.
type vhostDevice struct {
	features uint64
	config   []byte
	queues   int
	serve    func(queue int, c *chain) // called in a goroutine of its own; ends with c.complete
}

// vhost is one connection of a guest's device.
type vhost struct {
	device vhostDevice
	conn   *net.UnixConn

	mu      sync.Mutex // guards what follows
	regions []region
	rings   []*ring
	backend *os.File // kept open: closing it stalls all I/O of User Mode Linux
}

// region is a part of the guest's memory.
type region struct {
	guest, user, size uint64
	mapped            []byte
}

// ring is a split virtqueue (virtio 1.2, 2.7).
type ring struct {
	v                 *vhost
	index             int
	num               uint32
	desc, avail, used uint64 // in the front end's addresses
	next              uint16 // in the available ring
	kick, call        *os.File
	enabled, running  bool

	mu sync.Mutex // guards the used ring
}

// serveVhost accepts one guest after another on a socket until it is closed.
func serveVhost(l *net.UnixListener, d vhostDevice) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		v := &vhost{device: d, conn: conn, rings: make([]*ring, d.queues)}
		for i := range v.rings {
			v.rings[i] = &ring{v: v, index: i}
		}
		go v.run()
	}
}

// run carries out the front end's messages until it goes.
func (v *vhost) run() {
	defer v.close()
	for {
		header, fds, err := v.receive(12)
		if err != nil {
			return
		}
		request, flags, size := binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
		if size > 64<<10 {
			return
		}
		body, more, err := v.receive(int(size))
		if err != nil {
			return
		}
		reply, err := v.handle(request, body, append(fds, more...))
		if reply == nil && flags&(1<<3) != 0 {
			reply = make([]byte, 8)
			if err != nil {
				reply[0] = 1
			}
		}
		if reply == nil {
			continue
		}
		answer := binary.LittleEndian.AppendUint32(nil, request)
		answer = binary.LittleEndian.AppendUint32(answer, 1|1<<2)
		answer = binary.LittleEndian.AppendUint32(answer, uint32(len(reply)))
		if _, err := v.conn.Write(append(answer, reply...)); err != nil {
			return
		}
	}
}

// receive reads n bytes, and the descriptors that come with them.
func (v *vhost) receive(n int) ([]byte, []*os.File, error) {
	b, control := make([]byte, n), make([]byte, unix.CmsgSpace(16*4))
	var files []*os.File
	for have := 0; have < n; {
		got, oob, _, _, err := v.conn.ReadMsgUnix(b[have:], control)
		if err != nil {
			return nil, files, err
		}
		if got == 0 && oob == 0 {
			return nil, files, net.ErrClosed
		}
		have += got
		messages, err := unix.ParseSocketControlMessage(control[:oob])
		if err != nil {
			return nil, files, err
		}
		for _, m := range messages {
			fds, err := unix.ParseUnixRights(&m)
			if err != nil {
				return nil, files, err
			}
			for _, fd := range fds {
				_ = unix.SetNonblock(fd, true)
				files = append(files, os.NewFile(uintptr(fd), "vhost"))
			}
		}
	}
	return b, files, nil
}

func (v *vhost) handle(request uint32, body []byte, files []*os.File) (reply []byte, err error) {
	le := binary.LittleEndian
	v.mu.Lock()
	defer v.mu.Unlock()
	number := func() uint64 {
		if len(body) < 8 {
			return 0
		}
		return le.Uint64(body)
	}
	ringOf := func(i uint64) *ring {
		if i&0xff >= uint64(len(v.rings)) {
			err = fmt.Errorf("vhost: ring %d of %d", i&0xff, len(v.rings))
			return &ring{v: v}
		}
		return v.rings[i&0xff]
	}
	file := func() *os.File {
		if len(files) == 0 || number()&(1<<8) != 0 {
			return nil
		}
		return files[0]
	}
	switch request {
	case vhostGetFeatures:
		return le.AppendUint64(nil, v.device.features|featureProtocol|featureVersion1), nil
	case vhostGetProtocolFeatures:
		return le.AppendUint64(nil, protocolMQ|protocolReplyAck|protocolBackendReq|protocolConfig), nil
	case vhostGetQueueNum:
		return le.AppendUint64(nil, uint64(v.device.queues)), nil
	case vhostSetMemTable:
		err = v.mapMemory(body, files)
	case vhostSetVringNum:
		ringOf(number()).num = le.Uint32(body[4:])
	case vhostSetVringBase:
		ringOf(number()).next = uint16(le.Uint32(body[4:]))
	case vhostSetVringAddr:
		r := ringOf(uint64(le.Uint32(body)))
		r.desc, r.used, r.avail = le.Uint64(body[8:]), le.Uint64(body[16:]), le.Uint64(body[24:])
	case vhostGetVringBase:
		r := ringOf(number())
		r.stop()
		return append(le.AppendUint32(nil, uint32(r.index)), le.AppendUint32(nil, uint32(r.next))...), err
	case vhostSetVringKick:
		r := ringOf(number())
		r.kick = file()
		r.start()
	case vhostSetVringCall:
		ringOf(number()).call = file()
	case vhostSetVringEnable:
		r := ringOf(number())
		r.enabled = le.Uint32(body[4:]) == 1
		r.start()
	case vhostSetSlaveReqFD:
		v.backend = file()
	case vhostGetConfig:
		off, size := int(le.Uint32(body)), int(le.Uint32(body[4:]))
		space := make([]byte, max(off+size, len(v.device.config)))
		copy(space, v.device.config)
		return append(append([]byte{}, body[:12]...), space[off:off+size]...), nil
	}
	return nil, err
}

// mapMemory maps the guest's memory.
func (v *vhost) mapMemory(body []byte, files []*os.File) error {
	le := binary.LittleEndian
	n := int(le.Uint32(body))
	if n != len(files) || len(body) < 8+32*n {
		return fmt.Errorf("vhost: %d regions, %d descriptors", n, len(files))
	}
	v.regions = nil
	for i, f := range files {
		b := body[8+32*i:]
		r := region{guest: le.Uint64(b), size: le.Uint64(b[8:]), user: le.Uint64(b[16:])}
		offset := le.Uint64(b[24:])
		all, err := syscall.Mmap(int(f.Fd()), 0, int(r.size+offset), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("vhost: map the guest's memory: %w", err)
		}
		_ = f.Close()
		r.mapped = all[offset:]
		v.regions = append(v.regions, r)
	}
	return nil
}

func (v *vhost) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.rings {
		r.stop()
	}
	_ = v.conn.Close()
}

// memory is a range of the guest's memory, by the front end's address or the guest's; nil when it is
// in no region.
func (v *vhost) memory(at uint64, n int, byGuest bool) []byte {
	for _, r := range v.regions {
		base := r.user
		if byGuest {
			base = r.guest
		}
		if at >= base && at-base+uint64(n) <= r.size {
			return r.mapped[at-base : at-base+uint64(n) : at-base+uint64(n)]
		}
	}
	return nil
}

// start serves the ring once all is known of it. v.mu is held.
func (r *ring) start() {
	if !r.enabled || r.running || r.kick == nil || r.num == 0 {
		return
	}
	r.running = true
	go r.serve(r.kick)
}

func (r *ring) stop() {
	if r.kick != nil {
		_ = r.kick.Close()
	}
	r.kick, r.running = nil, false
}

func (r *ring) serve(kick *os.File) {
	b := make([]byte, 8)
	for {
		for c := r.take(); c != nil; c = r.take() {
			go r.v.device.serve(r.index, c)
		}
		if _, err := kick.Read(b); err != nil {
			return
		}
	}
}

// chain is one request of a guest: what it gives to read, and what it wants written.
type chain struct {
	r       *ring
	head    uint16
	in, out [][]byte // in: written by the device
}

const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// take takes the next request; nil when there is none.
func (r *ring) take() *chain {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	if !r.running {
		return nil
	}
	avail := r.v.memory(r.avail, 4+2*int(r.num), false)
	desc := r.v.memory(r.desc, 16*int(r.num), false)
	if avail == nil || desc == nil || uint16(load32(avail)>>16) == r.next {
		return nil
	}
	le := binary.LittleEndian
	c := &chain{r: r, head: le.Uint16(avail[4+2*int(uint32(r.next)%r.num):])}
	r.next++
	table, at := desc, uint32(c.head)
	for range 4096 {
		if int(at)*16+16 > len(table) {
			return c
		}
		d := table[at*16:]
		address, length, flags, next := le.Uint64(d), le.Uint32(d[8:]), le.Uint16(d[12:]), le.Uint16(d[14:])
		part := r.v.memory(address, int(length), true)
		switch {
		case flags&descIndirect != 0:
			table, at = part, 0
			continue
		case flags&descWrite != 0:
			c.in = append(c.in, part)
		default:
			c.out = append(c.out, part)
		}
		if flags&descNext == 0 {
			return c
		}
		at = uint32(next)
	}
	return c
}

// request is all that the guest gives, in one piece.
func (c *chain) request() []byte {
	var all []byte
	for _, p := range c.out {
		all = append(all, p...)
	}
	return all
}

// room is how much the guest wants written at most.
func (c *chain) room() int {
	n := 0
	for _, p := range c.in {
		n += len(p)
	}
	return n
}

// complete writes the answer and gives the request back.
func (c *chain) complete(answer []byte) {
	written := 0
	for _, p := range c.in {
		written += copy(p, answer[min(written, len(answer)):])
	}
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v.mu.Lock()
	used, call := r.v.memory(r.used, 4+8*int(r.num), false), r.call
	running := r.running
	r.v.mu.Unlock()
	if used == nil || !running {
		return
	}
	le := binary.LittleEndian
	word := load32(used)
	index := uint16(word >> 16)
	at := 4 + 8*int(uint32(index)%r.num)
	le.PutUint32(used[at:], uint32(c.head))
	le.PutUint32(used[at+4:], uint32(written))
	store32(used, uint32(index+1)<<16|word&0xffff)
	if call != nil {
		one := le.AppendUint64(nil, 1)
		if _, err := call.Write(one); err != nil && !errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// load32 reads, and store32 writes, a word of shared memory whole and in order.
func load32(b []byte) uint32 { return atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[0]))) }

func store32(b []byte, v uint32) { atomic.StoreUint32((*uint32)(unsafe.Pointer(&b[0])), v) }
