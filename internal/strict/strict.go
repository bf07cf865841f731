// Package strict decodes JSON that this program wrote itself: what it does not know is an error,
// never passed over.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Decode decodes one document into v. Unknown members and anything after the document are errors.
func Decode(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}
