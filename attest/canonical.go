package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/internal/strict"
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
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	return appendCanonical(make([]byte, 0, len(plain)), tree), nil
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func appendCanonical(out []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...)
	case bool:
		return strconv.AppendBool(out, v)
	case json.Number:
		return append(out, v...)
	case string:
		out = append(out, '"')
		out = append(out, escapes.Replace(v)...)
		return append(out, '"')
	case []any:
		out = append(out, '[')
		for i, e := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendCanonical(out, e)
		}
		return append(out, ']')
	case map[string]any:
		out = append(out, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendCanonical(out, k), ':')
			out = appendCanonical(out, v[k])
		}
		return append(out, '}')
	}
	return append(out, "?"...) // no other type comes out of encoding/json; CheckCanonical refuses it
}

// decodeClosed decodes a canonical document into v and refuses every document but the one that v
// encodes to: unknown, missing and case-variant members, and other spellings of a value.
func decodeClosed(data []byte, v any) error {
	if err := CheckCanonical(data); err != nil {
		return err
	}
	if err := strict.Decode(data, v); err != nil {
		return err
	}
	again, err := encode(v) // equal to data, which is checked
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("members are missing, unknown or spelled otherwise")
	}
	return nil
}

// CheckCanonical says why a document is not in the profile. It reads each byte once and holds no
// more than its depth.
func CheckCanonical(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes, at most %d", len(data), MaxSize)
	}
	s := &scanner{data: data}
	if err := s.value(0); err != nil {
		return fmt.Errorf("at byte %d: %w", s.at, err)
	}
	if s.at != len(data) {
		return fmt.Errorf("at byte %d: more after the end of the document", s.at)
	}
	return nil
}

type scanner struct {
	data []byte
	at   int
}

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return errors.New("not a value")
}

func (s *scanner) object(depth int) error {
	s.at++
	previous, first := "", true
	for ; ; first = false {
		if first && s.peek() == '}' {
			s.at++
			return nil
		}
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
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if end, err := s.next('}'); end || err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int) error {
	s.at++
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.value(depth + 1); err != nil {
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

func (s *scanner) number() error {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	digits := s.at
	for s.peek() >= '0' && s.peek() <= '9' {
		s.at++
	}
	text := string(s.data[digits:s.at])
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n > maxInt:
		return errors.New("an integer is out of range")
	case len(text) > 1 && text[0] == '0', n == 0 && digits > start:
		return errors.New("an integer is not in its shortest form")
	case strings.IndexByte(".eE", s.peek()) >= 0 && s.at < len(s.data):
		return errors.New("a number is not an integer")
	}
	return nil
}

// str reads a string and returns it with escapes undone.
func (s *scanner) str() (string, error) {
	var out strings.Builder
	for s.at++; s.at < len(s.data); {
		c := s.data[s.at]
		switch {
		case c == '"':
			s.at++
			return out.String(), nil
		case c == '\\':
			if s.at+1 >= len(s.data) {
				return "", errors.New("a string has no end")
			}
			switch s.data[s.at+1] {
			case '"', '\\':
				out.WriteByte(s.data[s.at+1])
			case 'n':
				out.WriteByte('\n')
			default:
				return "", errors.New("an escape other than \\\" \\\\ \\n")
			}
			s.at += 2
		case c < 0x80:
			if c < 0x20 || c == 0x7f {
				return "", errors.New("a control character")
			}
			out.WriteByte(c)
			s.at++
		default:
			r, n := utf8.DecodeRune(s.data[s.at:])
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
