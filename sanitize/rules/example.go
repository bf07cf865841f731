package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Example is a case that a site writes beside its rules, with what is to come of it.
type Example struct {
	Name   string `yaml:"name"`
	Facts  `yaml:",inline"`
	Time   string `yaml:"time"`   // RFC 3339; left out: not known
	Expect Expect `yaml:"expect"` // what the rules come to
	// Approvals and Method are compared where they are said.
	Approvals int    `yaml:"approvals"`
	Method    string `yaml:"method"`
}

// Expect is what all rules together come to. The first that applies in the order of Expectations is it.
type Expect string

// What rules come to.
const (
	ExpectError    Expect = "error"          // a rule cannot be judged, so the drive is refused
	ExpectDeny     Expect = "deny"           // a rule denies it
	ExpectTooLow   Expect = "method_too_low" // less was asked for than a rule demands
	ExpectApproval Expect = "approval"       // it is planned, and people must approve
	ExpectMethod   Expect = "min_method"     // it is planned, and reaches at least the method
	ExpectAllow    Expect = "allow"          // no rule has anything to say
)

// Expectations are all, in order.
func Expectations() []Expect {
	return []Expect{ExpectError, ExpectDeny, ExpectTooLow, ExpectApproval, ExpectMethod, ExpectAllow}
}

// Check says what is wrong with an example: which word of it, and why.
func (e Example) Check() (word, why string) {
	switch {
	case strings.TrimSpace(e.Name) == "" || len(e.Name) > 100 || !printable(e.Name):
		return "name", "the example has no name, or one that is not a printable line of at most 100 bytes"
	case !slices.Contains(Expectations(), e.Expect):
		return "expect", fmt.Sprintf("%q is not one of %s", e.Expect, words(Expectations()))
	case e.Approvals < 0 || e.Approvals > MaxApprovals:
		return "approvals", fmt.Sprintf("%d is not 1 to %d", e.Approvals, MaxApprovals)
	case e.Method != "" && rank(e.Method) < 0:
		return "method", fmt.Sprintf("%q is not one of clear, purge", e.Method)
	}
	if e.Time != "" {
		if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
			return "time", fmt.Sprintf("%q is no time such as 2026-03-02T10:00:00Z", e.Time)
		}
	}
	variables := e.Facts.variables()
	for _, o := range objects {
		own, ok := variables[o.name].(*object)
		for _, f := range o.fields {
			if !ok || len(f.words) == 0 || !own.known(f) {
				continue
			}
			if v, err := own.read(f); err == nil && !slices.Contains(f.words, fmt.Sprint(v)) {
				return o.name, fmt.Sprintf("%s.%s is never %q: it is one of %s", o.name, f.name, v, strings.Join(f.words, ", "))
			}
		}
	}
	return "", ""
}

// Tried is an example and what came of it.
type Tried struct {
	Name   string   `json:"name"`
	Expect string   `json:"expect"`
	Got    string   `json:"got"`
	OK     bool     `json:"ok"`
	By     []string `json:"by,omitempty"` // the rules that had something to say, and why they could not be judged
}

// Try judges an example, which is a right one (Check).
func (s *Set) Try(ctx context.Context, e Example) Tried {
	if e.Time != "" {
		if at, err := time.Parse(time.RFC3339, e.Time); err == nil {
			e.Now = at.UTC()
		}
	}
	rulings := s.Judge(ctx, e.Facts)
	got := Tried{Name: e.Name, Expect: string(e.Expect)}
	found := map[Expect]bool{ExpectAllow: true}
	for _, r := range rulings {
		switch r.Decision {
		case Pass:
			continue
		case RuleFail:
			found[ExpectError] = true
		case Deny:
			found[ExpectDeny] = true
		case Approve:
			found[ExpectApproval] = true
		case AtLeast:
			found[ExpectMethod] = true
		}
		by := r.Rule.Name
		if r.Error != "" {
			by += ": " + r.Error
		}
		got.By = append(got.By, by)
	}
	least, _ := MinMethod(rulings)
	found[ExpectTooLow] = e.Request.Method != "" && rank(e.Request.Method) < rank(least)
	for _, x := range slices.Backward(Expectations()) {
		if found[x] {
			got.Got = string(x)
		}
	}
	got.OK = got.Got == got.Expect
	if e.Approvals != 0 {
		got.Expect, got.Got = fmt.Sprintf("%s, approvals %d", got.Expect, e.Approvals), fmt.Sprintf("%s, approvals %d", got.Got, Approvals(rulings))
		got.OK = got.OK && e.Approvals == Approvals(rulings)
	}
	if e.Method != "" {
		got.Expect, got.Got = got.Expect+", method "+e.Method, got.Got+", method "+orNone(least)
		got.OK = got.OK && e.Method == least
	}
	return got
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func words[T ~string](list []T) string {
	all := make([]string, len(list))
	for i, w := range list {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}
