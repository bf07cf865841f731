package sanitize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/sanitize/rules"
)

// conditional says whether the rule is a condition, and not about drives of a kind.
func (r PolicyRule) conditional() bool {
	return r.Name != "" || r.When != "" || r.Deny != "" || r.RequireApproval != nil || r.MinMethod != "" || r.Because != ""
}

// conditions makes the rules of the file that are conditions ready to be judged.
func (f *PolicyFile) conditions(p *Policy) error {
	var list []rules.Rule
	var places []int // of each in the file
	for i, r := range f.Rules {
		if !r.conditional() {
			continue
		}
		if len(r.Media)+len(r.Bus)+len(r.Purge)+len(r.Clear)+len(r.Forbid)+len(r.Demand)+len(r.Levels) > 0 || r.Overwrite != "" {
			return wrong(at("rules", i), "a rule is about drives of a kind (media, bus) or has a condition (when), not both: write two, or drive.media and drive.protocol into the condition")
		}
		own := rules.Rule{Name: r.Name, When: r.When, Deny: r.Deny, MinMethod: string(r.MinMethod), Because: r.Because}
		if r.RequireApproval != nil {
			if own.Approvals = *r.RequireApproval; own.Approvals < 1 {
				return wrong(at("rules", i, "require_approval"), "%d is not 1 to %d", own.Approvals, rules.MaxApprovals)
			}
		}
		list, places = append(list, own), append(places, i)
	}
	set, err := rules.Compile(list)
	var bad *rules.Error
	if errors.As(err, &bad) {
		i := places[min(bad.Index, len(places)-1)]
		name := ""
		if n := f.Rules[i].Name; n != "" && bad.Word != "name" {
			name = fmt.Sprintf("rule %s: %s: ", n, bad.Word)
		}
		return wrong(at("rules", i, bad.Word), "%s%s", name, bad.Why)
	}
	if err != nil {
		return wrong(at("rules"), "%v", err)
	}
	p.Rules, p.set = list, set
	return nil
}

// examples checks those of the file. What they come to, Try says.
func (f *PolicyFile) examples(p *Policy) error {
	if len(f.Examples) > 0 && len(p.Rules) == 0 {
		return wrong(at("examples"), "there is no rule with a condition that they could be examples of")
	}
	for i, e := range f.Examples {
		if word, why := e.Check(); why != "" {
			return wrong(at("examples", i, word), "%s", why)
		}
		if slices.ContainsFunc(f.Examples[:i], func(o rules.Example) bool { return o.Name == e.Name }) {
			return wrong(at("examples", i, "name"), "%q is said twice", e.Name)
		}
	}
	return nil
}

// Tried is an example of a policy file and what came of it.
type Tried struct {
	rules.Tried
	Line int `json:"line"` // of the file
}

// TryExamples reads a policy file and judges its examples.
func TryExamples(ctx context.Context, data []byte) ([]Tried, error) {
	p, err := ParsePolicy(data)
	if err != nil {
		return nil, err
	}
	var f PolicyFile
	document, err := decodeYAML(data, maxPolicyFile, "a policy", &f)
	if err != nil {
		return nil, err
	}
	tried := []Tried{}
	for i, e := range f.Examples {
		tried = append(tried, Tried{p.set.Try(ctx, e), lineOf(document, at("examples", i))})
	}
	return tried, nil
}
