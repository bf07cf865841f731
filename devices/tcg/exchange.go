package tcg

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// callOf encodes a method call with its parameters and its status list (Core 3.2.4.1).
func callOf(invoking, method UID, args func(*encoder)) func(*encoder) {
	return func(e *encoder) {
		e.raw(tokenCall)
		e.uid(invoking)
		e.uid(method)
		e.list(func() {
			if args != nil {
				args(e)
			}
		})
		e.raw(tokenEndOfData)
		e.list(func() {
			for range 3 {
				e.uint(0)
			}
		})
	}
}

// call calls a method of the session manager, and returns the parameters of the call that answers it.
func (l *link) call(ctx context.Context, op string, method, answer UID, args func(*encoder)) ([]Value, error) {
	m, err := l.exchange(ctx, 0, 0, callOf(sessionManager, method, args))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", op, err)
	case m.Status != 0:
		return nil, &StatusError{Op: op, Status: m.Status}
	case !m.Call || m.Invoking != sessionManager || m.Method != answer:
		return nil, fmt.Errorf("%s: the answer is another call, or none", op)
	}
	return m.Values, nil
}

// Between two questions for an answer that is not there yet the host waits, longer each time.
const (
	firstPause   = 2 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// staleAnswers bounds what is left from sessions of the past before an answer.
const staleAnswers = 8

// exchange sends one payload in a session, 0 and 0 being the control session, and waits for the answer as
// long as the context lets it. The buffer, in which there may be a PIN, is wiped.
func (l *link) exchange(ctx context.Context, tsn, hsn uint32, payload func(*encoder)) (Message, error) {
	buffer := make([]byte, headers, hostComPacket)
	e := &encoder{b: buffer}
	defer func() { clear(buffer[:cap(buffer)]) }()
	payload(e)
	if e.full {
		return Message{}, fmt.Errorf("more than %d bytes of parameters", hostComPacket-headers)
	}
	whole := seal(e.b, l.comID, tsn, hsn)
	if uint64(len(whole)) > l.limit {
		return Message{}, fmt.Errorf("%d bytes to send, and the TPer takes %d", len(whole), l.limit)
	}
	if err := l.door.Send(ctx, protocolTPer, l.comID, whole); err != nil {
		return Message{}, err
	}
	for range staleAnswers {
		c, err := l.answer(ctx)
		if err != nil {
			return Message{}, err
		}
		own := c.TSN == tsn && c.HSN == hsn
		if !own && (c.TSN != 0 || c.HSN != 0) {
			return Message{}, fmt.Errorf("an answer for session %d:%d, want %d:%d: %w", c.TSN, c.HSN, tsn, hsn, errOtherSession)
		}
		m, err := ParseMessage(c.Payload)
		if err != nil {
			return Message{}, err
		}
		if m.Call && m.Invoking == sessionManager && m.Method == methodCloseSession {
			// It tells the end of a session: of this one, or of one before.
			if closes(m, tsn, hsn) {
				return Message{}, fmt.Errorf("the TPer closed it: %w", ErrSessionAborted)
			}
			continue
		}
		if !own {
			return Message{}, fmt.Errorf("an answer of the session manager: %w", errOtherSession)
		}
		return m, nil
	}
	return Message{}, errors.New("answers for sessions of the past, again and again")
}

// closes says whether a CloseSession is that of a session. Its two numbers are in either order: they are
// seen from the one side or the other (Core 5.2.3.5).
func closes(m Message, tsn, hsn uint32) bool {
	if len(m.Values) < 2 || m.Values[0].Kind != KindUint || m.Values[1].Kind != KindUint || tsn == 0 {
		return false
	}
	a, b := m.Values[0].Uint, m.Values[1].Uint
	return a == uint64(hsn) && b == uint64(tsn) || a == uint64(tsn) && b == uint64(hsn)
}

// answer asks until the TPer has an answer (Core 3.3.10.2.1). It may want to be asked for more bytes.
func (l *link) answer(ctx context.Context) (ComPacket, error) {
	size := hostComPacket
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		b, err := l.door.Receive(ctx, protocolTPer, l.comID, size)
		if err != nil {
			return ComPacket{}, err
		}
		c, err := ParseComPacket(b)
		switch {
		case err != nil:
			return ComPacket{}, err
		case c.ComID != l.comID:
			return ComPacket{}, fmt.Errorf("an answer for ComID %04xh, want %04xh", c.ComID, l.comID)
		case c.Payload != nil:
			if c.Outstanding != 0 {
				return ComPacket{}, fmt.Errorf("an answer in parts: %d bytes are outstanding", c.Outstanding)
			}
			return c, nil
		case !c.NotYet():
			return ComPacket{}, ErrNoAnswer
		case c.MinTransfer > longestAnswer:
			return ComPacket{}, fmt.Errorf("an answer of %d bytes", c.MinTransfer)
		case c.MinTransfer > uint32(size):
			size = (int(c.MinTransfer) + block - 1) / block * block
		}
		if err := wait(ctx, pause); err != nil {
			return ComPacket{}, err
		}
	}
}

// wait pauses, or gives up when the context has ended. What was sent is with the TPer all the same.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the TPer is still at work: %w", context.Cause(ctx))
	}
}
