package sanitize

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// ruleError is something in a policy file that cannot be, and where.
type ruleError struct {
	path []any
	why  string
}

func (e *ruleError) Error() string {
	where := make([]string, len(e.path))
	for i, step := range e.path {
		where[i] = fmt.Sprint(step)
	}
	return strings.Join(where, " ") + ": " + e.why
}

func wrong(path []any, format string, args ...any) error {
	return &ruleError{path, fmt.Sprintf(format, args...)}
}

func at(steps ...any) []any { return steps }

var policyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// compile makes the policy: the table of the base, changed by the rules, which can only take away
// or demand. More than the base says is reached by a named acceptance and by nothing else, so that
// a file made by hand, in a plan or elsewhere, cannot give a technique a level. The error is a *ruleError.
func (f PolicyFile) compile() (Policy, error) {
	f = f.clone()
	if f.Base == "" {
		f.Base = DefaultPolicy
	}
	p, err := PolicyByName(f.Base)
	if err != nil {
		return Policy{}, wrong(at("base"), "%q is not one of %s", f.Base, list(policyNames()))
	}
	switch {
	case f.Name == "":
		return Policy{}, wrong(at("policy"), "the policy has no name: begin with policy: NAME")
	case !policyName.MatchString(f.Name):
		return Policy{}, wrong(at("policy"), "%q is no name: lower-case letters, digits, dots, dashes", f.Name)
	case slices.Contains(policyNames(), f.Name):
		return Policy{}, wrong(at("policy"), "%s is the name of a built-in policy: choose another", f.Name)
	}
	p.Name, p.Standard, p.Media = f.Name, "site policy after "+p.Standard, f.Media
	if err := known(at("media"), f.Media, mediaKinds); err != nil {
		return Policy{}, err
	}
	for _, step := range []func(*Policy) error{f.accept, f.demands, f.rules, f.conditions, f.examples, f.require} {
		if err := step(&p); err != nil {
			return Policy{}, err
		}
	}
	p.file = &f
	return p, nil
}

var (
	mediaKinds = []devices.Media{devices.MediaMagnetic, devices.MediaFlash, devices.MediaUnknown}
	buses      = []devices.Protocol{devices.ProtocolATA, devices.ProtocolSCSI, devices.ProtocolNVMe, devices.ProtocolMMC, devices.ProtocolUFS, devices.ProtocolNVDIMM, devices.ProtocolVirtio, devices.ProtocolLoop, devices.ProtocolBlock}
)

func policyNames() []string {
	var names []string
	for _, p := range Policies() {
		names = append(names, p.Name)
	}
	return names
}

// known checks words of a list: each is one of those that there are, and is said once.
func known[T ~string](path []any, values, there []T) error {
	for i, v := range values {
		if !slices.Contains(there, v) {
			return wrong(append(slices.Clone(path), i), "%q is not one of %s", string(v), list(there))
		}
		if slices.Contains(values[:i], v) {
			return wrong(append(slices.Clone(path), i), "%q is said twice", string(v))
		}
	}
	return nil
}

// clone copies what is normalized: techniques are spelled in one way.
func (f PolicyFile) clone() PolicyFile {
	f.Rules = slices.Clone(f.Rules)
	return f
}

// accept lets techniques reach purge that the base says reach less, last in order.
func (f *PolicyFile) accept(p *Policy) error {
	for _, name := range slices.Sorted(maps.Keys(f.Accept)) {
		i := slices.IndexFunc(acceptances, func(a acceptance) bool { return a.name == name })
		switch {
		case i < 0:
			return wrong(at("accept", name), "%q is not one of %s", name, list(acceptanceNames()))
		case !f.Accept[name]:
			return wrong(at("accept", name), "nothing is accepted unless it is said: leave it out")
		case acceptances[i].base != f.Base:
			return wrong(at("accept", name), "it is a reading of %s, not of %s", acceptances[i].base, f.Base)
		}
		a := acceptances[i]
		own := narrowed(p.Rows, []devices.Media{a.media}, []devices.Protocol{a.bus})
		for j := range own {
			own[j].Purge = append(slices.Clone(own[j].Purge), a.technique)
		}
		p.Rows, p.Accept = append(own, p.Rows...), append(p.Accept, name)
	}
	return nil
}

func acceptanceNames() []string {
	var names []string
	for _, a := range acceptances {
		names = append(names, a.name)
	}
	return names
}

// demands are what must be read back, and whose word on encryption is taken.
func (f *PolicyFile) demands(p *Policy) error {
	p.Verify, p.AtLeast = maps.Clone(p.Verify), maps.Clone(p.AtLeast)
	for _, m := range slices.Sorted(maps.Keys(f.Verify)) {
		v := f.Verify[m]
		switch {
		case m != Clear && m != Purge:
			return wrong(at("verify", string(m)), "%q is not one of clear, purge", string(m))
		case v.rank() < 0:
			return wrong(at("verify", string(m)), "%q is not one of status, sampled, full", string(v))
		case v.rank() < p.AtLeast[m].rank():
			return wrong(at("verify", string(m)), "%s demands %s", f.Base, p.AtLeast[m])
		}
		if p.AtLeast == nil {
			p.AtLeast = map[Method]VerifyMode{}
		}
		p.Verify[m], p.AtLeast[m] = v, v
	}
	switch {
	case f.CryptoConditions != "" && f.CryptoConditions != "demanded":
		return wrong(at("crypto-conditions"), "%q is not demanded, which is all that can be said", f.CryptoConditions)
	case f.CryptoConditions == "" && len(f.Acknowledged) > 0:
		return wrong(at("acknowledged"), "nobody demands it: add crypto-conditions: demanded")
	}
	for i, a := range f.Acknowledged {
		beginning, _ := strings.CutSuffix(a.Model, "*")
		switch {
		case len(strings.TrimSpace(beginning)) < 3 || strings.Contains(beginning, "*"):
			return wrong(at("acknowledged", i), "model %q: at least three characters of it, and * only at the end", a.Model)
		case strings.TrimSpace(a.Statement) == "":
			return wrong(at("acknowledged", i), "%s has no statement: say on whose word the conditions are met", a.Model)
		}
	}
	p.CryptoDemanded, p.Acknowledged = f.CryptoConditions != "", f.Acknowledged
	return nil
}

// require replaces what the base requires for categories and dispositions.
func (f *PolicyFile) require(p *Policy) error {
	required := map[Category]map[Disposition]Method{}
	for c, by := range p.Required {
		required[c] = maps.Clone(by)
	}
	for _, c := range slices.Sorted(maps.Keys(f.Require)) {
		if required[c] == nil {
			return wrong(at("require", string(c)), "%q is not one of low, moderate, high", string(c))
		}
		for _, d := range slices.Sorted(maps.Keys(f.Require[c])) {
			m := f.Require[c][d]
			path := at("require", string(c), string(d))
			switch {
			case required[c][d] == "":
				return wrong(path, "%q is not one of reuse, decommission", string(d))
			case m.rank() < 0:
				return wrong(path, "%q is not one of clear, purge, destroy", string(m))
			case m != Destroy && !slices.ContainsFunc(p.Rows, func(r Row) bool { return len(r.order(m)) > 0 }):
				return wrong(path, "no technique is left that reaches %s", m)
			}
			required[c][d] = m
		}
	}
	p.Required = required
	return nil
}
