package devices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Block ioctls that x/sys does not name (linux/fs.h).
const (
	blkPBSZGet    = 0x127b     // physical block size, unsigned int
	blkGetDiskSeq = 0x80081280 // disk sequence number, uint64
)

// node is an open block device node of the running kernel.
type node struct {
	name   string
	file   *os.File
	number Number
	write  bool
	bus    string // what commands it takes: busSCSI, busNVMe, or neither

	mu         sync.Mutex // guards controller
	controller *os.File   // of an NVMe namespace, opened when first needed
}

// The buses whose devices have a command door, as sysfs names them.
const (
	busSCSI = "scsi"
	busNVMe = "nvme"
)

// OpenNode opens a real block device with direct I/O. Exclusive claims the whole drive against
// the kernel's other exclusive users (O_EXCL: mounts, swap, md, dm) and, by flock, against other
// programs that ask. A file, a directory and a partition are refused.
func OpenNode(ctx context.Context, name string, access Access) (Transport, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	if info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
		return nil, fmt.Errorf("open node %s: not a block device but %v", name, info.Mode().Type())
	}
	flags := os.O_RDONLY
	if access == Exclusive {
		flags = os.O_RDWR | unix.O_EXCL
	}
	f, err := openFree(ctx, name, flags|unix.O_DIRECT|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if errors.Is(err, unix.EBUSY) {
		return nil, &InUseError{Node: name, State: StateInUse, Reasons: []Reason{{Code: "busy",
			Message: "the kernel or another program holds it", Hint: "run: expunge show " + name}}}
	}
	if err != nil {
		return nil, wrapGone(fmt.Errorf("open node: %w", err))
	}
	n := &node{name: name, file: f, write: access == Exclusive}
	if err := n.claim(access); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return n, nil
}

// lingering is how long a claim is waited for. The kernel takes the io_uring of a process that was killed apart in its
// own time, a tenth of a second on a busy machine, and the claim ends with it: an agent that is
// started again at once must not find its own drive in use.
const lingering = time.Second

// openFree opens a node, and tries again for a while when another has claimed it.
func openFree(ctx context.Context, name string, flags int) (*os.File, error) {
	end := time.Now().Add(lingering)
	for {
		f, err := os.OpenFile(name, flags, 0)
		if !errors.Is(err, unix.EBUSY) || ctx.Err() != nil || time.Now().After(end) {
			return f, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *node) claim(access Access) error {
	// O_NONBLOCK was for the open alone, which it keeps from waiting for a medium. I/O that a kernel's queue
	// carries would fail with EAGAIN where it could wait for a place among the drive's requests.
	if err := unix.SetNonblock(int(n.file.Fd()), false); err != nil {
		return fmt.Errorf("open node %s: %w", n.name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(n.file.Fd()), &st); err != nil {
		return fmt.Errorf("stat open node %s: %w", n.name, err)
	}
	n.number = Number{unix.Major(st.Rdev), unix.Minor(st.Rdev)}
	if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/%d:%d/partition", n.number.Major, n.number.Minor)); err == nil {
		return fmt.Errorf("open node %s: a partition is not a drive: name the drive", n.name)
	}
	n.bus = blockdev{dir: fmt.Sprintf("/sys/dev/block/%d:%d", n.number.Major, n.number.Minor)}.subsystem()
	if n.bus == "nvme-subsystem" {
		n.bus = busNVMe
	}
	if access != Exclusive {
		return nil
	}
	if err := unix.Flock(int(n.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return &InUseError{Node: n.name, State: StateInUse, Reasons: []Reason{{Code: "locked", Message: "another program holds a lock on it"}}}
		}
		return fmt.Errorf("lock node %s: %w", n.name, err)
	}
	return nil
}

func (n *node) Queue(depth int) (blockio.Queue, error) {
	return blockio.Open(blockio.Node{File: n.file, Backend: n, Wrap: nodeError}, depth)
}

func (n *node) Number() Number { return n.number }

func (n *node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if n.controller != nil {
		err = n.controller.Close()
	}
	return errors.Join(err, n.file.Close())
}

// ReadAt implements blockio.Backend.
func (n *node) ReadAt(p []byte, off int64) (int, error) {
	done, err := n.file.ReadAt(p, off)
	return done, nodeError(err)
}

// WriteAt implements blockio.Backend.
func (n *node) WriteAt(p []byte, off int64) (int, error) {
	done, err := n.file.WriteAt(p, off)
	return done, nodeError(err)
}

// Flush implements blockio.Backend: fdatasync on a block device sends the drive a cache flush.
func (n *node) Flush() error {
	for {
		err := unix.Fdatasync(int(n.file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return nodeError(err)
		}
	}
}

// nodeError says what an error of I/O means for a drive.
func nodeError(err error) error {
	if errors.Is(err, io.EOF) {
		// A drive has no end of file: it became smaller than its plan.
		err = fmt.Errorf("end of device: %w", ErrGone)
	}
	return wrapGone(err)
}

func (n *node) DropCaches(context.Context) error {
	// Direct reads bypass the page cache; BLKFLSBUF also drops what others left in it.
	if err := n.ioctl(unix.BLKFLSBUF, nil); err != nil {
		return fmt.Errorf("drop cached blocks of %s: %w", n.name, wrapGone(err))
	}
	return nil
}

// Rescan implements Transport: sd reads the capacity again when its device is told to.
func (n *node) Rescan(context.Context) error {
	if n.bus != busSCSI {
		return fmt.Errorf("rescan %s: %w", n.name, errors.ErrUnsupported)
	}
	name := fmt.Sprintf("/sys/dev/block/%d:%d/device/rescan", n.number.Major, n.number.Minor)
	if err := os.WriteFile(name, []byte("1"), 0); err != nil {
		return wrapGone(fmt.Errorf("rescan %s: %w", n.name, err))
	}
	return nil
}

func (n *node) Geometry(context.Context) (Geometry, error) {
	var size, sequence uint64
	var logical, readOnly int32
	var physical uint32
	for _, q := range []struct {
		name    string
		request uint
		at      unsafe.Pointer
	}{
		{"BLKGETSIZE64", unix.BLKGETSIZE64, unsafe.Pointer(&size)},
		{"BLKSSZGET", unix.BLKSSZGET, unsafe.Pointer(&logical)},
		{"BLKPBSZGET", blkPBSZGet, unsafe.Pointer(&physical)},
		{"BLKROGET", unix.BLKROGET, unsafe.Pointer(&readOnly)},
	} {
		if err := n.ioctl(q.request, q.at); err != nil {
			return Geometry{}, wrapGone(fmt.Errorf("%s on %s: %w", q.name, n.name, err))
		}
	}
	if err := n.ioctl(blkGetDiskSeq, unsafe.Pointer(&sequence)); err != nil {
		sequence = 0 // kernels before 5.15 do not have it
	}
	if size == 0 || size > 1<<62 {
		return Geometry{}, fmt.Errorf("size of %s is %d: %w", n.name, size, ErrGone)
	}
	return Geometry{SizeBytes: int64(size), LogicalBlock: int(logical), PhysicalBlock: int(physical), ReadOnly: readOnly != 0, Sequence: sequence}, nil
}

func (n *node) ioctl(request uint, at unsafe.Pointer) error {
	return ioctl(n.file.Fd(), request, at)
}

func ioctl(fd uintptr, request uint, at unsafe.Pointer) error {
	_, err := ioctlResult(fd, request, at)
	return err
}

// ioctlResult is for requests whose answer is in the return value.
func ioctlResult(fd uintptr, request uint, at unsafe.Pointer) (uintptr, error) {
	result, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(at))
	if errno != 0 {
		return 0, errno
	}
	return result, nil
}
