package virtual

// cell is a column of a row with what is in it.
type cell struct {
	column uint64
	value  tokens
}

// columns are the names by which Enterprise calls columns, and the numbers by which all others do.
var columns = map[string]uint64{
	"UID": 0, "Name": 1, "CommonName": 2, "RangeStart": 3, "RangeLength": 4, "ReadLockEnabled": 5, "WriteLockEnabled": 6, "ReadLocked": 7, "WriteLocked": 8,
	"LockOnReset": 9, "ActiveKey": 10, "PIN": 3, "TryLimit": 5, "Tries": 6, "Persistence": 7, "Enabled": 5, "LifeCycleState": 6,
	"Version": 2, "EncryptSupport": 3, "MaxRanges": 4, "MaxReEncryptions": 5, "KeysAvailableCfg": 6, "Mode": 4,
}

// names are the columns of the tables that Enterprise has, by the table of an object.
var names = map[uint64][]string{
	tableLocking:              {"UID", "Name", "CommonName", "RangeStart", "RangeLength", "ReadLockEnabled", "WriteLockEnabled", "ReadLocked", "WriteLocked", "LockOnReset", "ActiveKey"},
	tablePIN:                  {"UID", "Name", "CommonName", "PIN", "CharSet", "TryLimit", "Tries", "Persistence"},
	tableAuthority:            {"UID", "Name", "CommonName", "IsClass", "Class", "Enabled"},
	tableSP:                   {"UID", "Name", "ORG", "EffectiveAuth", "DateOfIssue", "Bytes", "LifeCycleState"},
	lockingInfo &^ 0xffffffff: {"UID", "Name", "Version", "EncryptSupport", "MaxRanges", "MaxReEncryptions", "KeysAvailableCfg"},
	tableKeys:                 {"UID", "Name", "CommonName", "Key", "Mode"},
}

// tableOf is the table that an object is a row of.
func tableOf(object uint64) uint64 { return object &^ 0xffffffff }

func (t *tper) columnName(object, column uint64) tokens {
	if list := names[tableOf(object)]; t.enterprise() && column < uint64(len(list)) {
		return tokens{}.text([]byte(list[column]))
	}
	return tokens{}.number(column)
}

// columnOf is the number that a name or number of a column stands for.
func columnOf(v value) (uint64, bool) {
	switch v.kind {
	case isNumber:
		return v.number, true
	case isBytes:
		n, ok := columns[string(v.bytes)]
		return n, ok
	}
	return 0, false
}

// get is Get of some columns of an object, or of some bytes of a table of bytes (Core 5.3.3.6).
func (t *tper) get(s *tcgSession, c call) (tokens, int) {
	if len(c.args) != 1 || c.args[0].kind != isList {
		return nil, statusInvalid
	}
	block := c.args[0].list
	if data, status := t.bytesOf(s, c.object); status == statusSuccess {
		return t.getBytes(data, block)
	}
	row, ok := t.row(s, c.object)
	if !ok {
		return nil, statusNotAuthorized
	}
	from, to := uint64(0), ^uint64(0)
	for at, end := range map[*uint64]string{&from: "startColumn", &to: "endColumn"} {
		number := map[string]uint64{"startColumn": 3, "endColumn": 4}[end]
		if v, ok := optional(block, number, end); ok {
			if *at, ok = columnOf(v); !ok {
				return nil, statusInvalid
			}
		}
	}
	if from > to {
		return nil, statusInvalid
	}
	var list tokens
	for _, cell := range row {
		if cell.column >= from && cell.column <= to {
			list = list.named(t.columnName(c.object, cell.column), cell.value)
		}
	}
	if t.enterprise() {
		return tokens{}.listed(tokens{}.listed(list)), statusSuccess
	}
	return tokens{}.listed(list), statusSuccess
}

// getBytes is Get of a byte table.
func (t *tper) getBytes(data []byte, block []value) (tokens, int) {
	from, to := uint64(0), uint64(len(data)-1)
	for number, at := range map[uint64]*uint64{1: &from, 2: &to} {
		if v, ok := optional(block, number, ""); ok {
			if v.kind != isNumber {
				return nil, statusInvalid
			}
			*at = v.number
		}
	}
	if from > to || to >= uint64(len(data)) {
		return nil, statusInvalid
	}
	if to-from >= mostComPacket {
		return nil, statusOverflow
	}
	return tokens{}.text(data[from : to+1]), statusSuccess
}

// bytesOf is a byte table as the session may read it: the shadow MBR, which anybody may, and the data
// store, which admins may.
func (t *tper) bytesOf(s *tcgSession, object uint64) ([]byte, int) {
	full := func(data []byte, size int) ([]byte, int) {
		return append(append([]byte(nil), data...), make([]byte, size-len(data))...), statusSuccess
	}
	switch {
	case s.SP != spLocking:
	case object == tableMBR && t.d.profile.shadows():
		return full(t.s.MBR, mbrSize)
	case object == tableDataStore && s.admin():
		return full(t.s.DataStore, dataStoreSize)
	}
	return nil, statusNotAuthorized
}

// row is what a session may read of an object.
func (t *tper) row(s *tcgSession, object uint64) ([]cell, bool) {
	if s.SP == spAdmin {
		return t.adminRow(s, object)
	}
	u := tokens{}.uid(object)
	if n := t.rangeNumber(object); n >= 0 {
		return t.rangeRow(s, n)
	}
	if n := t.keyNumber(object); n >= 0 {
		return []cell{{0, u}, {4, tokens{}.number(10)}}, t.master(s, n) // XTS
	}
	text := func(s string) tokens { return tokens{}.text([]byte(s)) }
	number := func(n uint64) tokens { return tokens{}.number(n) }
	switch {
	case object == lockingInfo, t.enterprise() && object == tableOf(lockingInfo):
		list := []cell{{0, u}, {1, text("LockingInfo")}, {2, number(1)}, {3, number(uint64(flagBit(t.s.keyed())))}, {4, number(tcgRanges - 1)}, {5, number(0)}, {6, number(0)}}
		if !t.enterprise() {
			list = append(list, cell{7, number(1)}, cell{8, number(uint64(t.s.Block))}, cell{9, number(t.s.granularity())}, cell{10, number(0)})
		}
		return list, true
	case object == mbrControl && t.d.profile.shadows():
		return []cell{{0, u}, {1, tokens{}.flag(t.s.MBREnabled)}, {2, tokens{}.flag(t.s.MBRDone)}, {3, tokens{}.numbers(t.s.MBRDoneOnReset)}}, true
	case object == tableTable|tableMBR>>32 && t.d.profile.shadows():
		return []cell{{0, u}, {1, text("MBR")}, {4, number(2)}, {7, number(mbrSize)}, {13, number(1)}, {14, number(1)}}, true
	case object == tableTable|tableDataStore>>32 && !t.enterprise():
		return []cell{{0, u}, {1, text("DataStore")}, {4, number(2)}, {7, number(dataStoreSize)}, {13, number(1)}, {14, number(1)}}, true
	}
	return t.credentialRow(s, object, t.s.Locking, func(uid uint64) bool { return s.admin() || s.is(uid, authEraseMaster) })
}

// credentialRow is a row of C_PIN, without the PIN, or of Authority, for those who may read it.
func (t *tper) credentialRow(s *tcgSession, object uint64, list map[uint64]*credential, may func(uid uint64) bool) ([]cell, bool) {
	authority := tableAuthority | object&0xffffffff
	if object == pinSID && s.SP == spAdmin {
		authority = authSID
	}
	c := list[authority]
	if c == nil || tableOf(object) != tablePIN && tableOf(object) != tableAuthority {
		return nil, false
	}
	u := tokens{}.uid(object)
	if tableOf(object) == tablePIN {
		return []cell{{0, u}, {5, tokens{}.number(c.Limit)}, {6, tokens{}.number(c.Tries)}, {7, tokens{}.flag(c.Persists)}}, may(authority)
	}
	return []cell{{0, u}, {5, tokens{}.flag(c.Enabled)}}, may(authority)
}

// adminRow is a row of the Admin SP.
func (t *tper) adminRow(s *tcgSession, object uint64) ([]cell, bool) {
	u := tokens{}.uid(object)
	number := func(n uint64) tokens { return tokens{}.number(n) }
	text := func(s string) tokens { return tokens{}.text([]byte(s)) }
	switch {
	case object == pinMSID:
		return []cell{{0, u}, {1, text("C_PIN_MSID")}, {3, text(t.s.MSID)}}, true
	case object == spAdmin, object == t.lockingSP():
		state, name := uint64(9), "Admin" // Manufactured
		if object != spAdmin {
			name = "Locking"
			if !t.s.Active {
				state = 8 // Manufactured-Inactive
			}
		}
		return []cell{{0, u}, {1, text(name)}, {6, number(state)}}, true
	case object == tperInfo, object == 0x0000020100000001 && t.enterprise():
		class := map[tcgKind]string{tcgOpal: "Opal", tcgRuby: "Ruby", tcgPyrite: "Pyrite", tcgEnterprise: "Enterprise"}[t.d.profile.tcg.kind]
		return []cell{{0, u}, {4, number(1)}, {5, number(1)}, {6, number(0)}, {7, tokens{}.listed(text(class))}, {8, tokens{}.flag(t.s.ResetEnabled)}}, true
	case object == removalMechanism && !t.enterprise():
		return []cell{{0, u}, {1, number(uint64(t.s.Mechanism))}}, true
	}
	return t.credentialRow(s, object, t.s.Admin, func(uid uint64) bool { return s.is(authSID, uid) })
}

// rangeRow is a row of the Locking table, which admins may read, and the master and the eraser of a
// band.
func (t *tper) rangeRow(s *tcgSession, n int) ([]cell, bool) {
	r := &t.s.Ranges[n]
	number := func(n uint64) tokens { return tokens{}.number(n) }
	key := uint64(0)
	if t.s.keyed() {
		key = t.keyUID(n)
	}
	may := t.master(s, n) || s.is(authEraseMaster)
	for _, user := range append(r.Readers, r.Writers...) {
		may = may || s.is(user)
	}
	return []cell{
		{0, tokens{}.uid(t.rangeUID(n))}, {1, tokens{}.text(r.Name)}, {2, tokens{}.text([]byte("Locking"))}, {3, number(r.Start)}, {4, number(r.Length)},
		{5, tokens{}.flag(r.ReadEnabled)}, {6, tokens{}.flag(r.WriteEnabled)}, {7, tokens{}.flag(r.ReadLocked)}, {8, tokens{}.flag(r.WriteLocked)},
		{9, tokens{}.numbers(r.OnReset)}, {10, tokens{}.uid(key)},
	}, may
}
