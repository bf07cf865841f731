package virtual

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/internal/durable"
)

// transport is an open node of a virtual drive.
type transport struct {
	d      *drive
	node   string
	space  Space
	power  uint64
	access devices.Access
	size   int64 // that the kernel has read: what block I/O goes by
	block  int
	alarms int           // power-ons and resets that it was told of
	claim  *durable.Lock // held while open exclusively, also against other processes
}

// Opener opens the rack's nodes.
func (r *Rack) Opener() devices.Opener { return r.open }

func (r *Rack) open(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	info, space, err := r.resolve(node)
	if err != nil {
		return nil, err
	}
	if info.Gone {
		return nil, fmt.Errorf("open %s: %w", node, errGone)
	}
	t := &transport{node: space.Node, space: space, access: access}
	if access == devices.Exclusive {
		if t.claim, err = r.claim(info, space); err != nil {
			return nil, err
		}
	}
	if err := r.attach(info, t); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", node, err), t.unclaim())
	}
	if t.size, t.block, err = r.sizeNow(info, space); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", node, err), t.Close())
	}
	return t, nil
}

// resolve finds the drive and the space of a node.
func (r *Rack) resolve(node string) (Info, Space, error) {
	missing := &fs.PathError{Op: "open", Path: node, Err: syscall.ENOENT}
	name, inDev := strings.CutPrefix(filepath.Clean(node), "/dev/")
	data, err := os.ReadFile(filepath.Join(r.dir, "dev", name))
	if !inDev || err != nil {
		return Info{}, Space{}, missing
	}
	var at struct {
		Drive string `json:"drive"`
	}
	if err := json.Unmarshal(data, &at); err != nil || at.Drive == "" {
		return Info{}, Space{}, missing // a partition
	}
	info, err := readInfo(r.stateFile(at.Drive))
	if err != nil {
		return Info{}, Space{}, err
	}
	for _, s := range info.Spaces {
		if s.Node == filepath.Clean(node) {
			return info, s, nil
		}
	}
	return Info{}, Space{}, missing
}

// claim is the exclusive open of a block device.
func (r *Rack) claim(info Info, s Space) (*durable.Lock, error) {
	busy := &devices.InUseError{Node: s.Node, State: devices.StateInUse, Reasons: []devices.Reason{{Code: "busy",
		Message: "the kernel or another program holds it", Hint: "run: expunge show " + info.Spec.Serial}}}
	if info.claimed() || info.Spec.Mapped && !s.Mapped {
		return nil, busy
	}
	lock, err := durable.TryLock(filepath.Join(r.dir, "state", filepath.Base(s.Node)+".lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, busy
	}
	return lock, err
}

func (t *transport) unclaim() error {
	if t.claim == nil {
		return nil
	}
	return t.claim.Unlock()
}

// attach gives the drive power, if it has none yet, and counts one more that has it open.
func (r *Rack) attach(info Info, t *transport) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.live[info.Name]
	if d == nil {
		d = &drive{rack: r}
		r.live[info.Name] = d
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.alarms = d.alarms
	if d.opened == 0 || d.off {
		if d.medium != nil {
			if err := d.medium.Close(); err != nil {
				return err
			}
			d.medium = nil
		}
		if err := d.powerOn(info); err != nil {
			return err
		}
	}
	d.opened++
	t.d, t.power = d, d.power
	return nil
}

// limit is how many bytes of the transport's space the drive lets be read and written.
func (t *transport) limit(u *unit) int64 {
	return min(t.space.SizeBytes, u.Blocks*int64(u.Block))
}

func (t *transport) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if t.d.profile.Protocol != devices.ProtocolATA && t.d.profile.Protocol != devices.ProtocolSCSI {
		return scsi.Result{}, fmt.Errorf("%s: SCSI: %w", t.node, devices.ErrNoDoor)
	}
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, context.Cause(ctx)
	}
	r, err := t.d.scsi(t, c)
	return r, t.wrap("SCSI command on", err)
}

func (t *transport) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if t.d.profile.Protocol != devices.ProtocolNVMe {
		t.d.mu.Lock()
		defer t.d.mu.Unlock()
		err := t.d.recall(func(m *memory) error { m.Strays++; return nil })
		return nvme.Completion{}, errors.Join(fmt.Errorf("%s: NVMe: %w", t.node, devices.ErrNoDoor), err)
	}
	if err := ctx.Err(); err != nil {
		return nvme.Completion{}, context.Cause(ctx)
	}
	r, err := t.d.nvme(t, c)
	return r, t.wrap("NVMe command on", err)
}

func (t *transport) Queue(depth int) (blockio.Queue, error) { return blockio.NewPool(t, depth) }

// ReadAt implements blockio.Backend.
func (t *transport) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.d.readAt(t, p, off)
	return n, t.wrap("read", err)
}

// WriteAt implements blockio.Backend.
func (t *transport) WriteAt(p []byte, off int64) (int, error) {
	if t.access != devices.Exclusive {
		return 0, t.wrap("write", syscall.EBADF)
	}
	n, err := t.d.writeAt(t, p, off)
	return n, t.wrap("write", err)
}

// Flush implements blockio.Backend.
func (t *transport) Flush() error { return t.wrap("flush", t.d.flush(t)) }

func (t *transport) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: t.node, Err: err}
}

func (t *transport) Geometry(context.Context) (devices.Geometry, error) {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if t.d.off || t.power != t.d.power {
		return devices.Geometry{}, t.wrap("size", errGone)
	}
	if t.size == 0 {
		return devices.Geometry{}, t.wrap("size", fmt.Errorf("0 bytes: %w", devices.ErrGone))
	}
	s := t.d.info.Spec
	return devices.Geometry{SizeBytes: t.size, LogicalBlock: t.block, PhysicalBlock: max(t.block, s.PhysicalBlock), ReadOnly: s.ReadOnly, Sequence: t.d.info.Sequence}, nil
}

func (t *transport) Number() devices.Number {
	var n devices.Number
	_, _ = fmt.Sscanf(t.space.Number, "%d:%d", &n.Major, &n.Minor) // zero, which no node has, when it is none
	return n
}

// DropCaches has nothing to do: no host caches a virtual drive.
func (t *transport) DropCaches(context.Context) error { return nil }

// Rescan implements devices.Transport: the kernel reads the drive's size anew.
func (t *transport) Rescan(context.Context) error {
	if t.d.profile.Protocol == devices.ProtocolVirtio {
		return t.wrap("rescan", errors.ErrUnsupported)
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if t.d.off || t.power != t.d.power {
		return t.wrap("rescan", errGone)
	}
	err := t.d.recall(nil)
	if err == nil {
		err = t.d.rack.rescan(t.d.info, t.d.memory)
	}
	if err == nil {
		t.size, t.block, err = t.d.rack.sizeNow(t.d.info, t.space)
	}
	return t.wrap("rescan", err)
}

// Close leaves the drive powered: what is in its cache reaches the medium in time.
func (t *transport) Close() error {
	t.d.rack.mu.Lock()
	defer t.d.rack.mu.Unlock()
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if t.d.opened == 0 {
		return t.wrap("close", os.ErrClosed)
	}
	t.d.opened--
	var err error
	if t.power == t.d.power && !t.d.off {
		err = t.d.writeBack()
	}
	if t.d.opened == 0 && t.d.medium != nil {
		err = errors.Join(err, t.d.medium.Close())
		t.d.medium = nil
	}
	return errors.Join(err, t.unclaim())
}
