package tcg

import (
	"context"
	"errors"
	"fmt"
)

// Each of the functions below is one command. nil says that the TPer took it; whether data are gone is
// told by other means. A StatusError that Refused says that nothing was done. Any other error leaves
// open what was done.

// noResults calls a method that has no parameters and no results.
func (s *Session) noResults(ctx context.Context, op string, invoking, method UID) error {
	values, err := s.method(ctx, op, invoking, method, nil)
	if err == nil && len(values) != 0 {
		return fmt.Errorf("%s: %d results, want none", op, len(values))
	}
	return err
}

// within refuses what would be sent to a wrong SP: there it names another object, or none.
func (s *Session) within(op string, sps ...SP) error {
	for _, sp := range sps {
		if s.sp == sp {
			return nil
		}
	}
	return fmt.Errorf("%s: it has no place in a session with the %v", op, s.sp)
}

// Activate makes the Locking SP active (Opal 2.30 5.1.1): a session with the Admin SP, as SID. Admin1 has
// the SID's PIN from then on, and no user data are destroyed. On one that is active it has no effect.
func (s *Session) Activate(ctx context.Context) error {
	const op = "Activate"
	if err := s.within(op, AdminSP); err != nil {
		return err
	}
	return s.noResults(ctx, op, UID(LockingSP), methodActivate)
}

// Revert brings an SP back to its original state (Opal 2.30 5.1.2): a session with the Admin SP, as SID or
// PSID. Reverting the Admin SP reverts the whole drive: when the Locking SP was active, all keys and user
// data go, and when it was not, none. The TPer aborts the session, and nothing may interrupt the drive
// until its removal of data is at its end.
func (s *Session) Revert(ctx context.Context, sp SP) error {
	op := fmt.Sprintf("Revert of the %v", sp)
	if err := s.within(op, AdminSP); err != nil {
		return err
	}
	err := s.noResults(ctx, op, UID(sp), methodRevert)
	if err == nil && sp == AdminSP {
		s.abandon(ctx)
	}
	return err
}

// RevertSP brings the session's own SP back to its original state (Opal 2.30 5.1.3). It is sent without
// KeepGlobalRangeKey, with which the key of most of the drive would stay. The TPer aborts the session.
func (s *Session) RevertSP(ctx context.Context) error {
	err := s.noResults(ctx, fmt.Sprintf("RevertSP of the %v", s.sp), thisSP, methodRevertSP)
	if err == nil {
		s.abandon(ctx)
	}
	return err
}

// GenKey makes a new media encryption key in place of an old one (Core 5.7.3.3): a session with the
// Locking SP, as Admin1. key is a range's ActiveKey, and nothing else is taken.
func (s *Session) GenKey(ctx context.Context, key UID) error {
	op := fmt.Sprintf("GenKey of %v", key)
	if t := key >> tableOf; t != tableKAES128 && t != tableKAES256 {
		return fmt.Errorf("%s: that is no media encryption key", op)
	}
	if err := s.within(op, LockingSP); err != nil {
		return err
	}
	return s.noResults(ctx, op, key, methodGenKey)
}

// Erase erases an Enterprise band cryptographically, and resets its locks and its BandMaster's PIN
// (Enterprise SSC, Erase): a session with the Enterprise Locking SP, as EraseMaster.
func (s *Session) Erase(ctx context.Context, r Range) error {
	op := fmt.Sprintf("Erase of %v", r.UID)
	if err := s.within(op, EnterpriseLockingSP); err != nil {
		return err
	}
	if r.UID>>tableOf != tableLocking {
		return fmt.Errorf("%s: that is no band", op)
	}
	return s.noResults(ctx, op, r.UID, methodErase)
}

// Column is a table's column: Core numbers it, and the Enterprise SSC has its name.
type Column struct {
	Number uint64
	Name   string
}

// Get reads one column of an object (Core 5.3.3.6). has is false when the TPer gives no value for it,
// which is how it keeps what an authority may not read.
func (s *Session) Get(ctx context.Context, object UID, c Column) (v Value, has bool, err error) {
	row, err := s.get(ctx, object, c, c)
	if err != nil {
		return Value{}, false, err
	}
	return find(row, c)
}

// get reads columns from first to last.
func (s *Session) get(ctx context.Context, object UID, first, last Column) ([]Value, error) {
	op, method := fmt.Sprintf("Get %s of %v", first.Name, object), methodGet
	if s.words {
		method = methodEntGet
	}
	column := func(e *encoder, c Column) {
		if s.words {
			e.text(c.Name)
		} else {
			e.uint(c.Number)
		}
	}
	values, err := s.method(ctx, op, object, method, func(e *encoder) {
		e.list(func() {
			e.name(s.words, 3, "startColumn", func() { column(e, first) })
			e.name(s.words, 4, "endColumn", func() { column(e, last) })
		})
	})
	if err != nil {
		return nil, err
	}
	// Of a table with one row the Enterprise SSC returns a list of rows.
	for len(values) == 1 && values[0].Kind == KindList {
		values = values[0].List
	}
	for _, v := range values {
		if v.Kind != KindName {
			return nil, fmt.Errorf("%s: a column without its name", op)
		}
	}
	return values, nil
}

// find takes a column out of a row; one that is there twice is none.
func find(row []Value, c Column) (v Value, has bool, err error) {
	for _, x := range row {
		name := x.List[0]
		if (name.Kind == KindUint && name.Uint == c.Number) || (name.Kind == KindBytes && string(name.Bytes) == c.Name) {
			if has {
				return Value{}, false, fmt.Errorf("column %s comes twice", c.Name)
			}
			v, has = x.List[1], true
		}
	}
	return v, has, nil
}

// errNoColumn: a column that was asked for did not come.
var errNoColumn = errors.New("it is not told")

// SetUint writes a number to one column of an object (Core 5.3.3.7).
func (s *Session) SetUint(ctx context.Context, object UID, c Column, n uint64) error {
	return s.set(ctx, object, c, func(e *encoder) { e.uint(n) })
}

// SetSecret writes a PIN to one column of an object.
func (s *Session) SetSecret(ctx context.Context, object UID, c Column, pin Secret) error {
	return s.set(ctx, object, c, func(e *encoder) { e.bytes(pin.Reveal()) })
}

func (s *Session) set(ctx context.Context, object UID, c Column, value func(*encoder)) error {
	op, method := fmt.Sprintf("Set %s of %v", c.Name, object), methodSet
	cells := func(e *encoder) { e.list(func() { e.name(s.words, c.Number, c.Name, func() { value(e) }) }) }
	args := func(e *encoder) { e.name(false, 1, "Values", func() { cells(e) }) }
	if s.words {
		method = methodEntSet
		args = func(e *encoder) {
			e.list(func() {})           // of an object there are no rows to choose
			e.list(func() { cells(e) }) // rows of cells
		}
	}
	values, err := s.method(ctx, op, object, method, args)
	if err != nil {
		return err
	}
	for len(values) == 1 && values[0].Kind == KindList {
		values = values[0].List
	}
	if s.words && len(values) == 1 {
		if taken, err := values[0].bool(); err == nil && taken {
			return nil // that SSC may answer with a truth value
		}
	}
	if len(values) != 0 {
		return fmt.Errorf("%s: %d results, want none", op, len(values))
	}
	return nil
}
