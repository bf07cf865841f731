package sanitize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// ErrReused: the job was cut off, and somebody has written to the drive since. It is left alone: give
// the job up, and make a new plan if the drive shall be erased all the same.
var ErrReused = errors.New("the drive was put to use after the job was cut off")

// unused makes sure, before another command is sent in a job that was cut off, that nobody has put
// the drive to use meanwhile: what has been erased may hold somebody's new data. An NVMe drive says
// whether it was written to since its erase; of others it is looked for what makes a drive usable.
func (r *run) unused(ctx context.Context, i int, at account) error {
	if r.attempts < 2 || i == 0 && r.operations[0].sends == 0 {
		return nil
	}
	if i > 0 && at.written {
		return fmt.Errorf("%w: its log says that it was written to since its erase", ErrReused)
	}
	if r.drive.BlocksBarred {
		return nil
	}
	table, err := r.handle.PartitionTable(ctx)
	if err != nil || table == r.drive.PartitionTable {
		return nil // nothing can be read after some erases; or it is as it was when it was planned
	}
	for _, s := range r.handle.Spaces() {
		head := make([]byte, min(headBytes, s.SizeBytes))
		err := pumped(s, func(q queue) error { return blockio.ReadFull(ctx, q, head, 0, s.LogicalBlock) })
		if err != nil {
			continue
		}
		if what := usable(head); what != "" {
			return fmt.Errorf("%w: %s begins with %s", ErrReused, s.Node, what)
		}
	}
	return nil
}

// headBytes is how much of a drive's beginning is looked at: the furthest that is known begins at 64 KiB.
const headBytes = 68 << 10

// usable names what makes the beginning of a drive usable: a partition table, a file system, a volume.
// "" for anything else; noise does not look like any of them.
func usable(head []byte) string {
	has := func(at int, s string) bool { return len(head) >= at+len(s) && string(head[at:at+len(s)]) == s }
	number := func(at int) uint32 {
		if len(head) < at+4 {
			return ^uint32(0)
		}
		return binary.LittleEndian.Uint32(head[at:])
	}
	if has(510, "\x55\xaa") {
		table := true
		for entry := 446; entry < 510; entry += 16 {
			table = table && head[entry]&0x7f == 0
		}
		if table && !bytes.Equal(head[446:510], make([]byte, 64)) {
			return "a partition table"
		}
	}
	for _, s := range []struct {
		at   int
		text string
		what string
	}{
		{512, "EFI PART", "a partition table"}, {4096, "EFI PART", "a partition table"}, {0, "XFSB\x00\x00", "an XFS file system"},
		{64<<10 + 64, "_BHRfS_M", "a btrfs file system"}, {64, "_BHRfS_M", "a btrfs file system on zones"}, {0, "SFOZ", "a zone file system"}, {0, "LUKS\xba\xbe\x00", "a LUKS volume"}, {0, "LABELONE", "an LVM volume"}, {512, "LABELONE", "an LVM volume"},
		{4096, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00", "a RAID member"}, {4086, "SWAPSPACE2", "swap space"}, {3, "NTFS    ", "an NTFS file system"},
		{3, "EXFAT   ", "an exFAT file system"}, {82, "FAT32   ", "a FAT file system"}, {54, "FAT16   ", "a FAT file system"},
	} {
		if has(s.at, s.text) {
			return s.what
		}
	}
	if has(1080, "\x53\xef") && number(1024+0x18) <= 6 && number(1024+0x4c) <= 1 {
		return "an ext file system"
	}
	return ""
}
