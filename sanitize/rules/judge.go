package rules

import (
	"context"
	"fmt"
	"slices"

	"cel.dev/cel-go/common/types"
)

// Decision is what a rule comes to.
type Decision string

// The decisions. Pass: its condition does not hold, so it has nothing to say.
const (
	Pass     Decision = "pass"
	Deny     Decision = "deny"
	Approve  Decision = "require_approval"
	AtLeast  Decision = "min_method"
	RuleFail Decision = "error" // the condition could not be judged, which denies
)

// Ruling is a rule and what it came to.
type Ruling struct {
	Rule     Rule     `json:"rule"`
	Decision Decision `json:"decision"`
	Error    string   `json:"error,omitempty"` // why it could not be judged
}

// Judge judges every rule by the facts. Whatever keeps one from being judged, the end of ctx too, is its error.
func (s *Set) Judge(ctx context.Context, f Facts) []Ruling {
	if s == nil {
		return nil
	}
	variables := f.variables()
	rulings := make([]Ruling, 0, len(s.rules))
	for i, r := range s.rules {
		holds, err := s.holds(ctx, i, variables)
		ruling := Ruling{Rule: r, Decision: Pass}
		switch {
		case err != nil:
			ruling.Decision, ruling.Error = RuleFail, err.Error()
		case !holds:
		case r.Deny != "":
			ruling.Decision = Deny
		case r.Approvals > 0:
			ruling.Decision = Approve
		default:
			ruling.Decision = AtLeast
		}
		rulings = append(rulings, ruling)
	}
	return rulings
}

// holds says whether a condition holds.
func (s *Set) holds(ctx context.Context, i int, variables map[string]any) (bool, error) {
	if err := context.Cause(ctx); err != nil { // the library looks only now and then
		return false, err
	}
	value, _, err := s.programs[i].ContextEval(ctx, variables)
	if err != nil {
		return false, err
	}
	is, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it came to %v, which is neither true nor false", value)
	}
	return bool(is), nil
}

// Approvals is how many people must approve: the most that any rule asks for.
func Approvals(list []Ruling) int {
	most := 0
	for _, r := range list {
		if r.Decision == Approve {
			most = max(most, r.Rule.Approvals)
		}
	}
	return most
}

// MinMethod is the least method that the rules ask for, and the rule that does; "" where none does.
func MinMethod(list []Ruling) (method string, by Rule) {
	for _, r := range list {
		if r.Decision == AtLeast && (method == "" || rank(r.Rule.MinMethod) > rank(method)) {
			method, by = r.Rule.MinMethod, r.Rule
		}
	}
	return method, by
}

// rank orders methods by strength.
func rank(method string) int { return slices.Index([]string{"clear", "purge"}, method) }
