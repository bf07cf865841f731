package sanitize

import (
	"fmt"
	"slices"
	"strings"
)

// The bounds of who asked.
const (
	maxRequester = 128 // bytes of a name
	maxGroups    = 64
)

// checkRequester checks who asked: names in printable ASCII, which certificates and terminals show alike.
func (r *Request) checkRequester() error {
	if r.Requester == "" && len(r.Groups) > 0 {
		return &RequestError{"groups", r.Groups[0], "nobody is named who belongs to them"}
	}
	if r.Requester != "" && !printable(r.Requester) {
		return &RequestError{"requested by", fmt.Sprintf("%.128s", r.Requester), "not 1 to 128 bytes of printable ASCII without spaces around"}
	}
	if len(r.Groups) > maxGroups {
		return &RequestError{"groups", "", fmt.Sprintf("%d, at most %d", len(r.Groups), maxGroups)}
	}
	for _, g := range r.Groups {
		if !printable(g) {
			return &RequestError{"groups", fmt.Sprintf("%.128s", g), "not 1 to 128 bytes of printable ASCII without spaces around"}
		}
	}
	r.Groups = slices.Compact(slices.Sorted(slices.Values(r.Groups))) // spelled in one way
	return nil
}

func printable(s string) bool {
	return s != "" && len(s) <= maxRequester && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

// ApprovalsNeeded is how many people must approve the plan before it is begun: the most that any of its drives asks for.
func (p Plan) ApprovalsNeeded() int {
	most := 0
	for _, d := range p.Drives {
		most = max(most, d.Approvals)
	}
	return most
}
