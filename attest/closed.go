package attest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// decodeClosed decodes a canonical document into v, a pointer, and refuses every document but the one that v
// encodes to: unknown, missing and case-variant members, and other spellings of a value. It is one reading of
// the document, whose strings are shared and not copied; encoding/json would need three.
func decodeClosed(data []byte, v any) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes, at most %d", len(data), MaxSize)
	}
	of, err := closedOf(reflect.TypeOf(v).Elem())
	if err != nil {
		return err
	}
	to := reflect.ValueOf(v).Elem()
	to.SetZero()
	s := &scanner{text: string(data)}
	if err := s.whole(func() error { return of.decode(s, to, 0) }); err != nil {
		if why := CheckCanonical(data); why != nil {
			return why
		}
		return err
	}
	return nil
}

// closed is how the values of a Go type are read.
type closed struct {
	kind    reflect.Kind
	of      *closed // what a pointer or a slice is of
	members []member
}

// member is a field of a struct, under its name in documents.
type member struct {
	name     string
	field    int
	optional bool // never there when it is empty
	of       *closed
}

var (
	closedTypes sync.Map // reflect.Type to *closed
	errMember   = errors.New("members are missing, unknown or spelled otherwise")
)

// closedOf looks at a type once. Documents are made of structs, slices, pointers, strings, integers and
// booleans; everything else is refused, since its one form would not be known.
func closedOf(t reflect.Type) (*closed, error) {
	if known, ok := closedTypes.Load(t); ok {
		return known.(*closed), nil
	}
	c := &closed{kind: t.Kind()}
	var err error
	switch c.kind {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int32, reflect.Int64:
	case reflect.Pointer, reflect.Slice:
		c.of, err = closedOf(t.Elem())
	case reflect.Struct:
		err = c.addMembers(t)
	default:
		err = fmt.Errorf("%s is not of a closed document", t)
	}
	if err != nil {
		return nil, err
	}
	closedTypes.Store(t, c)
	return c, nil
}

func (c *closed) addMembers(t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() || options != "" && options != "omitempty" {
			return fmt.Errorf("member %s of %s is not of a closed document", f.Name, t)
		}
		of, err := closedOf(f.Type)
		if err != nil {
			return err
		}
		c.members = append(c.members, member{name, i, options == "omitempty", of})
	}
	slices.SortFunc(c.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return nil
}

// decode reads one value.
func (c *closed) decode(s *scanner, to reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch c.kind {
	case reflect.Pointer:
		if s.word("null") {
			return nil
		}
		to.Set(reflect.New(to.Type().Elem()))
		return c.of.decode(s, to.Elem(), depth)
	case reflect.Slice:
		if s.word("null") {
			return nil
		}
		return c.decodeSlice(s, to, depth)
	case reflect.Struct:
		return c.decodeStruct(s, to, depth)
	case reflect.String:
		if s.peek() != '"' {
			return errMember
		}
		text, err := s.str()
		to.SetString(text)
		return err
	case reflect.Bool:
		if s.word("true") {
			to.SetBool(true)
			return nil
		}
		if !s.word("false") {
			return errMember
		}
		return nil
	}
	n, err := s.number()
	if err == nil && to.OverflowInt(n) {
		err = errMember
	}
	to.SetInt(n)
	return err
}

func (c *closed) decodeSlice(s *scanner, to reflect.Value, depth int) error {
	if s.peek() != '[' {
		return errMember
	}
	to.Set(reflect.MakeSlice(to.Type(), 0, 0))
	return s.array(func() error {
		n := to.Len()
		to.Grow(1)
		to.SetLen(n + 1)
		return c.of.decode(s, to.Index(n), depth+1)
	})
}

func (c *closed) decodeStruct(s *scanner, to reflect.Value, depth int) error {
	if s.peek() != '{' {
		return errMember
	}
	rest := c.members
	err := s.object(func(name string) error {
		for len(rest) > 0 && rest[0].optional && rest[0].name != name {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0].name != name {
			return errMember
		}
		m, field := rest[0], to.Field(rest[0].field)
		rest = rest[1:]
		if err := m.of.decode(s, field, depth+1); err != nil {
			return err
		}
		if m.optional && empty(m.of.kind, field) {
			return errMember
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(rest, func(m member) bool { return !m.optional }) {
		return errMember
	}
	return err
}

// empty is what encoding/json leaves out of an optional member.
func empty(kind reflect.Kind, v reflect.Value) bool {
	switch kind {
	case reflect.Struct:
		return false
	case reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}
