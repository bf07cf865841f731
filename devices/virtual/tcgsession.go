package virtual

import (
	"crypto/subtle"
	"slices"
	"time"
)

// The session manager and its methods (Core 5.2, table 241).
const (
	smUID         = 0x00000000000000ff
	smProperties  = 0x000000000000ff01
	smStart       = 0x000000000000ff02
	smSync        = 0x000000000000ff03
	smClose       = 0x000000000000ff06
	mostSessions  = 3
	sessionLimit  = 60_000 // milliseconds; the host may ask for another
	sessionLeast  = 5_000
	sessionMost   = 600_000
	maxPIN        = 32
	statusSuccess = 0x00
)

// The statuses of methods (Core 5.1.5).
const (
	statusNotAuthorized = 0x01
	statusSPBusy        = 0x03
	statusNoSessions    = 0x07
	statusInvalid       = 0x0c
	statusOverflow      = 0x11
	statusLockedOut     = 0x12
	statusFail          = 0x3f
)

// call is the invocation of a method.
type call struct {
	object, method uint64
	args           []value
}

// callOf takes an invocation out of a stream: Call, object, method, arguments, end of data and the
// host's status list.
func callOf(list []value) (call, bool) {
	control := func(n int, token uint64) bool { return list[n].kind == isControl && list[n].number == token }
	if len(list) != 6 || !control(0, tokenCall) || !control(4, tokenEndOfData) || list[3].kind != isList || list[5].kind != isList || len(list[5].list) != 3 {
		return call{}, false
	}
	c := call{list[1].uid(), list[2].uid(), list[3].list}
	return c, c.object != 0 && c.method != 0
}

// optional is a named argument: by its number, as Core has it, or by its name, as Enterprise has.
func optional(args []value, number uint64, name string) (value, bool) {
	for _, v := range args {
		if v.kind == isName && (v.list[0].kind == isNumber && v.list[0].number == number || v.list[0].kind == isBytes && string(v.list[0].bytes) == name) {
			return v.list[1], true
		}
	}
	return value{}, false
}

// statusList ends every answer.
func statusList(t tokens, status int) tokens {
	return append(t, tokenEndOfData, tokenStartList, byte(status), 0, 0, tokenEndList)
}

// smAnswer is what the session manager calls at the host in return.
func smAnswer(method uint64, args tokens, status int) tokens {
	return statusList(tokens{tokenCall}.uid(smUID).uid(method).listed(args), status)
}

// take carries out what is in a ComPacket. What cannot be read, or belongs to no session, is
// discarded: there is nothing to fetch.
func (t *tper) take(data []byte) error {
	t.expire()
	p, err := parseComPacket(data, t.comID)
	if err != nil {
		return nil // there is no one to tell
	}
	if p.tsn == 0 && p.hsn == 0 {
		if answer := t.manager(p.payload); answer != nil {
			t.p.Answer = t.fit(comPacket(t.comID, 0, 0, answer))
		}
		return nil
	}
	at := slices.IndexFunc(t.p.Sessions, func(s tcgSession) bool { return s.TSN == p.tsn && s.HSN == p.hsn })
	if at < 0 {
		return nil
	}
	s := t.p.Sessions[at]
	s.Last = t.now
	t.p.Sessions[at] = s
	return t.converse(&s, p.payload)
}

// converse takes a packet of a session and answers it.
func (t *tper) converse(s *tcgSession, payload []byte) error {
	list, err := parseTokens(payload)
	if err == nil && len(list) > 0 && list[0].kind == isControl && list[0].number == tokenEndOfSession {
		t.end(s.TSN)
		t.p.Answer = comPacket(t.comID, s.TSN, s.HSN, []byte{tokenEndOfSession})
		return nil
	}
	c, ok := callOf(list)
	t.p.Methods++
	lost, any := t.d.faults().find(SessionLost)
	if err != nil || !ok || any && t.p.Methods == lost.Count {
		t.end(s.TSN)
		t.p.Answer = comPacket(t.comID, 0, 0, smAnswer(smClose, tokens{}.number(uint64(s.HSN)).number(uint64(s.TSN)), statusSuccess))
		return nil
	}
	result, status, err := t.invoke(s, c)
	if err != nil {
		return err
	}
	if status != statusSuccess {
		result = nil
	}
	// A session that the method has ended has its answer still.
	if at := slices.IndexFunc(t.p.Sessions, func(o tcgSession) bool { return o.TSN == s.TSN }); at >= 0 {
		t.p.Sessions[at] = *s
	}
	answer := comPacket(t.comID, s.TSN, s.HSN, statusList(tokens{}.listed(result), status))
	if len(answer) > t.most() {
		answer = comPacket(t.comID, s.TSN, s.HSN, statusList(tokens{}.listed(nil), statusOverflow))
	}
	t.p.Answer = answer
	return nil
}

// end drops a session.
func (t *tper) end(tsn uint32) {
	t.p.Sessions = slices.DeleteFunc(t.p.Sessions, func(s tcgSession) bool { return s.TSN == tsn })
}

// abort drops all sessions of an SP.
func (t *tper) abort(sp uint64) {
	t.p.Sessions = slices.DeleteFunc(t.p.Sessions, func(s tcgSession) bool { return s.SP == sp })
}

// expire drops sessions whose host has not been heard of for too long.
func (t *tper) expire() {
	t.p.Sessions = slices.DeleteFunc(t.p.Sessions, func(s tcgSession) bool {
		return s.Limit > 0 && t.now.Sub(s.Last) > time.Duration(s.Limit)*time.Millisecond
	})
}

// most is how long a ComPacket the host takes.
func (t *tper) most() int {
	n := uint64(leastComPacket2)
	if t.d.profile.tcg.kind == tcgEnterprise {
		n = leastComPacket
	}
	if v, ok := t.p.Host["MaxComPacketSize"]; ok {
		n = v
	}
	if v, ok := t.p.Host["MaxResponseComPacketSize"]; ok {
		n = v
	}
	return int(n)
}

func (t *tper) fit(answer []byte) []byte {
	if len(answer) > t.most() {
		return nil
	}
	return answer
}

// manager carries a method of the session manager out; nil is that there is nothing to say.
func (t *tper) manager(payload []byte) tokens {
	list, err := parseTokens(payload)
	c, ok := callOf(list)
	switch {
	case err != nil || !ok || c.object != smUID:
		return nil
	case c.method == smProperties:
		return t.properties(c.args)
	case c.method == smStart:
		args, status := t.start(c.args)
		return smAnswer(smSync, args, status)
	}
	return smAnswer(c.method, nil, statusInvalid)
}

// property is one of the TPer's or of the host's: what it is assumed to be, and at most is.
type property struct {
	name        string
	least, most uint64
}

// hostProperties are those that the TPer knows (Core 5.2.2.4.1, table 168).
var hostProperties = []property{
	{"MaxMethods", 1, 1}, {"MaxSubpackets", 1, 1}, {"MaxPacketSize", 1004, mostComPacket - comPacketHeader}, {"MaxPackets", 1, 1},
	{"MaxComPacketSize", leastComPacket, mostComPacket}, {"MaxResponseComPacketSize", leastComPacket, mostComPacket},
	{"MaxIndTokenSize", 968, mostComPacket - 56}, {"MaxAggTokenSize", 968, mostComPacket - 56},
	{"ContinuedTokens", 0, 0}, {"SequenceNumbers", 0, 0}, {"AckNak", 0, 0}, {"Asynchronous", 0, 0},
}

// tperProperties are what it has beside them.
var tperProperties = []property{
	{"MaxSessions", 0, mostSessions}, {"MaxReadSessions", 0, mostSessions}, {"MaxAuthentications", 0, 5}, {"MaxTransactionLimit", 0, 0},
	{"DefSessionTimeout", 0, sessionLimit}, {"MaxSessionTimeout", 0, sessionMost}, {"MinSessionTimeout", 0, sessionLeast},
}

// properties tells what the TPer takes, and takes what the host says that it takes: never less than
// the least, nor more than the TPer would ever send.
func (t *tper) properties(args []value) tokens {
	var own tokens
	name := func(s string) tokens { return tokens{}.text([]byte(s)) }
	for _, p := range append(slices.Clone(hostProperties), tperProperties...) {
		own = own.named(name(p.name), tokens{}.number(p.most))
	}
	answer := tokens{}.listed(own)
	if said, ok := optional(args, 0, "HostProperties"); ok {
		if said.kind != isList {
			return smAnswer(smProperties, nil, statusInvalid)
		}
		host := map[string]uint64{}
		for _, v := range said.list {
			if v.kind != isName || v.list[0].kind != isBytes || v.list[1].kind != isNumber {
				return smAnswer(smProperties, nil, statusInvalid)
			}
			host[string(v.list[0].bytes)] = v.list[1].number
		}
		t.p.Host = map[string]uint64{}
		var echo tokens
		for _, p := range hostProperties {
			if v, ok := host[p.name]; ok {
				t.p.Host[p.name] = min(max(v, p.least), p.most)
				echo = echo.named(name(p.name), tokens{}.number(t.p.Host[p.name]))
			}
		}
		by := tokens{}.number(0)
		if t.d.profile.tcg.kind == tcgEnterprise {
			by = name("HostProperties")
		}
		answer = answer.named(by, tokens{}.listed(echo))
	}
	return smAnswer(smProperties, answer, statusSuccess)
}

// start is StartSession (Core 5.2.3.1); what it returns are the arguments of SyncSession.
func (t *tper) start(args []value) (tokens, int) {
	if len(args) < 3 || args[0].kind != isNumber || args[0].number > 0xffffffff || args[2].kind != isNumber || args[2].number > 1 {
		return nil, statusInvalid
	}
	s := tcgSession{HSN: uint32(args[0].number), SP: args[1].uid(), Write: args[2].number == 1, Limit: sessionLimit, Last: t.now}
	if limit, ok := optional(args, 5, "SessionTimeout"); ok {
		if limit.kind != isNumber || limit.number < sessionLeast || limit.number > sessionMost {
			return nil, statusInvalid
		}
		s.Limit = limit.number
	}
	locking := uint64(spLocking)
	if t.d.profile.tcg.kind == tcgEnterprise {
		locking = spEnterprise
	}
	if s.SP != spAdmin && (s.SP != locking || !t.s.Active) {
		return nil, statusInvalid
	}
	if slices.ContainsFunc(t.p.Sessions, func(o tcgSession) bool { return o.SP == s.SP && (o.Write || s.Write) }) {
		return nil, statusSPBusy
	}
	if len(t.p.Sessions) >= mostSessions {
		return nil, statusNoSessions
	}
	signing, ok := optional(args, 3, "HostSigningAuthority")
	if !ok {
		signing, ok = optional(args, 1, "HostExchangeAuthority")
	}
	if ok {
		challenge, _ := optional(args, 0, "HostChallenge")
		if status := t.verify(&s, signing.uid(), challenge.bytes); status != statusSuccess {
			return nil, status
		}
	}
	t.p.NextTSN++
	s.TSN = t.p.NextTSN + 0x1000
	t.p.Sessions = append(t.p.Sessions, s)
	return tokens{}.number(uint64(s.HSN)).number(uint64(s.TSN)), statusSuccess
}

// verify authenticates an authority by its PIN, and counts what is wrong.
func (t *tper) verify(s *tcgSession, authority uint64, pin []byte) (status int) {
	list := t.s.Locking
	if s.SP == spAdmin {
		list = t.s.Admin
	}
	c := list[authority]
	switch {
	case authority == authAnybody:
		return statusSuccess
	case c == nil || !c.Enabled, s.SP == spAdmin && t.p.Blocked:
		return statusNotAuthorized
	case c.exhausted():
		return statusLockedOut
	case subtle.ConstantTimeCompare(pin, c.PIN) != 1:
		c.Tries++
		return statusNotAuthorized
	}
	c.Tries = 0
	if !s.is(authority) {
		s.As = append(s.As, authority)
	}
	return statusSuccess
}
