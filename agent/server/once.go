package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// depthLimit is how deep a document may be nested: far deeper than any form is.
const depthLimit = 64

// once checks that data is one JSON document (RFC 8259) in which no object has a member twice: readers differ in which of two
// counts. It says where something is wrong, in the way of "body.drives[0]".
func once(data []byte) (string, error) {
	if !utf8.Valid(data) {
		return "body", errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if at, err := value(d, "body", 0); err != nil {
		return at, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "body", errors.New("something is behind the document")
	}
	return "", nil
}

func value(d *json.Decoder, at string, depth int) (string, error) {
	t, err := d.Token()
	if err != nil {
		return at, syntax(err)
	}
	opening, ok := t.(json.Delim)
	if !ok {
		return "", nil
	}
	if depth == depthLimit {
		return at, fmt.Errorf("it is nested deeper than %d", depthLimit)
	}
	seen := map[string]bool{}
	for i := 0; d.More(); i++ {
		below := fmt.Sprintf("%s[%d]", at, i)
		if opening == '{' {
			t, err := d.Token()
			if err != nil {
				return at, syntax(err)
			}
			name, _ := t.(string)
			below = at + "." + name
			if seen[name] {
				return below, errors.New("it is there twice")
			}
			seen[name] = true
		}
		if at, err := value(d, below, depth+1); err != nil {
			return at, err
		}
	}
	if _, err := d.Token(); err != nil { // the closing one
		return at, syntax(err)
	}
	return "", nil
}

// syntax is what is wrong, without what the body says there.
func syntax(err error) error {
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Errorf("it is not JSON, at byte %d", s.Offset)
	}
	return errors.New("it is not whole JSON")
}
