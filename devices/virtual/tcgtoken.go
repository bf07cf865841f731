package virtual

import (
	"encoding/binary"
	"errors"
)

// The bytes that open, close and separate (TCG Storage Core 2.01, 3.2.2.4).
const (
	tokenStartList    = 0xf0
	tokenEndList      = 0xf1
	tokenStartName    = 0xf2
	tokenEndName      = 0xf3
	tokenCall         = 0xf8
	tokenEndOfData    = 0xf9
	tokenEndOfSession = 0xfa
	tokenEmpty        = 0xff
)

// errTokens: what the host sent is no stream of tokens that this TPer takes.
var errTokens = errors.New("malformed stream of tokens")

// The kinds of values.
const (
	isNumber  = iota
	isBytes   // of an atom
	isList    // whose values are in list
	isName    // of a named value: list is name and value
	isControl // a call or an end: number is the token
)

// value is an atom, a list, a named value, or a control token.
type value struct {
	kind   int
	number uint64
	bytes  []byte
	list   []value
}

// uid is the eight bytes of a unique identifier as a number; 0 for anything else.
func (v value) uid() uint64 {
	if v.kind != isBytes || len(v.bytes) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v.bytes)
}

// deepest is how far lists lie in one another: what this TPer takes, and more than any method needs.
const deepest = 12

// parseTokens reads a whole stream. After an end of session it does not look further: hosts are known
// to send more there.
func parseTokens(b []byte) ([]value, error) {
	p := tokenParser{rest: b}
	list, err := p.until(0, 0)
	if err != nil {
		return nil, err
	}
	return list, nil
}

type tokenParser struct{ rest []byte }

// until reads values to a closing token; 0 is the end of the stream.
func (p *tokenParser) until(end byte, depth int) ([]value, error) {
	var list []value
	for len(p.rest) > 0 {
		c := p.rest[0]
		switch {
		case c == end:
			p.rest = p.rest[1:]
			return list, nil
		case depth >= deepest:
			return nil, errTokens
		case c == tokenEmpty:
			p.rest = p.rest[1:]
			continue
		case c == tokenStartList, c == tokenStartName:
			p.rest = p.rest[1:]
			inner, err := p.until(c+1, depth+1)
			if err != nil || c == tokenStartName && len(inner) != 2 {
				return nil, errTokens
			}
			list = append(list, value{kind: map[byte]int{tokenStartList: isList, tokenStartName: isName}[c], list: inner})
		case c == tokenEndOfSession && depth == 0:
			p.rest = nil
			return append(list, value{kind: isControl, number: uint64(c)}), nil
		case (c == tokenCall || c == tokenEndOfData) && depth == 0:
			p.rest = p.rest[1:]
			list = append(list, value{kind: isControl, number: uint64(c)})
		case c >= 0xe4:
			return nil, errTokens // reserved, out of place, or a transaction
		default:
			v, err := p.atom()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	if end != 0 {
		return nil, errTokens
	}
	return list, nil
}

// atom reads a tiny, short, medium or long atom (3.2.2.3). Signed numbers and continued bytes are not
// of any method here.
func (p *tokenParser) atom() (value, error) {
	c := p.rest[0]
	head, length, isText, sign := 1, 0, false, false
	switch {
	case c&0x80 == 0:
		if c&0x40 != 0 {
			return value{}, errTokens
		}
		p.rest = p.rest[1:]
		return value{number: uint64(c)}, nil
	case c&0xc0 == 0x80:
		length, isText, sign = int(c&0x0f), c&0x20 != 0, c&0x10 != 0
	case c&0xe0 == 0xc0:
		head, isText, sign = 2, c&0x10 != 0, c&0x08 != 0
		if len(p.rest) >= head {
			length = int(c&7)<<8 | int(p.rest[1])
		}
	default:
		head, isText, sign = 4, c&0x02 != 0, c&0x01 != 0
		if len(p.rest) >= head {
			length = int(p.rest[1])<<16 | int(p.rest[2])<<8 | int(p.rest[3])
		}
	}
	if sign || len(p.rest) < head+length || !isText && length == 0 {
		return value{}, errTokens
	}
	body := p.rest[head : head+length]
	p.rest = p.rest[head+length:]
	if isText {
		return value{kind: isBytes, bytes: body}, nil
	}
	n := uint64(0)
	for _, c := range body {
		if n>>56 != 0 {
			return value{}, errTokens
		}
		n = n<<8 | uint64(c)
	}
	return value{number: n}, nil
}

// tokens is a stream that is being written.
type tokens []byte

func (t tokens) number(n uint64) tokens {
	if n < 64 {
		return append(t, byte(n))
	}
	raw := binary.BigEndian.AppendUint64(nil, n)
	for len(raw) > 1 && raw[0] == 0 {
		raw = raw[1:]
	}
	return append(append(t, 0x80|byte(len(raw))), raw...)
}

func (t tokens) text(b []byte) tokens {
	switch n := len(b); {
	case n < 16:
		t = append(t, 0xa0|byte(n))
	case n < 2048:
		t = append(t, 0xd0|byte(n>>8), byte(n))
	default:
		t = append(t, 0xe2, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(t, b...)
}

func (t tokens) uid(u uint64) tokens { return t.text(binary.BigEndian.AppendUint64(nil, u)) }

// named puts a name, which is a token too, before a value.
func (t tokens) named(name, value tokens) tokens {
	t = append(append(append(t, tokenStartName), name...), value...)
	return append(t, tokenEndName)
}

func (t tokens) listed(inner tokens) tokens {
	return append(append(append(t, tokenStartList), inner...), tokenEndList)
}

// flag is a boolean.
func (t tokens) flag(b bool) tokens { return t.number(uint64(flagBit(b))) }

// numbers is a list of them.
func (t tokens) numbers(list []int) tokens {
	var inner tokens
	for _, n := range list {
		inner = inner.number(uint64(n))
	}
	return t.listed(inner)
}
