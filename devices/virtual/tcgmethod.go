package virtual

import (
	"crypto/rand"
	"slices"
)

// Security providers, authorities and objects by their UIDs (Core 5.1.3, Opal SSC 2.02 chapter 4,
// Enterprise SSC 1.01 chapter 4).
const (
	thisSP       = 0x0000000000000001
	spAdmin      = 0x0000020500000001
	spLocking    = 0x0000020500000002
	spEnterprise = 0x0000020500010001

	authAnybody     = 0x0000000900000001
	authSID         = 0x0000000900000006
	authPSID        = 0x000000090001ff01
	authAdmin1      = 0x0000000900010001
	authUser1       = 0x0000000900030001
	authBandMaster0 = 0x0000000900008001
	authEraseMaster = 0x0000000900008401

	tableSP        = 0x0000020500000000
	tableAuthority = 0x0000000900000000
	tablePIN       = 0x0000000b00000000
	tableLocking   = 0x0000080200000000
	tableKeys      = 0x0000080600000000
	tableMBR       = 0x0000080400000000
	tableDataStore = 0x0000100100000000
	tableTable     = 0x0000000100000000
	tableACE       = 0x0000000800000000

	pinSID  = 0x0000000b00000001
	pinMSID = 0x0000000b00008402

	globalRange      = 0x0000080200000001
	firstRange       = 0x0000080200030001
	globalKey        = 0x0000080600000001
	firstKey         = 0x0000080600030001
	lockingInfo      = 0x0000080100000001
	mbrControl       = 0x0000080300000001
	tperInfo         = 0x0000020100030001
	removalMechanism = 0x0000110100000001
	aceReadLocked    = 0x000000080003e000 // of the global range; those of others follow
	aceWriteLocked   = 0x000000080003e800
)

// Methods by their UIDs; Enterprise has some of its own.
const (
	methodGet          = 0x0000000600000016
	methodSet          = 0x0000000600000017
	methodNext         = 0x0000000600000008
	methodAuthenticate = 0x000000060000001c
	methodRandom       = 0x0000000600000601
	methodGenKey       = 0x0000000600000010
	methodRevertSP     = 0x0000000600000011
	methodRevert       = 0x0000000600000202
	methodActivate     = 0x0000000600000203
	methodErase        = 0x0000000600000803

	enterpriseGet          = 0x0000000600000006
	enterpriseSet          = 0x0000000600000007
	enterpriseAuthenticate = 0x000000060000000c
)

// keepGlobalRangeKey is the parameter of RevertSP (Opal SSC 5.1.3.1).
const keepGlobalRangeKey = 0x060000

// enterprise says whether names stand where Core has numbers.
func (t *tper) enterprise() bool { return t.d.profile.tcg.kind == tcgEnterprise }

// invoke carries a method out in a session.
func (t *tper) invoke(s *tcgSession, c call) (result tokens, status int, err error) {
	method := c.method
	if t.enterprise() {
		own := map[uint64]uint64{enterpriseGet: methodGet, enterpriseSet: methodSet, enterpriseAuthenticate: methodAuthenticate}
		if m, ok := own[method]; ok {
			method = m
		} else if slices.Contains([]uint64{methodGet, methodSet, methodAuthenticate, methodActivate}, method) {
			return nil, statusNotAuthorized, nil
		}
	}
	if !s.Write && slices.Contains([]uint64{methodSet, methodGenKey, methodRevertSP, methodRevert, methodActivate, methodErase}, method) {
		return nil, statusNotAuthorized, nil
	}
	switch method {
	case methodGet:
		result, status = t.get(s, c)
		return result, status, nil
	case methodSet:
		return nil, t.set(s, c), nil
	case methodNext:
		result, status = t.next(s, c)
		return result, status, nil
	case methodRandom:
		return t.random(c)
	case methodAuthenticate:
		if c.object != thisSP || len(c.args) == 0 {
			return nil, statusInvalid, nil
		}
		proof, _ := optional(c.args, 0, "Challenge")
		status := t.verify(s, c.args[0].uid(), proof.bytes)
		if status == statusLockedOut {
			return nil, status, nil
		}
		return tokens{}.flag(status == statusSuccess), statusSuccess, nil
	case methodActivate:
		return nil, t.activateSP(s, c), nil
	case methodGenKey:
		status, err = t.genKey(s, c)
		return nil, status, err
	case methodErase:
		status, err = t.eraseBand(s, c)
		return nil, status, err
	case methodRevert, methodRevertSP:
		status, err = t.revert(s, c)
		return nil, status, err
	}
	return nil, statusNotAuthorized, nil
}

// random is Random (Core 5.6.4.1).
func (t *tper) random(c call) (tokens, int, error) {
	if c.object != thisSP || len(c.args) != 1 || c.args[0].kind != isNumber || c.args[0].number > 256 {
		return nil, statusInvalid, nil
	}
	raw := make([]byte, c.args[0].number)
	rand.Read(raw)
	return tokens{}.text(raw), statusSuccess, nil
}

// next lists the rows of a table (Core 5.3.3.13): all of them, or some after one.
func (t *tper) next(s *tcgSession, c call) (tokens, int) {
	rows := t.rowsOf(s, c.object)
	if rows == nil {
		return nil, statusNotAuthorized
	}
	if where, ok := optional(c.args, 0, "Where"); ok {
		at := slices.Index(rows, where.uid())
		if at < 0 {
			return nil, statusInvalid
		}
		rows = rows[at+1:]
	}
	if count, ok := optional(c.args, 1, "Count"); ok {
		if count.kind != isNumber {
			return nil, statusInvalid
		}
		rows = rows[:min(uint64(len(rows)), count.number)]
	}
	var list tokens
	for _, uid := range rows {
		list = list.uid(uid)
	}
	return tokens{}.listed(list), statusSuccess
}

// rowsOf is a table's rows in an SP; nil when it has no such table.
func (t *tper) rowsOf(s *tcgSession, table uint64) []uint64 {
	var rows []uint64
	switch {
	case s.SP == spAdmin && table == tableSP:
		return []uint64{spAdmin, t.lockingSP()}
	case s.SP == spAdmin && table == tablePIN:
		return []uint64{pinSID, pinMSID}
	case table == tablePIN || table == tableAuthority:
		list := t.s.Locking
		if s.SP == spAdmin {
			list = t.s.Admin
		}
		for uid := range list {
			rows = append(rows, table|uid&0xffffffff)
		}
		slices.Sort(rows)
	case s.SP != spAdmin && table == tableLocking:
		for n := range t.s.Ranges {
			rows = append(rows, t.rangeUID(n))
		}
	case s.SP != spAdmin && table == tableKeys && t.s.keyed():
		for n := range t.s.Ranges {
			rows = append(rows, t.keyUID(n))
		}
	}
	return rows
}

func (t *tper) lockingSP() uint64 {
	if t.enterprise() {
		return spEnterprise
	}
	return spLocking
}

// rangeUID and keyUID are the rows of a range and of its key; the bands of Enterprise count on from
// the global range.
func (t *tper) rangeUID(n int) uint64 { return t.nth(globalRange, firstRange, n) }
func (t *tper) keyUID(n int) uint64   { return t.nth(globalKey, firstKey, n) }

func (t *tper) nth(global, first uint64, n int) uint64 {
	if n == 0 || t.enterprise() {
		return global + uint64(n)
	}
	return first + uint64(n-1)
}

// rangeNumber and keyNumber are the other way; -1 for anything else.
func (t *tper) rangeNumber(uid uint64) int { return t.number(t.rangeUID, uid) }
func (t *tper) keyNumber(uid uint64) int {
	if !t.s.keyed() {
		return -1
	}
	return t.number(t.keyUID, uid)
}

func (t *tper) number(of func(int) uint64, uid uint64) int {
	for n := range t.s.Ranges {
		if of(n) == uid {
			return n
		}
	}
	return -1
}

// admin says whether a session is an admin's of the Locking SP.
func (s *tcgSession) admin() bool {
	return s.SP == spLocking && s.is(authAdmin1, authAdmin1+1, authAdmin1+2, authAdmin1+3)
}

// master says whether a session has the say over a range: an admin, or the band's master.
func (t *tper) master(s *tcgSession, n int) bool {
	if t.enterprise() {
		return s.SP == spEnterprise && s.is(authBandMaster0+uint64(n))
	}
	return s.admin()
}
