package virtual

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Fault is something that goes wrong with a drive. Its text form is its only form:
//
//	write-error:LBA+COUNT   writing these blocks fails with an I/O error
//	read-error:LBA+COUNT    reading them does
//	drop-writes:LBA+COUNT   writes to them succeed and change nothing; drop-writes alone is all blocks
//	power-cut:N             power fails in the n-th write from the next opening on; it is back at the opening after that
//	pulled:N                the drive is gone from the n-th request on, until the fault is cleared
//	slow:RATE               at most so many bytes per second
type Fault struct {
	Kind  string
	Block int64 // first block, of the first three kinds
	Count int64 // blocks; or N; or bytes per second
}

// The kinds of faults.
const (
	WriteError = "write-error"
	ReadError  = "read-error"
	DropWrites = "drop-writes"
	PowerCut   = "power-cut"
	Pulled     = "pulled"
	Slow       = "slow"
)

// ParseFault reads the text form.
func ParseFault(s string) (Fault, error) {
	kind, rest, has := strings.Cut(s, ":")
	f := Fault{Kind: kind}
	switch kind {
	case DropWrites:
		if !has {
			f.Count = math.MaxInt64
			return f, nil
		}
		fallthrough
	case WriteError, ReadError:
		lba, count, plus := strings.Cut(rest, "+")
		var errB, errC error
		f.Block, errB = strconv.ParseInt(lba, 10, 64)
		f.Count, errC = strconv.ParseInt(count, 10, 64)
		if !plus || errB != nil || errC != nil || f.Block < 0 || f.Count < 1 || f.Block > math.MaxInt64-f.Count {
			return Fault{}, fmt.Errorf("fault %q: want %s:LBA+COUNT, as in %s:2048+8", s, kind, kind)
		}
	case PowerCut, Pulled, Slow:
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil || n < 1 {
			return Fault{}, fmt.Errorf("fault %q: want %s:NUMBER, as in %s:1000", s, kind, kind)
		}
		f.Count = n
	default:
		return Fault{}, fmt.Errorf("fault %q: not one of write-error:LBA+COUNT, read-error:LBA+COUNT, drop-writes[:LBA+COUNT], power-cut:N, pulled:N, slow:BYTES", s)
	}
	return f, nil
}

// String is the text form.
func (f Fault) String() string {
	switch f.Kind {
	case WriteError, ReadError, DropWrites:
		if f.Kind == DropWrites && f.Count == math.MaxInt64 {
			return f.Kind
		}
		return fmt.Sprintf("%s:%d+%d", f.Kind, f.Block, f.Count)
	}
	return fmt.Sprintf("%s:%d", f.Kind, f.Count)
}

// MarshalText and UnmarshalText keep faults readable in a drive's file.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text form.
func (f *Fault) UnmarshalText(text []byte) error {
	parsed, err := ParseFault(string(text))
	*f = parsed
	return err
}

// covers says whether the fault lies on a block.
func (f Fault) covers(block int64) bool { return block >= f.Block && block-f.Block < f.Count }
