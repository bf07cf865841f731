package sanitize

import (
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// Refusal: the drive was not touched and will not be, for these reasons.
type Refusal struct {
	Reasons []devices.Reason
	// Cannot tells "the drive has no technique for this" from "a rule forbids it".
	Cannot bool
}

func (r *Refusal) Error() string {
	words := make([]string, len(r.Reasons))
	for i, reason := range r.Reasons {
		words[i] = reason.Message
	}
	return strings.Join(words, "; ")
}

func refuse(code, message, hint string) *Refusal {
	return &Refusal{Reasons: []devices.Reason{{Code: code, Message: message, Hint: hint}}}
}
