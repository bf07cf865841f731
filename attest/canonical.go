package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of the JSON profile.
const (
	MaxSize  = 1 << 20 // bytes of a document
	maxDepth = 16
	maxInt   = 1<<53 - 1 // what every JSON implementation can hold
)

// Canonical encodes v in the one way that this package reads: UTF-8, no white space, keys
// ascending by bytes, integers only, the escapes \" \\ \n only. v is anything that encoding/json
// encodes to such a document.
func Canonical(v any) ([]byte, error) {
	out, err := encode(v)
	if err != nil {
		return nil, err
	}
	if err := CheckCanonical(out); err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	return out, nil
}

// encode is Canonical before what it made is checked.
func encode(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	out, rest, err := reorder(make([]byte, 0, len(plain)), plain)
	if err == nil && len(rest) > 0 {
		err = errors.New("more than one value")
	}
	if err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	return out, nil
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// reorder appends a value as encoding/json wrote it, compact and valid, in the one encoding: members ascending, strings with as
// few escapes as there can be. It returns what follows the value.
func reorder(out, in []byte) (done, rest []byte, err error) {
	switch {
	case len(in) == 0:
		return nil, nil, io.ErrUnexpectedEOF
	case in[0] == '{':
		return reorderObject(out, in[1:])
	case in[0] == '[':
		return reorderArray(out, in[1:])
	case in[0] == '"':
		n := skip(in)
		if bytes.IndexByte(in[:n], '\\') < 0 {
			return append(out, in[:n]...), in[n:], nil
		}
		var text string
		if err := json.Unmarshal(in[:n], &text); err != nil {
			return nil, nil, err
		}
		out = append(out, '"')
		out = append(out, escapes.Replace(text)...)
		return append(out, '"'), in[n:], nil
	}
	n := skip(in)
	return append(out, in[:n]...), in[n:], nil
}

func reorderArray(out, in []byte) ([]byte, []byte, error) {
	out = append(out, '[')
	for len(in) > 0 && in[0] != ']' {
		if in[0] == ',' {
			in, out = in[1:], append(out, ',')
		}
		var err error
		if out, in, err = reorder(out, in); err != nil {
			return nil, nil, err
		}
	}
	if len(in) == 0 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	return append(out, ']'), in[1:], nil
}

func reorderObject(out, in []byte) ([]byte, []byte, error) {
	type member struct {
		name  string
		value []byte
	}
	var members []member
	for len(in) > 0 && in[0] != '}' {
		if in[0] == ',' {
			in = in[1:]
		}
		name := skip(in)
		if name >= len(in) {
			return nil, nil, io.ErrUnexpectedEOF
		}
		m := member{name: string(in[1:max(1, name-1)])}
		if strings.Contains(m.name, `\`) {
			if err := json.Unmarshal(in[:name], &m.name); err != nil {
				return nil, nil, err
			}
		}
		value := in[name+1:]
		n := skip(value)
		m.value = value[:n]
		members, in = append(members, m), value[n:]
	}
	if len(in) == 0 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), escapes.Replace(m.name)...), `":`...)
		var err error
		if out, _, err = reorder(out, m.value); err != nil {
			return nil, nil, err
		}
	}
	return append(out, '}'), in[1:], nil
}

// skip is the length of the value at the start.
func skip(in []byte) int {
	depth := 0
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case '"':
			for i++; i < len(in) && in[i] != '"'; i++ {
				if in[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(in))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // a number, or a word, that ends with what it is in
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(in)
}

// CheckCanonical says why a document is not in the profile. It reads each byte once.
func CheckCanonical(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes, at most %d", len(data), MaxSize)
	}
	s := &scanner{text: string(data)}
	return s.whole(func() error { return s.value(0) })
}

// scanner reads a document of the profile from its start to its end.
type scanner struct {
	text string
	at   int
}

var errDepth = fmt.Errorf("nested deeper than %d", maxDepth)

// whole reads a value that is all of the document.
func (s *scanner) whole(value func() error) error {
	if err := value(); err != nil {
		return fmt.Errorf("at byte %d: %w", s.at, err)
	}
	if s.at != len(s.text) {
		return fmt.Errorf("at byte %d: more after the end of the document", s.at)
	}
	return nil
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// word passes a word if it is the next.
func (s *scanner) word(w string) bool {
	if !strings.HasPrefix(s.text[s.at:], w) {
		return false
	}
	s.at += len(w)
	return true
}

// value passes a value of any kind.
func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(func(string) error { return s.value(depth + 1) })
	case c == '[':
		return s.array(func() error { return s.value(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := s.number()
		return err
	}
	if s.word("true") || s.word("false") || s.word("null") {
		return nil
	}
	return errors.New("not a value")
}

// object reads an object, and the value of each member by a function.
func (s *scanner) object(value func(name string) error) error {
	s.at++
	if s.peek() == '}' {
		s.at++
		return nil
	}
	for previous, first := "", true; ; first = false {
		if s.peek() != '"' {
			return errors.New("a member's name is missing")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if !first && name <= previous {
			return fmt.Errorf("member %q is repeated or out of order", name)
		}
		previous = name
		if s.peek() != ':' {
			return errors.New("a colon is missing")
		}
		s.at++
		if err := value(name); err != nil {
			return err
		}
		if end, err := s.next('}'); end || err != nil {
			return err
		}
	}
}

// array reads an array, and each value by a function.
func (s *scanner) array(value func() error) error {
	s.at++
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := value(); err != nil {
			return err
		}
		if end, err := s.next(']'); end || err != nil {
			return err
		}
	}
}

// next passes a comma, or the closing bracket.
func (s *scanner) next(closing byte) (end bool, err error) {
	switch s.peek() {
	case ',':
		s.at++
		return false, nil
	case closing:
		s.at++
		return true, nil
	}
	return false, errors.New("neither a comma nor an end")
}

func (s *scanner) number() (int64, error) {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	digits := s.at
	for s.peek() >= '0' && s.peek() <= '9' {
		s.at++
	}
	n, err := strconv.ParseInt(s.text[start:s.at], 10, 64)
	switch {
	case err != nil || n > maxInt || n < -maxInt:
		return 0, errors.New("an integer is out of range")
	case s.at-digits > 1 && s.text[digits] == '0', n == 0 && digits > start:
		return 0, errors.New("an integer is not in its shortest form")
	case s.peek() == '.' || s.peek() == 'e' || s.peek() == 'E':
		return 0, errors.New("a number is not an integer")
	}
	return n, nil
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for c := byte(0x20); c < 0x7f; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return
}()

// str reads a string and returns it with escapes undone. One without any is part of the document.
func (s *scanner) str() (string, error) {
	s.at++
	start := s.at
	for s.at < len(s.text) && plain[s.text[s.at]] {
		s.at++
	}
	if s.peek() == '"' {
		s.at++
		return s.text[start : s.at-1], nil
	}
	var out strings.Builder
	out.WriteString(s.text[start:s.at])
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return out.String(), nil
		case c == '\\':
			if s.at+1 >= len(s.text) {
				return "", errors.New("a string has no end")
			}
			switch s.text[s.at+1] {
			case '"', '\\':
				out.WriteByte(s.text[s.at+1])
			case 'n':
				out.WriteByte('\n')
			default:
				return "", errors.New("an escape other than \\\" \\\\ \\n")
			}
			s.at += 2
		case plain[c]:
			out.WriteByte(c)
			s.at++
		case c < 0x80:
			return "", errors.New("a control character")
		default:
			r, n := utf8.DecodeRuneInString(s.text[s.at:])
			if r == utf8.RuneError && n == 1 {
				return "", errors.New("not UTF-8")
			}
			if deceptive(r) {
				return "", fmt.Errorf("the invisible character %U", r)
			}
			out.WriteRune(r)
			s.at += n
		}
	}
	return "", errors.New("a string has no end")
}

// deceptive characters change what a reader sees without being seen: C1 controls, zero-width and
// bidirectional ones, byte order marks, tags, variation selectors and non-characters.
func deceptive(r rune) bool {
	for _, span := range [][2]rune{
		{0x80, 0x9f}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
		{0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff},
	} {
		if r >= span[0] && r <= span[1] {
			return true
		}
	}
	return false
}

// CleanASCII spells a drive's or host's own words in printable ASCII; other bytes become \xNN.
func CleanASCII(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
