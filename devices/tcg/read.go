package tcg

import (
	"context"
	"errors"
	"fmt"
)

// The columns that are read (Core 5.3.2.12, 5.4.2.3, 5.7.2; Opal 2.30 4.2).
var (
	columnPIN       = Column{3, "PIN"}
	columnTryLimit  = Column{5, "TryLimit"}
	columnTries     = Column{6, "Tries"}
	columnLifeCycle = Column{6, "LifeCycleState"}
	columnMechanism = Column{1, "ActiveDataRemovalMechanism"}
	columnMaxRanges = Column{4, "MaxRanges"}

	columnStart       = Column{3, "RangeStart"}
	columnLength      = Column{4, "RangeLength"}
	columnReadLocked  = Column{7, "ReadLocked"}
	columnWriteLocked = Column{8, "WriteLocked"}
	columnActiveKey   = Column{10, "ActiveKey"}
)

// ReadMSID reads the PIN that the drive was made with and anybody may read: a session with the Admin SP.
// Whoever was given the drive new has it for the SID's, and of an Enterprise drive for those of the
// EraseMaster and the BandMasters.
func (s *Session) ReadMSID(ctx context.Context) (Secret, error) {
	v, has, err := s.Get(ctx, cPINMSID, columnPIN)
	switch {
	case err != nil:
		return Secret{}, fmt.Errorf("MSID: %w", err)
	case !has:
		return Secret{}, fmt.Errorf("MSID: %w", errNoColumn)
	case v.Kind != KindBytes || len(v.Bytes) == 0:
		return Secret{}, errors.New("MSID: it is no PIN")
	}
	return NewSecret(v.Bytes), nil
}

// LifeCycle is the state of a security provider (Core 4.5.2, Opal 2.30 5.2.2).
type LifeCycle uint8

// The states of an SP that was made with the drive.
const (
	ManufacturedInactive LifeCycle = 8
	Manufactured         LifeCycle = 9
	ManufacturedDisabled LifeCycle = 10
	ManufacturedFrozen   LifeCycle = 11
	ManufacturedFailed   LifeCycle = 13
)

func (l LifeCycle) String() string {
	switch l {
	case ManufacturedInactive:
		return "inactive"
	case Manufactured:
		return "active"
	case ManufacturedDisabled:
		return "disabled"
	case ManufacturedFrozen:
		return "frozen"
	case ManufacturedFailed:
		return "failed"
	}
	return fmt.Sprintf("life cycle state %d", uint8(l))
}

// ReadLifeCycle reads the state of the Locking SP: a session with the Admin SP. The Enterprise SSC has
// its own, which is always active.
func (s *Session) ReadLifeCycle(ctx context.Context) (LifeCycle, error) {
	n, err := s.number(ctx, UID(LockingSP), columnLifeCycle, 0xff)
	return LifeCycle(n), err
}

// ReadDataRemoval reads by which mechanism a revert removes user data beside changing the keys: a session
// with the Admin SP (Opal 2.30 4.2.7.1).
func (s *Session) ReadDataRemoval(ctx context.Context) (uint8, error) {
	n, err := s.number(ctx, dataRemoval, columnMechanism, 0xff)
	return uint8(n), err
}

// SetDataRemoval chooses that mechanism, as SID.
func (s *Session) SetDataRemoval(ctx context.Context, mechanism uint8) error {
	return s.SetUint(ctx, dataRemoval, columnMechanism, uint64(mechanism))
}

// SetSIDPIN gives the owner another PIN, as SID.
func (s *Session) SetSIDPIN(ctx context.Context, pin Secret) error {
	return s.SetSecret(ctx, cPINSID, columnPIN, pin)
}

// ReadSIDTries reads how many wrong PINs were tried as SID, and after how many no more are taken until a
// power cycle, 0 being never. known is false when the session's authority may not read it.
func (s *Session) ReadSIDTries(ctx context.Context) (tries, limit uint32, known bool, err error) {
	row, err := s.get(ctx, cPINSID, columnTryLimit, columnTries)
	if IsStatus(err, NotAuthorized) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	for _, x := range []struct {
		c  Column
		to *uint32
	}{{columnTries, &tries}, {columnTryLimit, &limit}} {
		v, has, err := find(row, x.c)
		if err != nil || !has {
			return 0, 0, false, err
		}
		n, err := v.uint(1<<32 - 1)
		if err != nil {
			return 0, 0, false, fmt.Errorf("%s: %w", x.c.Name, err)
		}
		*x.to = uint32(n)
	}
	return tries, limit, true, nil
}

func (s *Session) number(ctx context.Context, object UID, c Column, limit uint64) (uint64, error) {
	v, has, err := s.Get(ctx, object, c)
	if err != nil {
		return 0, err
	}
	if !has {
		return 0, fmt.Errorf("%s of %v: %w", c.Name, object, errNoColumn)
	}
	n, err := v.uint(limit)
	if err != nil {
		return 0, fmt.Errorf("%s of %v: %w", c.Name, object, err)
	}
	return n, nil
}

// Range is a locking range, or an Enterprise band. Range and band 0 are all that is in no other.
type Range struct {
	UID         UID
	Start       uint64 // logical blocks
	Length      uint64 // 0 of one that is not in use, and of the global one
	ReadLocked  bool
	WriteLocked bool
	ActiveKey   UID // 0 where it is not told; the Enterprise SSC has no use for it
}

// Global says whether the range is the one that has all blocks which are in no other.
func (r Range) Global() bool { return r.UID == globalRange }

// ReadRanges reads every range that there is, in use or not: a session with the Locking SP, as Admin1, or
// with the Enterprise Locking SP. It returns all of them or an error: one that was left out would keep
// its key.
func (s *Session) ReadRanges(ctx context.Context) ([]Range, error) {
	list, err := s.rangeUIDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list of ranges: %w", err)
	}
	ranges := make([]Range, 0, len(list))
	for _, u := range list {
		r, err := s.readRange(ctx, u)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// rangeUIDs lists the ranges. LockingInfo counts those beside the global one (Core 5.7.2.1); the bands of
// the Enterprise SSC are numbered through, and the ranges of others are the rows of the Locking table,
// among which those of namespaces are.
func (s *Session) rangeUIDs(ctx context.Context) ([]UID, error) {
	info := lockingInfo
	if s.words {
		info = entLockingInfo
	}
	beside, err := s.number(ctx, info, columnMaxRanges, maxRangesAllowed)
	if err != nil {
		return nil, err
	}
	if s.words {
		list := make([]UID, beside+1)
		for i := range list {
			list[i] = globalRange + UID(i)
		}
		return list, nil
	}
	list, err := s.rows(ctx, lockingTable)
	if err != nil {
		return nil, err
	}
	global := 0
	for _, u := range list {
		if u>>tableOf != tableLocking {
			return nil, fmt.Errorf("row %v is of another table", u)
		}
		if u == globalRange {
			global++
		}
	}
	if global != 1 || uint64(len(list)) != beside+1 {
		return nil, fmt.Errorf("%d rows, %d of them global, and %d ranges are told beside that", len(list), global, beside)
	}
	return list, nil
}

// rowsAtOnce fit one answer: nine bytes each.
const rowsAtOnce = 64

// rows lists the rows of a table (Core 5.3.3.11).
func (s *Session) rows(ctx context.Context, table UID) ([]UID, error) {
	op := fmt.Sprintf("Next of %v", table)
	var list []UID
	seen := map[UID]bool{}
	for {
		values, err := s.method(ctx, op, table, methodNext, func(e *encoder) {
			if n := len(list); n > 0 {
				e.name(s.words, 0, "Where", func() { e.uid(list[n-1]) })
			}
			e.name(s.words, 1, "Count", func() { e.uint(rowsAtOnce) })
		})
		if err != nil {
			return nil, err
		}
		if len(values) != 1 || values[0].Kind != KindList {
			return nil, fmt.Errorf("%s: the answer is no list of rows", op)
		}
		for _, v := range values[0].List {
			u, err := v.uid()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
			if seen[u] || len(list) > maxRangesAllowed {
				return nil, fmt.Errorf("%s: row %v again, or too many of them", op, u)
			}
			seen[u] = true
			list = append(list, u)
		}
		if len(values[0].List) < rowsAtOnce {
			return list, nil
		}
	}
}

func (s *Session) readRange(ctx context.Context, u UID) (Range, error) {
	row, err := s.get(ctx, u, columnStart, columnActiveKey)
	if err != nil {
		return Range{}, err
	}
	r := Range{UID: u}
	for _, x := range []struct {
		c    Column
		need bool
		read func(v Value) error
	}{
		{columnStart, true, func(v Value) (err error) { r.Start, err = v.uint(1<<64 - 1); return err }},
		{columnLength, true, func(v Value) (err error) { r.Length, err = v.uint(1<<64 - 1); return err }},
		{columnReadLocked, true, func(v Value) (err error) { r.ReadLocked, err = v.bool(); return err }},
		{columnWriteLocked, true, func(v Value) (err error) { r.WriteLocked, err = v.bool(); return err }},
		{columnActiveKey, !s.words, func(v Value) (err error) { r.ActiveKey, err = v.uid(); return err }},
	} {
		v, has, err := find(row, x.c)
		if err == nil && !has && x.need {
			err = errNoColumn
		}
		if err == nil && has {
			err = x.read(v)
		}
		if err != nil {
			return Range{}, fmt.Errorf("range %v: %s: %w", u, x.c.Name, err)
		}
	}
	return r, nil
}
