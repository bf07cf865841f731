package devices

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// byDoor is a node whose blocks the kernel does not carry: those of 520 bytes, for one. They are
// read and written by SCSI commands on the same descriptor, which the kernel guards all the same.
type byDoor struct{ Transport }

// Geometry asks the drive itself.
func (b byDoor) Geometry(ctx context.Context) (Geometry, error) { return capacityOf(ctx, b.Transport) }

func (b byDoor) Queue(depth int) (blockio.Queue, error) {
	g, err := b.Geometry(context.Background())
	if err != nil {
		return nil, err
	}
	return blockio.NewPool(scsiBlocks{b.Transport, int64(g.LogicalBlock), g.SizeBytes}, depth)
}

// scsiBlocks is block I/O by READ(16), WRITE(16) and SYNCHRONIZE CACHE(16).
type scsiBlocks struct {
	t     Transport
	block int64
	size  int64
}

// mostAtOnce bounds one command's data, so that it passes every adapter's own bound.
const mostAtOnce = 128 << 10

// ReadAt implements blockio.Backend.
func (s scsiBlocks) ReadAt(p []byte, off int64) (int, error) { return s.move(p, off, scsi.Read16) }

// WriteAt implements blockio.Backend.
func (s scsiBlocks) WriteAt(p []byte, off int64) (int, error) { return s.move(p, off, scsi.Write16) }

func (s scsiBlocks) move(p []byte, off int64, command func(lba uint64, blocks uint32, data []byte) *scsi.Command) (int, error) {
	if off < 0 || off%s.block != 0 || int64(len(p))%s.block != 0 || len(p) == 0 {
		return 0, fmt.Errorf("%d+%d: %w", off, len(p), syscall.EINVAL)
	}
	if off+int64(len(p)) > s.size {
		return 0, fmt.Errorf("%d+%d is behind the end at %d: %w", off, len(p), s.size, syscall.EIO)
	}
	at := 0
	for at < len(p) {
		n := min(int64(len(p)-at), max(s.block, mostAtOnce/s.block*s.block))
		c := command(uint64((off+int64(at))/s.block), uint32(n/s.block), p[at:at+int(n)])
		r, err := ask(context.Background(), s.t, c)
		if err == nil {
			err = r.Err()
		}
		if err == nil && int64(r.Transferred) != n {
			err = fmt.Errorf("%d bytes of %d moved", r.Transferred, n)
		}
		if err != nil {
			return at, ioError(fmt.Errorf("SCSI command %02xh at block %d: %w", c.CDB[0], (off+int64(at))/s.block, err))
		}
		at += int(n)
	}
	return at, nil
}

// ioError makes what a drive says of a block an I/O error, as the kernel would.
func ioError(err error) error {
	var failed *scsi.CommandError
	if errors.As(err, &failed) && !IsGone(err) {
		return fmt.Errorf("%w: %w", syscall.EIO, err)
	}
	return err
}

// Flush implements blockio.Backend.
func (s scsiBlocks) Flush() error {
	r, err := ask(context.Background(), s.t, scsi.SynchronizeCache16())
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return fmt.Errorf("synchronize cache: %w", err)
	}
	return nil
}
