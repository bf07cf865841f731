package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Demands are what somebody asks of certificates beside that they are authentic: an auditor's or a
// customer's own rules. What is not set is not asked for.
type Demands struct {
	Name         string
	Method       string   // clear or purge: this or a stronger one was achieved
	Scope        string   // device: a logical one is not enough
	Verification string   // status, sampled or full: this or more was read back
	Techniques   []string // one of these
	Forbid       []string // none of these
	Policies     []string // the run was under one of these
	Given        []string // members of Given that must be there
	After        string   // signed at or after it, by the host's clock; RFC 3339, UTC
	Before       string   // signed before it
	Validation   string   // accept: a trusted validator accepted it, and nobody decided otherwise later
	Cosigners    int      // how many of those that the verifier knows have cosigned the log
	NoWarnings   bool
	NotSelf      bool // the issuer's key was given by the verifier, and is not that of its own state
}

// givenWords are the members of Given that can be demanded.
var givenWords = map[string]func(*Given) bool{
	"operator":     func(g *Given) bool { return g.Operator != nil },
	"organization": func(g *Given) bool { return g.Organization != "" },
	"processor":    func(g *Given) bool { return g.Processor != "" },
	"site":         func(g *Given) bool { return g.Site != "" },
	"location":     func(g *Given) bool { return g.Location != "" },
	"asset-tag":    func(g *Given) bool { return g.AssetTag != "" },
	"source":       func(g *Given) bool { return g.Source != "" },
	"lot":          func(g *Given) bool { return g.Lot != "" },
	"ticket":       func(g *Given) bool { return g.Ticket != "" },
	"custody":      func(g *Given) bool { return g.Custody != "" },
	"destination":  func(g *Given) bool { return g.Destination != "" },
}

// Check says what in the demands can never be met or is not known.
func (d Demands) Check() error {
	for word, list := range map[string][]string{"method": methods[:2], "scope": {"device", "logical"}, "verification": modes} {
		have := map[string]string{"method": d.Method, "scope": d.Scope, "verification": d.Verification}[word]
		if have != "" && !slices.Contains(list, have) {
			return fmt.Errorf("%s %q is none of %s", word, have, strings.Join(list, ", "))
		}
	}
	for _, t := range append(slices.Clone(d.Techniques), d.Forbid...) {
		if !slices.Contains(techniques, t) {
			return fmt.Errorf("technique %q is none of %s", t, strings.Join(techniques, ", "))
		}
	}
	if left := slices.DeleteFunc(slices.Clone(d.Techniques), func(t string) bool { return slices.Contains(d.Forbid, t) }); len(d.Techniques) > 0 && len(left) == 0 {
		return errors.New("every technique that is demanded is forbidden")
	}
	for _, g := range d.Given {
		if givenWords[g] == nil {
			return fmt.Errorf("%q is nothing that a certificate can be given", g)
		}
	}
	if d.Validation != "" && d.Validation != Accept {
		return fmt.Errorf("validation %q cannot be demanded: %s can", d.Validation, Accept)
	}
	if d.Cosigners < 0 || d.Cosigners > maxCosignatures {
		return fmt.Errorf("%d cosigners cannot be demanded", d.Cosigners)
	}
	if !optional(d.After, isTime) || !optional(d.Before, isTime) || d.After != "" && d.Before != "" && d.After >= d.Before {
		return fmt.Errorf("from %q to %q is no time, or not in UTC with seconds", d.After, d.Before)
	}
	return nil
}

// unmet lists what a certificate does not meet. It says nothing of one whose drive is not sanitized: that
// is its outcome.
func (d Demands) unmet(r Report) []Reason {
	s, v, o := r.Result.Sanitization, r.Result.Verification, r.Result.Outcome
	achieved := o.Status == "sanitized" || o.Status == "exceptions"
	var list []Reason
	ask := func(met bool, code, format string, args ...any) {
		if !met {
			list = append(list, Reason{code, fmt.Sprintf(format, args...), "the demands of " + d.Name + " are not met"})
		}
	}
	if achieved {
		ask(slices.Index(methods, o.Method) >= slices.Index(methods, d.Method), "policy_method", "the method achieved is %s, and %s is demanded", o.Method, d.Method)
		ask(d.Scope != "device" || r.Result.Scope == "device", "policy_scope", "its scope is %s, and device is demanded", r.Result.Scope)
		ask(slices.Index(modes, v.Mode) >= slices.Index(modes, d.Verification), "policy_verification", "its verification is %s, and %s is demanded", v.Mode, d.Verification)
		ask(len(d.Techniques) == 0 || slices.Contains(d.Techniques, s.Technique), "policy_technique", "its technique, %s, is none of those demanded: %s", s.Technique, strings.Join(d.Techniques, ", "))
		ask(!slices.Contains(d.Forbid, s.Technique), "policy_technique", "its technique, %s, is forbidden", s.Technique)
		ask(!d.NoWarnings || len(s.Warnings) == 0, "policy_warnings", "it has %d warnings, and none is demanded", len(s.Warnings))
	}
	ask(len(d.Policies) == 0 || slices.Contains(d.Policies, r.Result.Policy.Name), "policy_policy", "it was made under %s, and not under %s", r.Result.Policy.Name, strings.Join(d.Policies, " or "))
	ask(d.After == "" || r.Result.Time.Claimed >= d.After, "policy_time", "it was signed at %s, before %s", r.Result.Time.Claimed, d.After)
	ask(d.Before == "" || r.Result.Time.Claimed < d.Before, "policy_time", "it was signed at %s, and not before %s", r.Result.Time.Claimed, d.Before)
	ask(!d.NotSelf || r.Trust != "self", "policy_self", "it is checked with the issuer's own keys only")
	accepted := false
	for _, v := range r.Validations {
		accepted = v.Decision == Accept && (v.Trusted || accepted)
	}
	ask(d.Validation == "" || accepted, "policy_validation", "no trusted validator accepted it, or somebody decided otherwise later")
	ask(len(r.Cosigners) >= d.Cosigners, "policy_cosigners", "%d of the known cosigners have cosigned the log, and %d are demanded", len(r.Cosigners), d.Cosigners)
	given := r.Given()
	for _, g := range d.Given {
		ask(given != nil && givenWords[g](given), "policy_given", "nothing is given as %s", g)
	}
	return list
}

// Meet holds a report against demands. One that does not meet them is at best CodePolicy.
func (r Report) Meet(d Demands) Report {
	if r.Result == nil {
		return r
	}
	return r.Object(d.unmet(r))
}

// Object adds what does not fit what was asked for. With any of it a report is at best CodePolicy.
func (r Report) Object(reasons []Reason) Report {
	if len(reasons) > 0 && (r.Code == CodeOK || r.Code == CodeOutcome) {
		r.Code = CodePolicy
	}
	r.Reasons = append(slices.Clone(r.Reasons), reasons...)
	return r
}
