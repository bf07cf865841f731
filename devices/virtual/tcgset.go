package virtual

import (
	"bytes"
	"slices"
)

// set is Set of some columns of an object, or of some bytes of a table (Core 5.3.3.7): all of it is
// done, or nothing.
func (t *tper) set(s *tcgSession, c call) int {
	where, values, ok := t.assignments(c)
	if !ok {
		return statusInvalid
	}
	if s.SP != spAdmin && (c.object == tableMBR && t.d.profile.shadows() || c.object == tableDataStore && !t.enterprise()) {
		return t.setBytes(s, c.object, where, values)
	}
	cells := map[uint64]value{}
	if values.kind != isList {
		return statusInvalid
	}
	for _, v := range values.list {
		if v.kind != isName {
			return statusInvalid
		}
		column, ok := columnOf(v.list[0])
		if !ok {
			return statusInvalid
		}
		cells[column] = v.list[1]
	}
	if s.SP == spAdmin {
		return t.setAdmin(s, c.object, cells)
	}
	if n := t.rangeNumber(c.object); n >= 0 {
		return t.setRange(s, n, cells)
	}
	switch {
	case c.object == mbrControl && t.d.profile.shadows():
		return t.setMBRControl(s, cells)
	case tableOf(c.object) == tableACE:
		return t.setACE(s, c.object, cells)
	}
	return t.setCredential(s, c.object, cells)
}

// assignments takes the parameters of Set apart: Where and Values are named in Core, and come in their
// order in Enterprise.
func (t *tper) assignments(c call) (where uint64, values value, ok bool) {
	if t.enterprise() {
		if len(c.args) != 2 || c.args[1].kind != isList || len(c.args[1].list) != 1 {
			return 0, value{}, false
		}
		return 0, c.args[1].list[0], true
	}
	if v, ok := optional(c.args, 0, ""); ok {
		switch {
		case v.kind == isNumber:
			where = v.number
		case v.kind == isList && len(v.list) == 1 && v.list[0].kind == isNumber:
			where = v.list[0].number
		default:
			return 0, value{}, false
		}
	}
	values, ok = optional(c.args, 1, "")
	return where, values, ok
}

func (t *tper) setBytes(s *tcgSession, object, where uint64, v value) int {
	table, size := &t.s.MBR, uint64(mbrSize)
	if object == tableDataStore {
		table, size = &t.s.DataStore, dataStoreSize
	}
	switch {
	case !s.admin():
		return statusNotAuthorized
	case v.kind != isBytes || where > size || uint64(len(v.bytes)) > size-where:
		return statusInvalid
	}
	if grow := int(where) + len(v.bytes) - len(*table); grow > 0 {
		*table = append(*table, make([]byte, grow)...)
	}
	copy((*table)[where:], v.bytes)
	return statusSuccess
}

// boolean takes a cell that is one.
func boolean(v value, at *bool) bool {
	if v.kind != isNumber || v.number > 1 {
		return false
	}
	*at = v.number == 1
	return true
}

// resets takes a cell that is a list of types of resets; a power cycle is always one of those that a
// drive has.
func resets(v value, at *[]int) bool {
	if v.kind != isList {
		return false
	}
	list := []int{}
	for _, v := range v.list {
		if v.kind != isNumber || v.number > resetProgram {
			return false
		}
		list = append(list, int(v.number))
	}
	*at = list
	return true
}

// setAdmin sets what the Admin SP has to set, as SID.
func (t *tper) setAdmin(s *tcgSession, object uint64, cells map[uint64]value) int {
	if !s.is(authSID) {
		return statusNotAuthorized
	}
	switch {
	case object == removalMechanism && !t.enterprise():
		v, ok := cells[1]
		if !ok || len(cells) != 1 || v.kind != isNumber || v.number > 7 || !slices.Contains(t.d.profile.mechanisms(), byte(v.number)) {
			return statusInvalid
		}
		t.s.Mechanism = byte(v.number)
		return statusSuccess
	case object == tperInfo && !t.enterprise():
		v, ok := cells[8]
		if !ok || len(cells) != 1 || !boolean(v, &t.s.ResetEnabled) {
			return statusInvalid
		}
		return statusSuccess
	case object == pinSID:
		return t.setPIN(t.s.Admin[authSID], cells)
	}
	return statusNotAuthorized
}

// setPIN sets a PIN, of which the tries begin anew.
func (t *tper) setPIN(c *credential, cells map[uint64]value) int {
	v, ok := cells[columns["PIN"]]
	if !ok || len(cells) != 1 || v.kind != isBytes || len(v.bytes) > maxPIN {
		return statusInvalid
	}
	c.PIN, c.Tries = bytes.Clone(v.bytes), 0
	return statusSuccess
}

// setCredential sets a PIN of the Locking SP, or enables an authority: admins may, and each for itself.
func (t *tper) setCredential(s *tcgSession, object uint64, cells map[uint64]value) int {
	authority := tableAuthority | object&0xffffffff
	c, table := t.s.Locking[authority], tableOf(object)
	switch {
	case c == nil, table == tablePIN && !s.admin() && !s.is(authority):
		return statusNotAuthorized
	case table == tablePIN:
		return t.setPIN(c, cells)
	case table == tableAuthority && (s.admin() && authority != authAdmin1 || s.is(authEraseMaster)):
		v, ok := cells[columns["Enabled"]]
		if !ok || len(cells) != 1 || !boolean(v, &c.Enabled) {
			return statusInvalid
		}
		return statusSuccess
	}
	return statusNotAuthorized
}

func (t *tper) setMBRControl(s *tcgSession, cells map[uint64]value) int {
	if !s.admin() {
		return statusNotAuthorized
	}
	enabled, done, on := t.s.MBREnabled, t.s.MBRDone, t.s.MBRDoneOnReset
	for column, v := range cells {
		ok := false
		switch column {
		case 1:
			ok = boolean(v, &enabled)
		case 2:
			ok = boolean(v, &done)
		case 3:
			ok = resets(v, &on)
		}
		if !ok {
			return statusInvalid
		}
	}
	t.s.MBREnabled, t.s.MBRDone, t.s.MBRDoneOnReset = enabled, done, on
	return statusSuccess
}

// setACE gives users the say over the locks of a range (Opal SSC 4.3.1.7): of an expression those
// authorities count that are users.
func (t *tper) setACE(s *tcgSession, object uint64, cells map[uint64]value) int {
	read, write := object-aceReadLocked, object-aceWriteLocked
	v, ok := cells[3]
	switch {
	case !s.admin() || read >= tcgRanges && write >= tcgRanges:
		return statusNotAuthorized
	case !ok || len(cells) != 1 || v.kind != isList:
		return statusInvalid
	}
	var users []uint64
	for _, v := range v.list {
		if v.kind == isName && t.s.Locking[v.list[1].uid()] != nil {
			users = append(users, v.list[1].uid())
		}
	}
	if read < tcgRanges {
		t.s.Ranges[read].Readers = users
	} else {
		t.s.Ranges[write].Writers = users
	}
	return statusSuccess
}

// setRange sets columns of a range. Its place on the medium is not to overlap another's, and the
// global range has none; users may lock and unlock, where they were given that.
func (t *tper) setRange(s *tcgSession, n int, cells map[uint64]value) int {
	r := t.s.Ranges[n]
	allowed := map[uint64]bool{}
	for column := range uint64(11) {
		allowed[column] = t.master(s, n) && column != 0 && column != 2 && column != 10
	}
	allowed[7] = allowed[7] || s.is(r.Readers...)
	allowed[8] = allowed[8] || s.is(r.Writers...)
	for column, v := range cells {
		if !allowed[column] {
			return statusNotAuthorized
		}
		ok := v.kind == isNumber
		switch column {
		case 1:
			if ok = v.kind == isBytes && len(v.bytes) <= maxPIN; ok {
				r.Name = bytes.Clone(v.bytes)
			}
		case 3:
			r.Start = v.number
		case 4:
			r.Length = v.number
		case 5:
			ok = boolean(v, &r.ReadEnabled)
		case 6:
			ok = boolean(v, &r.WriteEnabled)
		case 7:
			ok = boolean(v, &r.ReadLocked)
		case 8:
			ok = boolean(v, &r.WriteLocked)
		case 9:
			ok = resets(v, &r.OnReset)
		}
		if !ok {
			return statusInvalid
		}
	}
	if r.Start != t.s.Ranges[n].Start || r.Length != t.s.Ranges[n].Length {
		if !t.fits(n, r) {
			return statusInvalid
		}
	}
	t.s.Ranges[n] = r
	return statusSuccess
}

// fits says whether a range is where it may be.
func (t *tper) fits(n int, r lockingRange) bool {
	blocks, unit := uint64(t.s.Addressable/t.s.Block), t.s.granularity()
	if n == 0 || r.Start > blocks || r.Length > blocks-r.Start || r.Start%unit != 0 || r.Length%unit != 0 {
		return false
	}
	for k, o := range t.s.Ranges {
		if k != 0 && k != n && r.Length > 0 && o.Length > 0 && r.Start < o.Start+o.Length && o.Start < r.Start+r.Length {
			return false
		}
	}
	return true
}
