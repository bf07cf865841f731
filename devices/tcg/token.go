package tcg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// The tokens that are no atoms (Core 3.2.2.3, table 4).
const (
	tokenStartList   = 0xf0
	tokenEndList     = 0xf1
	tokenStartName   = 0xf2
	tokenEndName     = 0xf3
	tokenCall        = 0xf8
	tokenEndOfData   = 0xf9
	tokenEndSession  = 0xfa
	tokenEmpty       = 0xff
	deepestList      = 16
	continuedOrMinus = "a signed or continued atom"
)

// Kind is what a Value is.
type Kind uint8

// The kinds.
const (
	KindUint Kind = iota + 1
	KindBytes
	KindList
	KindName // List holds name and value
)

// Value is one item of a token stream.
type Value struct {
	Kind  Kind
	Uint  uint64
	Bytes []byte
	List  []Value
}

// uint is a value that must be a number not greater than limit.
func (v Value) uint(limit uint64) (uint64, error) {
	if v.Kind != KindUint || v.Uint > limit {
		return 0, errors.New("not the number that belongs there")
	}
	return v.Uint, nil
}

func (v Value) bool() (bool, error) {
	n, err := v.uint(1)
	return n == 1, err
}

func (v Value) uid() (UID, error) {
	if v.Kind != KindBytes || len(v.Bytes) != 8 {
		return 0, errors.New("not the UID that belongs there")
	}
	return UID(binary.BigEndian.Uint64(v.Bytes)), nil
}

// encoder appends tokens to a buffer that is never moved, for a secret would be left behind.
type encoder struct {
	b    []byte
	full bool
}

func (e *encoder) raw(b ...byte) {
	if len(e.b)+len(b) > cap(e.b) {
		e.full = true
		return
	}
	e.b = append(e.b, b...)
}

// uint appends the shortest atom: tiny up to 63, short beyond (Core 3.2.2.3.1).
func (e *encoder) uint(n uint64) {
	if n < 0x40 {
		e.raw(byte(n))
		return
	}
	size := (bits.Len64(n) + 7) / 8
	e.raw(0x80 | byte(size))
	for size--; size >= 0; size-- {
		e.raw(byte(n >> (8 * size)))
	}
}

func (e *encoder) bytes(b []byte) {
	switch n := len(b); {
	case n < 0x10:
		e.raw(0xa0 | byte(n))
	case n < 0x800:
		e.raw(0xd0|byte(n>>8), byte(n))
	default:
		e.full = true // no parameter of ours is as long as that
	}
	e.raw(b...)
}

func (e *encoder) uid(u UID)     { e.bytes(u.bytes()) }
func (e *encoder) text(s string) { e.bytes([]byte(s)) }
func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
		return
	}
	e.uint(0)
}

func (e *encoder) list(items func()) {
	e.raw(tokenStartList)
	items()
	e.raw(tokenEndList)
}

// name appends a named value. Core has names that are numbers, and the Enterprise SSC has words.
func (e *encoder) name(words bool, number uint64, word string, value func()) {
	e.raw(tokenStartName)
	if words {
		e.text(word)
	} else {
		e.uint(number)
	}
	value()
	e.raw(tokenEndName)
}

// Message is a decoded token stream: one that ends a session, a call, or the results of one.
type Message struct {
	EndOfSession bool
	Call         bool
	Invoking     UID // of a call, as is Method
	Method       UID
	Values       []Value // the call's parameters, or the results
	Status       Status
}

// ParseMessage decodes the payload of a subpacket (Core 3.2.2, 3.2.4). There is no atom but is whole, no
// list but is closed, and nothing behind the status list.
func ParseMessage(b []byte) (Message, error) {
	d := decoder{b: b}
	m, err := d.message()
	if err != nil {
		return Message{}, fmt.Errorf("token stream, byte %d of %d: %w", len(b)-len(d.b), len(b), err)
	}
	return m, nil
}

type decoder struct{ b []byte }

// next skips empty atoms and returns the token that is next, without taking it.
func (d *decoder) next() (byte, error) {
	for len(d.b) > 0 && d.b[0] == tokenEmpty {
		d.b = d.b[1:]
	}
	if len(d.b) == 0 {
		return 0, errors.New("it ends too early")
	}
	return d.b[0], nil
}

// expect takes a token that must be there.
func (d *decoder) expect(token byte) error {
	t, err := d.next()
	if err == nil && t != token {
		err = fmt.Errorf("token %02xh, want %02xh", t, token)
	}
	if err == nil {
		d.b = d.b[1:]
	}
	return err
}

func (d *decoder) message() (m Message, err error) {
	t, err := d.next()
	if err != nil {
		return m, err
	}
	switch t {
	case tokenEndSession:
		return Message{EndOfSession: true}, nil // what follows an end belongs to nothing
	case tokenCall:
		d.b = d.b[1:]
		m.Call = true
		for _, to := range []*UID{&m.Invoking, &m.Method} {
			v, err := d.value(0)
			if err == nil {
				*to, err = v.uid()
			}
			if err != nil {
				return m, err
			}
		}
	}
	if m.Values, err = d.list(); err != nil {
		return m, err
	}
	if err = d.expect(tokenEndOfData); err != nil {
		return m, err
	}
	status, err := d.list()
	if err != nil {
		return m, err
	}
	if len(status) != 3 {
		return m, fmt.Errorf("a status list of %d", len(status))
	}
	for i, v := range status {
		n, err := v.uint(0xff)
		if err != nil {
			return m, fmt.Errorf("status list: %w", err)
		}
		if i == 0 {
			m.Status = Status(n)
		}
	}
	if _, err := d.next(); err == nil {
		return m, errors.New("tokens after the status list")
	}
	return m, nil
}

func (d *decoder) list() ([]Value, error) {
	t, err := d.next()
	if err == nil && t != tokenStartList {
		err = fmt.Errorf("token %02xh, want a list", t)
	}
	if err != nil {
		return nil, err
	}
	v, err := d.value(0)
	return v.List, err
}

func (d *decoder) value(depth int) (Value, error) {
	t, err := d.next()
	if err != nil {
		return Value{}, err
	}
	if depth > deepestList {
		return Value{}, errors.New("lists too deep")
	}
	switch t {
	case tokenStartList:
		d.b = d.b[1:]
		v := Value{Kind: KindList}
		for {
			if t, err = d.next(); err != nil {
				return Value{}, err
			}
			if t == tokenEndList {
				d.b = d.b[1:]
				return v, nil
			}
			item, err := d.value(depth + 1)
			if err != nil {
				return Value{}, err
			}
			v.List = append(v.List, item)
		}
	case tokenStartName:
		d.b = d.b[1:]
		v := Value{Kind: KindName, List: make([]Value, 2)}
		for i := range v.List {
			if v.List[i], err = d.value(depth + 1); err != nil {
				return Value{}, err
			}
		}
		if v.List[0].Kind != KindUint && v.List[0].Kind != KindBytes {
			return Value{}, errors.New("a name that is no atom")
		}
		return v, d.expect(tokenEndName)
	}
	return d.atom(t)
}

// atom decodes a tiny, short, medium or long atom (Core 3.2.2.3.1).
func (d *decoder) atom(t byte) (Value, error) {
	var header, size int
	var isBytes, sign bool
	switch {
	case t < 0x80:
		if t&0x40 != 0 {
			return Value{}, errors.New(continuedOrMinus)
		}
		d.b = d.b[1:]
		return Value{Kind: KindUint, Uint: uint64(t)}, nil
	case t < 0xc0:
		header, size, isBytes, sign = 1, int(t&0x0f), t&0x20 != 0, t&0x10 != 0
	case t < 0xe0:
		header, isBytes, sign = 2, t&0x10 != 0, t&0x08 != 0
	case t < 0xe4:
		header, isBytes, sign = 4, t&0x02 != 0, t&0x01 != 0
	default:
		return Value{}, fmt.Errorf("token %02xh has no place there", t)
	}
	if len(d.b) < header {
		return Value{}, errors.New("an atom without its length")
	}
	switch header {
	case 2:
		size = int(t&0x07)<<8 | int(d.b[1])
	case 4:
		size = int(d.b[1])<<16 | int(d.b[2])<<8 | int(d.b[3])
	}
	switch {
	case sign:
		return Value{}, errors.New(continuedOrMinus)
	case size > len(d.b)-header:
		return Value{}, fmt.Errorf("an atom of %d bytes, of which %d are there", size, len(d.b)-header)
	case !isBytes && (size == 0 || size > 8):
		return Value{}, fmt.Errorf("a number of %d bytes", size)
	}
	data := d.b[header : header+size]
	d.b = d.b[header+size:]
	if isBytes {
		return Value{Kind: KindBytes, Bytes: append([]byte{}, data...)}, nil
	}
	v := Value{Kind: KindUint}
	for _, c := range data {
		v.Uint = v.Uint<<8 | uint64(c)
	}
	return v, nil
}
