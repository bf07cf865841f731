package virtual

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errUnwritten: the block was erased and not written since, and the drive does not read such blocks
// (VPD page B1h, WABEREQ and WACEREQ). A kernel makes an I/O error of it.
var errUnwritten = fmt.Errorf("erased and not written since: %w", syscall.EIO)

// writtenFile has a byte for each block of a drive that keeps account of erased blocks: 1 is an
// erased one. It is there from the first erase on.
func (r *Rack) writtenFile(name string) string { return filepath.Join(r.dir, "media", name+".erased") }

// markErased notes what an operation leaves of blocks that were erased and not written.
func (r *Rack) markErased(info Info, a area, o *operation) error {
	if info.Spec.WriteAfterErase == 0 {
		return nil
	}
	mark := byte(0)
	if o.Kind == kindCrypto || o.Kind == kindBlock {
		mark = 1
	}
	return r.mark(info, a.off, a.size, mark)
}

func (r *Rack) mark(info Info, off, size int64, mark byte) error {
	f, err := os.OpenFile(r.writtenFile(info.Name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	block := int64(info.Spec.LogicalBlock)
	marks := make([]byte, size/block)
	for i := range marks {
		marks[i] = mark
	}
	_, err = f.WriteAt(marks, off/block)
	return errors.Join(err, f.Close())
}

// unwritten is how many bytes lie before the first block that was erased and not written since.
func (d *drive) unwritten(off int64, n int) (int, error) {
	f, err := os.Open(d.rack.writtenFile(d.info.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return 0, err
	}
	block := d.info.Spec.LogicalBlock
	marks := make([]byte, (n+block-1)/block)
	_, err = f.ReadAt(marks, off/int64(block))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	for i, mark := range marks {
		if mark == 1 {
			return i * block, errors.Join(err, f.Close())
		}
	}
	return n, errors.Join(err, f.Close())
}
