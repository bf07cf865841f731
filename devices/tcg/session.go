package tcg

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Session is an open session with a security provider. It belongs to one goroutine. After an answer that
// did not come, or could not be understood, nothing is sent in it any more, not even its end, for the TPer
// may still be at work; what was sent last may have been done, and ResetStack ends the session.
type Session struct {
	link
	sp       SP
	tsn, hsn uint32
	aborted  bool // by the TPer, or because an answer could not be understood
	ended    bool
}

// link is the conversation with a TPer on one ComID.
type link struct {
	door  Door
	comID uint16
	words bool   // optional parameters and columns have words for names: Enterprise SSC
	limit uint64 // MaxComPacketSize of the TPer
}

// hostComPacket is what this host takes in one answer: the least that an SSC lets a host offer, and
// enough for everything that is asked for here.
const hostComPacket = 2048

// leastComPacket is what any TPer takes, whether it says so or not (Core table 168).
const leastComPacket = 1024

// OpenSession opens a read-write session with a security provider, as an authority. A PIN is given for
// every authority but Anybody; it is not wiped. Before that the host tells what it can receive, for a
// reset may have made the TPer forget it.
//
// The errors that somebody acts on are statuses: NotAuthorized for a wrong PIN, which the TPer counts;
// AuthorityLockedOut; SPBusy and NoSessionsAvailable, after which ResetStack ends sessions that a host left
// open; and for an SP that is not active InvalidParameter or another, as the TPer likes.
func OpenSession(ctx context.Context, door Door, d Discovery, sp SP, as Authority, pin Secret) (*Session, error) {
	s, err := openSession(ctx, door, d, sp, as, pin)
	if err != nil {
		return nil, fmt.Errorf("session with the %v as %v: %w", sp, as, err)
	}
	return s, nil
}

func openSession(ctx context.Context, door Door, d Discovery, sp SP, as Authority, pin Secret) (*Session, error) {
	l, err := linkOf(door, d)
	if err != nil {
		return nil, err
	}
	if (as == Anybody) != pin.Empty() {
		return nil, errors.New("a PIN belongs to every authority but Anybody, and to it none")
	}
	if _, err := l.properties(ctx); err != nil {
		return nil, err
	}
	s := &Session{link: l, sp: sp}
	if s.hsn, err = sessionNumber(); err != nil {
		return nil, err
	}
	answer, err := l.call(ctx, "StartSession", methodStartSession, methodSyncSession, func(e *encoder) {
		e.uint(uint64(s.hsn))
		e.uid(UID(sp))
		e.bool(true)
		if as != Anybody && !l.words {
			e.name(false, 0, "HostChallenge", func() { e.bytes(pin.Reveal()) })
			e.name(false, 3, "HostSigningAuthority", func() { e.uid(UID(as)) })
		}
	})
	if err == nil {
		s.tsn, err = syncSession(answer, s.hsn)
	}
	if err != nil {
		return nil, err
	}
	if as != Anybody && l.words {
		// The Enterprise SSC has no authority in StartSession.
		if err := s.Authenticate(ctx, as, pin); err != nil {
			return nil, errors.Join(err, s.Close(ctx))
		}
	}
	return s, nil
}

func linkOf(door Door, d Discovery) (link, error) {
	f := d.Facts()
	switch {
	case f.ComID == 0:
		return link{}, errors.New("Level 0 discovery tells no ComID")
	case !f.Synchronous:
		return link{}, errors.New("the TPer does not speak the synchronous protocol")
	case f.BufferManagement:
		return link{}, errors.New("the TPer wants buffer management, which is not supported here")
	}
	return link{door: door, comID: f.ComID, words: d.Enterprise(), limit: leastComPacket}, nil
}

// sessionNumber is the host's own, drawn so that an answer for a session of the past is not taken.
func sessionNumber() (uint32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a session number: %w", err)
	}
	return binary.BigEndian.Uint32(b[:])&0x3fffffff | 0x40000000, nil // never 0, and always as long
}

// syncSession reads the TPer's number of a session from its SyncSession (Core 5.2.3.2).
func syncSession(answer []Value, hsn uint32) (uint32, error) {
	if len(answer) < 2 {
		return 0, fmt.Errorf("SyncSession: %d parameters, want 2", len(answer))
	}
	host, err := answer[0].uint(1<<32 - 1)
	if err != nil || uint32(host) != hsn {
		return 0, fmt.Errorf("SyncSession: %w", errOtherSession)
	}
	tsn, err := answer[1].uint(1<<32 - 1)
	if err != nil || tsn == 0 {
		return 0, errors.New("SyncSession: no session number of the TPer")
	}
	return uint32(tsn), nil
}

// properties exchanges the sizes of what either side takes (Core 5.2.2), and returns those of the TPer.
func (l *link) properties(ctx context.Context) (map[string]uint64, error) {
	answer, err := l.call(ctx, "Properties", methodProperties, methodProperties, func(e *encoder) {
		e.name(l.words, 0, "HostProperties", func() {
			e.list(func() {
				for _, p := range []struct {
					name string
					n    uint64
				}{
					{"MaxComPacketSize", hostComPacket}, {"MaxPacketSize", hostComPacket - comPacketHeader}, {"MaxIndTokenSize", hostComPacket - headers},
					{"MaxPackets", 1}, {"MaxSubpackets", 1}, {"MaxMethods", 1},
				} {
					e.name(true, 0, p.name, func() { e.uint(p.n) })
				}
			})
		})
	})
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 || answer[0].Kind != KindList {
		return nil, errors.New("Properties: the answer has none")
	}
	said := map[string]uint64{}
	for _, v := range answer[0].List {
		if v.Kind != KindName || v.List[0].Kind != KindBytes {
			return nil, errors.New("Properties: a property without a name")
		}
		if v.List[1].Kind == KindUint { // a vendor's own may be anything
			said[string(v.List[0].Bytes)] = v.List[1].Uint
		}
	}
	if n, ok := said["MaxComPacketSize"]; ok {
		if n < leastComPacket {
			return nil, fmt.Errorf("Properties: ComPackets of %d bytes at most", n)
		}
		l.limit = n
	}
	return said, nil
}

// Authenticate adds an authority to a session (Core 5.3.4.1). A PIN that is not taken is the status
// NotAuthorized, as it is at the start of a session.
func (s *Session) Authenticate(ctx context.Context, as Authority, pin Secret) error {
	method := methodAuthenticate
	if s.words {
		method = methodEntAuthenticate
	}
	op := fmt.Sprintf("Authenticate as %v", as)
	values, err := s.method(ctx, op, thisSP, method, func(e *encoder) {
		e.uid(UID(as))
		e.name(s.words, 0, "Challenge", func() { e.bytes(pin.Reveal()) })
	})
	if err != nil {
		return err
	}
	if len(values) != 1 {
		return fmt.Errorf("%s: %d results, want 1", op, len(values))
	}
	taken, err := values[0].bool()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !taken {
		return &StatusError{Op: op, Status: NotAuthorized}
	}
	return nil
}

// method calls a method in the session and returns its results.
func (s *Session) method(ctx context.Context, op string, invoking, method UID, args func(*encoder)) ([]Value, error) {
	if s.aborted || s.ended {
		return nil, fmt.Errorf("%s: %w", op, ErrSessionAborted)
	}
	m, err := s.exchange(ctx, s.tsn, s.hsn, callOf(invoking, method, args))
	if err == nil && (m.Call || m.EndOfSession) {
		err = errors.New("the answer is no result of a method")
		if m.EndOfSession {
			err = ErrSessionAborted
		}
	}
	if err != nil {
		s.aborted = true
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if m.Status != 0 {
		return nil, &StatusError{Op: op, Status: m.Status}
	}
	return m.Values, nil
}

// closing bounds the end of a session, which comes also after the caller's context has ended.
const closing = 20 * time.Second

// Close ends the session (Core 3.3.7.1.5). It does so once, and of a session that the TPer aborted there
// is nothing to end. One that is left open keeps its SP busy until it times out, or ResetStack.
func (s *Session) Close(ctx context.Context) error {
	if s.ended {
		return nil
	}
	s.ended = true
	if s.aborted {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	m, err := s.exchange(ctx, s.tsn, s.hsn, func(e *encoder) { e.raw(tokenEndSession) })
	if errors.Is(err, ErrSessionAborted) {
		return nil
	}
	if err == nil && !m.EndOfSession {
		err = errors.New("the answer is another")
	}
	if err != nil {
		return fmt.Errorf("end of the session with the %v: %w", s.sp, err)
	}
	return nil
}

// abandon is for a session that the TPer aborts by itself: after a revert. It may have a CloseSession to
// tell, which is taken so that it does not stand before the next answer.
func (s *Session) abandon(ctx context.Context) {
	s.aborted, s.ended = true, true
	_, _ = s.door.Receive(ctx, protocolTPer, s.comID, hostComPacket) // what it says, and whether, changes nothing
}

// ResetStack resets the protocol on the drive's ComID, which ends sessions that were left open on it
// (Core 3.3.4.7.5).
func ResetStack(ctx context.Context, door Door, d Discovery) error {
	l, err := linkOf(door, d)
	if err == nil {
		err = l.resetStack(ctx)
	}
	if err != nil {
		return fmt.Errorf("stack reset: %w", err)
	}
	return nil
}

func (l *link) resetStack(ctx context.Context) error {
	const stackReset = 2
	be := binary.BigEndian
	b := make([]byte, block)
	be.PutUint16(b, l.comID)
	be.PutUint32(b[4:], stackReset)
	if err := l.door.Send(ctx, protocolManagement, l.comID, b); err != nil {
		return err
	}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		b, err := l.door.Receive(ctx, protocolManagement, l.comID, block)
		switch {
		case err != nil:
			return err
		case len(b) < 16:
			return fmt.Errorf("%d bytes, want 16: %w", len(b), ErrTruncated)
		case zeros(b):
			return ErrNoAnswer
		case be.Uint16(b) != l.comID || be.Uint16(b[2:]) != 0 || be.Uint32(b[4:]) != stackReset:
			return fmt.Errorf("the answer is for ComID %04xh, request %d", be.Uint16(b), be.Uint32(b[4:]))
		}
		switch length := be.Uint16(b[10:]); length {
		case 4:
			if code := be.Uint32(b[12:]); code != 0 {
				return fmt.Errorf("it failed (%d)", code)
			}
			return nil
		case 0: // pending
		default:
			return fmt.Errorf("an answer of %d bytes, want 4", length)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}
