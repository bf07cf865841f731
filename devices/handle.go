package devices

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Handle is a drive that this process holds exclusively. Its node was checked to be the drive
// that was meant, and Reidentify checks it again.
type Handle struct {
	host      *Host
	drive     Drive
	transport Transport
	sequence  uint64
}

// OpenOptions say what an open may overlook.
type OpenOptions struct {
	AllowFabric bool // the person said that storage reached over a fabric is theirs
}

// Inspect opens a drive for reading and returns what the open node says of its size, and the
// digest of its partition table. It is for planning; nothing is claimed.
func (h *Host) Inspect(ctx context.Context, d Drive) (inspected Drive, partitionTable string, err error) {
	t, err := h.open(ctx, d.Nodes[0], ReadOnly)
	if err != nil {
		return d, "", err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.Number() != d.Number {
		return d, "", fmt.Errorf("%s is device %v now, was %v: %w", d.Nodes[0], t.Number(), d.Number, ErrChanged)
	}
	g, err := t.Geometry(ctx)
	if err != nil {
		return d, "", err
	}
	if g.SizeBytes != d.SizeBytes {
		return d, "", fmt.Errorf("%s has %d bytes, the host says %d: %w", d.Nodes[0], g.SizeBytes, d.SizeBytes, ErrChanged)
	}
	d.Geometry = g
	table, err := digestTable(ctx, t, g)
	return d, table, err
}

// Open claims the drive for as long as the handle is open: it lists the host again, finds the
// drive by its identity whatever its node is now, opens that exclusively and makes sure that what
// was opened is what was found. The errors are *InUseError, ErrNotFound, ErrChanged, ErrGone, or
// the system's.
func (h *Host) Open(ctx context.Context, want Drive, o OpenOptions) (*Handle, error) {
	listed, err := h.Drives(ctx)
	if err != nil {
		return nil, err
	}
	d, err := h.selectOne(listed, string(want.ID))
	if err != nil {
		return nil, err
	}
	if err := free(d, o); err != nil {
		return nil, err
	}
	t, err := h.open(ctx, d.Nodes[0], Exclusive)
	if err != nil {
		return nil, err
	}
	handle := &Handle{host: h, drive: d, transport: t}
	if err := handle.settle(ctx, want, o); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return handle, nil
}

// free says whether nothing speaks against touching the drive.
func free(d Drive, o OpenOptions) error {
	if d.State == StateReady {
		return nil
	}
	if o.AllowFabric && d.State == StateBlocked && len(d.Reasons) == 1 && d.Reasons[0].Code == "fabric" {
		return nil
	}
	return &InUseError{Node: d.Nodes[0], State: d.State, Reasons: d.Reasons}
}

// settle checks the claimed node: between listing and opening, a node can become another drive,
// or come into use.
func (h *Handle) settle(ctx context.Context, want Drive, o OpenOptions) error {
	g, err := h.transport.Geometry(ctx)
	if err != nil {
		return err
	}
	if g.ReadOnly {
		return &InUseError{Node: h.drive.Nodes[0], State: StateBlocked, Reasons: []Reason{{Code: "read_only", Message: "it is write-protected"}}}
	}
	if g.SizeBytes != want.SizeBytes || g.LogicalBlock != want.LogicalBlock {
		return fmt.Errorf("%s has %d bytes in blocks of %d, expected %d in blocks of %d: %w",
			h.drive.Nodes[0], g.SizeBytes, g.LogicalBlock, want.SizeBytes, want.LogicalBlock, ErrChanged)
	}
	h.drive.Geometry, h.sequence = g, g.Sequence
	if err := h.Reidentify(ctx); err != nil {
		return err
	}
	listed, err := h.host.Drives(ctx)
	if err != nil {
		return err
	}
	for _, d := range listed {
		if d.Number == h.transport.Number() {
			return free(d, o)
		}
	}
	return fmt.Errorf("%s: %w", h.drive.Nodes[0], ErrGone)
}

// Drive is what was known of the drive when it was opened.
func (h *Handle) Drive() Drive { return h.drive }

// Transport is the open node.
func (h *Handle) Transport() Transport { return h.transport }

// Geometry asks the open node anew.
func (h *Handle) Geometry(ctx context.Context) (Geometry, error) { return h.transport.Geometry(ctx) }

// Queue opens a queue of block I/O.
func (h *Handle) Queue(depth int) (blockio.Queue, error) { return h.transport.Queue(depth) }

// DropCaches makes later reads come from the drive.
func (h *Handle) DropCaches(ctx context.Context) error { return h.transport.DropCaches(ctx) }

// Reidentify makes sure that the open node is still the drive that was opened. The errors are
// ErrChanged and ErrGone; after either nothing more may be sent.
func (h *Handle) Reidentify(ctx context.Context) error {
	g, err := h.transport.Geometry(ctx)
	if err != nil {
		return err
	}
	if g.SizeBytes != h.drive.SizeBytes || g.Sequence != h.sequence {
		return fmt.Errorf("%s: size %d, was %d; medium %d, was %d: %w", h.drive.Nodes[0], g.SizeBytes, h.drive.SizeBytes, g.Sequence, h.sequence, ErrChanged)
	}
	devs, err := h.host.fs.blockdevs()
	if err != nil {
		return err
	}
	known := h.host.library()
	for _, b := range devs {
		if b.number != h.transport.Number() {
			continue
		}
		now := h.host.fs.identify(b, known[b.name])
		if now.ID != h.drive.ID {
			return fmt.Errorf("%s is %s %s now, was %s %s: %w", nodePath(b.name), now.Model, now.Serial, h.drive.Model, h.drive.Serial, ErrChanged)
		}
		return nil
	}
	return fmt.Errorf("%s is not listed any more: %w", filepath.Base(h.drive.Nodes[0]), ErrGone)
}

// PartitionTable is the hex SHA-256 of the drive's first 34 and last 33 logical blocks: the
// protective MBR and both copies of a GPT, or whatever is there instead.
func (h *Handle) PartitionTable(ctx context.Context) (string, error) {
	return digestTable(ctx, h.transport, h.drive.Geometry)
}

func digestTable(ctx context.Context, t Transport, g Geometry) (digest string, err error) {
	if g.LogicalBlock <= 0 {
		return "", fmt.Errorf("blocks of %d bytes", g.LogicalBlock)
	}
	q, err := t.Queue(1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	sum := sha256.New()
	first := min(34, g.Blocks())
	last := min(33, g.Blocks()-first)
	for _, part := range []struct{ from, n int64 }{{0, first}, {g.Blocks() - last, last}} {
		if part.n == 0 {
			continue
		}
		b := make([]byte, part.n*int64(g.LogicalBlock))
		if err := blockio.ReadFull(ctx, q, b, part.from*int64(g.LogicalBlock), g.LogicalBlock); err != nil {
			return "", fmt.Errorf("read partition table: %w", err)
		}
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Close gives the drive up.
func (h *Handle) Close() error { return h.transport.Close() }
