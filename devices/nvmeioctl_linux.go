package devices

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// The requests that carry NVMe commands (linux/nvme_ioctl.h).
const (
	nvmeAdminCmd = 0xc0484e41
	nvmeIOCmd    = 0xc0484e43
)

// nvmePassthru is struct nvme_passthru_cmd. The kernel has the two addresses as 64-bit numbers; here
// they are pointers, so that the garbage collector sees them.
type nvmePassthru struct {
	opcode      uint8
	flags       uint8 // must be 0
	_           uint16
	nsid        uint32
	cdw2, cdw3  uint32
	metadata    unsafe.Pointer
	addr        unsafe.Pointer
	metadataLen uint32
	dataLen     uint32
	cdw10       uint32
	cdw11       uint32
	cdw12       uint32
	cdw13       uint32
	cdw14       uint32
	cdw15       uint32
	timeoutMS   uint32
	result      uint32
}

// milliseconds are a timeout as the kernel takes it. 0 would be the kernel's own default.
func milliseconds(d time.Duration) (uint32, error) {
	ms := d.Milliseconds()
	if ms <= 0 || ms > 1<<32-1 {
		return 0, fmt.Errorf("timeout of %v", d)
	}
	return uint32(ms), nil
}

func passthru(c *nvme.Command) (nvmePassthru, error) {
	ms, err := milliseconds(c.Timeout)
	if err != nil {
		return nvmePassthru{}, fmt.Errorf("NVMe command %02xh: %w", c.Opcode, err)
	}
	p := nvmePassthru{
		opcode: c.Opcode, nsid: c.NSID, cdw2: c.CDW2, cdw3: c.CDW3, cdw10: c.CDW10, cdw11: c.CDW11, cdw12: c.CDW12, cdw13: c.CDW13,
		cdw14: c.CDW14, cdw15: c.CDW15, timeoutMS: ms,
	}
	if len(c.Data) > 0 {
		p.addr, p.dataLen = unsafe.Pointer(&c.Data[0]), uint32(len(c.Data))
	}
	if len(c.Metadata) > 0 {
		p.metadata, p.metadataLen = unsafe.Pointer(&c.Metadata[0]), uint32(len(c.Metadata))
	}
	return p, nil
}

// NVMe implements Transport: I/O commands go through the namespace's node, admin commands through
// its controller's, because the kernel lets a namespace's node send only that namespace's commands
// and Sanitize belongs to none.
func (n *node) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if n.bus != busNVMe {
		return nvme.Completion{}, fmt.Errorf("%s: NVMe: %w", n.name, ErrNoDoor)
	}
	if err := ctx.Err(); err != nil {
		return nvme.Completion{}, context.Cause(ctx)
	}
	p, err := passthru(c)
	if err != nil {
		return nvme.Completion{}, err
	}
	file, request := n.file, uint(nvmeIOCmd)
	if c.Queue == nvme.Admin {
		request = nvmeAdminCmd
		if file, err = n.controllerNode(); err != nil {
			return nvme.Completion{}, err
		}
	}
	status, err := ioctlResult(file.Fd(), request, unsafe.Pointer(&p))
	runtime.KeepAlive(c)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nvme.Completion{}, &CapabilityError{Op: fmt.Sprintf("NVMe command %02xh on %s", c.Opcode, file.Name()), Capability: "CAP_SYS_ADMIN", Err: err}
	case err != nil:
		return nvme.Completion{}, wrapGone(fmt.Errorf("NVMe command %02xh on %s: %w", c.Opcode, file.Name(), err))
	}
	return nvme.Completion{Status: uint16(status), Result: uint64(p.result)}, nil
}

// controllerNode opens the character device of a controller by which the namespace is reached, and
// stays with it. sysfs names it: nvme0n1 need not belong to nvme0, and may belong to several.
func (n *node) controllerNode() (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.controller != nil {
		return n.controller, nil
	}
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", n.number.Major, n.number.Minor)
	list, err := controllersOf(dir)
	if err != nil {
		return nil, fmt.Errorf("controller of %s: %w", n.name, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is reached by no controller: %w", n.name, ErrNoDoor)
	}
	f, err := os.OpenFile("/dev/"+filepath.Base(list[0]), os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrapGone(fmt.Errorf("open controller: %w", err))
	}
	// The node must be the device that sysfs means, not a file of that name.
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFCHR || number != text(list[0], "dev")) {
		err = fmt.Errorf("%s is device %s, the controller is %s: %w", f.Name(), number, text(list[0], "dev"), ErrChanged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	n.controller = f
	return f, nil
}
