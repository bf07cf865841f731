package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

var (
	// ErrNotFound: no drive answers to that name. It is also fs.ErrNotExist.
	ErrNotFound error = &kindError{"no such drive", fs.ErrNotExist}
	// ErrAmbiguous: several drives answer to that name; use the WWN or the id.
	ErrAmbiguous = errors.New("ambiguous drive name")
	// ErrChanged: the drive is not the one that was meant. List again and make a new plan.
	ErrChanged = errors.New("drive changed")
	// ErrGone: the drive no longer answers. It holds data until the job is resumed and finished.
	ErrGone = errors.New("drive is gone")
	// ErrNoDoor: the node has no such command door; nothing was sent.
	ErrNoDoor error = &kindError{"no such command door on this node", errors.ErrUnsupported}
	// ErrStaysFailed: the drive refuses to leave its failure mode. Only a sanitize that succeeds ends it.
	ErrStaysFailed = errors.New("the drive refuses to leave its failure mode, which only a successful sanitize ends")
	// ErrNoEnclosure: no slot of this host is known to hold the drive. Find it by the serial number on its label.
	ErrNoEnclosure error = &kindError{"no enclosure or slot is known to hold it", errors.ErrUnsupported}
	// ErrNoLight: the slot has no light that the kernel can switch.
	ErrNoLight error = &kindError{"its slot has no light that can be switched", errors.ErrUnsupported}
)

// kindError is an error that is also another, whose words say nothing to people.
type kindError struct {
	words string
	kind  error
}

func (e *kindError) Error() string { return e.words }
func (e *kindError) Unwrap() error { return e.kind }

// InUseError says why a drive must not be touched.
type InUseError struct {
	Node    string
	State   State
	Reasons []Reason
}

func (e *InUseError) Error() string {
	words := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		words[i] = r.Message
	}
	if len(words) == 0 {
		return fmt.Sprintf("%s is %s", e.Node, e.State)
	}
	return fmt.Sprintf("%s is %s: %s", e.Node, e.State, strings.Join(words, "; "))
}

// CapabilityError: the kernel does not let this process send a command.
type CapabilityError struct {
	Op         string
	Capability string // as capabilities(7) names it
	Err        error
}

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%s: %v: the process lacks %s", e.Op, e.Err, e.Capability)
}

// Unwrap makes it a fs.ErrPermission.
func (e *CapabilityError) Unwrap() error { return e.Err }
