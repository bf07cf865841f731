package tcg

import (
	"bytes"
	"fmt"
	"io"
)

// Secret is a PIN or PSID. It never prints itself, whatever verb or encoding is used.
type Secret struct {
	// In a closure, for fmt prints what is in unexported fields without asking their methods, and what
	// pointers point to when a verb does not fit.
	open func() []byte
}

// NewSecret takes b as a secret. The secret owns it: Wipe overwrites it.
func NewSecret(b []byte) Secret { return Secret{func() []byte { return b }} }

const concealed = "[secret]"

func (s Secret) String() string { return concealed }

// Format is for every verb of fmt, with and without flags.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, concealed) // fmt has nowhere to put an error
}

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + concealed + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(concealed), nil }

// Reveal is the secret itself, not a copy: for where it must be kept.
func (s Secret) Reveal() []byte {
	if s.open == nil {
		return nil
	}
	return s.open()
}

// Empty says whether there is none.
func (s Secret) Empty() bool { return len(s.Reveal()) == 0 }

// Clone is a copy that is wiped by itself.
func (s Secret) Clone() Secret { return NewSecret(bytes.Clone(s.Reveal())) }

// Wipe overwrites the secret with zeros.
func (s Secret) Wipe() { clear(s.Reveal()) }
