package sanitize

import (
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// Verdict is what comes of a technique.
type Verdict string

// The verdicts. What is usable and not chosen comes after what was chosen.
const (
	Chosen    Verdict = "chosen"
	Usable    Verdict = "usable"
	NotUsable Verdict = "rejected"
)

// Weighed is a technique as a policy weighs it for a method on a drive.
type Weighed struct {
	Technique Technique `json:"technique"`
	Level     Method    `json:"level,omitempty"` // the strongest that it reaches there under the policy
	Verdict   Verdict   `json:"verdict"`
	// Verification is what would be read back; of a technique that can be used.
	Verification VerifyMode `json:"verification,omitempty"`
	Code         string     `json:"code,omitempty"` // why it cannot be used
	Message      string     `json:"message,omitempty"`
}

// weigh judges every technique: those of the policy's order first. The first that can be used is
// chosen that can be proven, and nothing stands in for one that was asked for.
func weigh(m Method, d devices.Drive, r Request, p Policy) []Weighed {
	p = p.on(d)
	if r.Verify == "" {
		r.Verify = p.Verify[m]
	}
	order := slices.Clone(p.Rows[0].order(m))
	for _, t := range Techniques() {
		if !slices.Contains(order, t) {
			order = append(order, t)
		}
	}
	var list []Weighed
	free, chosen := Policies()[0].on(d), Technique("")
	for _, t := range order {
		w := Weighed{Technique: t, Level: p.reaches(t, d.Media), Verdict: NotUsable}
		w.Code, w.Message = p.bars(t, m, d, r)
		if code, why := unfit(t, Clear, d, r, free); code == "other_protocol" {
			w.Code, w.Message = code, why // whatever the policy says of it
		}
		if w.Code == "" {
			w.Code, w.Message = unfit(t, m, d, r, p)
		}
		switch {
		case w.Code != "":
		case r.Technique == "" && (r.Pattern != "" || r.Scheme != "") && t != HostOverwrite:
			w.Code, w.Message = "not_asked", "a pattern was asked for, which belongs to host overwrite"
		case r.Technique != "" && t != r.Technique:
			w.Code, w.Message = "not_asked", fmt.Sprintf("%s was asked for", r.Technique)
		case chosen == "":
			w.Verdict, chosen = Chosen, t
		default:
			w.Verdict = Usable
		}
		if w.Verdict != NotUsable {
			w.Verification = r.Verify
		}
		list = append(list, w)
	}
	if r.Technique == "" {
		chooseProvable(list, d)
	}
	return list
}

// chooseProvable passes over what could end as nothing but unproven where another technique that reaches the same method can be proven.
// Where none can, what was chosen stays, and is refused for that.
func chooseProvable(list []Weighed, d devices.Drive) {
	first := slices.IndexFunc(list, func(w Weighed) bool { return w.Verdict == Chosen })
	proven := slices.IndexFunc(list, func(w Weighed) bool { return w.Verdict != NotUsable && provable(w.Technique, d, w.Verification) })
	if first < 0 || proven <= first {
		return
	}
	for i := range list[:proven] {
		if w := &list[i]; w.Verdict != NotUsable {
			w.Verdict, w.Verification, w.Code, w.Message = NotUsable, "", notProvable, nothingToCompare(w.Technique)
		}
	}
	list[proven].Verdict = Chosen
}

// bars says why the policy does not let a technique be used to reach a method on a drive; "" when
// nothing of that kind speaks against it. p is that of the drive (on).
func (p Policy) bars(t Technique, m Method, d devices.Drive, r Request) (code, why string) {
	row := p.Rows[0]
	kind := fmt.Sprintf("%s, %s", mediaWords(MediaOf(d)), d.Protocol)
	switch {
	case row.forbids(t):
		return "policy_forbids", fmt.Sprintf("policy %s forbids it on %s", p.Name, kind)
	case len(row.Demand) > 0 && !slices.Contains(row.Demand, t):
		return "policy_demands", fmt.Sprintf("policy %s demands %s on %s", p.Name, list(row.Demand), kind)
	case row.level(t) == "" && !carriedOut(t):
		return "", "" // unfit says so
	case m == Purge && p.CryptoDemanded && t.restsOnCrypto(d.Protocol) && !slices.Contains(row.Purge, t):
		if _, acknowledged := p.acknowledged(d.Model); !acknowledged {
			return "crypto_conditions", fmt.Sprintf("policy %s demands that the conditions of cryptographic erase (NIST SP 800-88r2, 3.2) are acknowledged for the model: alone it is not purge", p.Name)
		}
	}
	switch {
	case row.level(t) == "" || m == Clear && !slices.Contains(row.Clear, t):
		return "policy_order", fmt.Sprintf("policy %s does not use it to %s on %s", p.Name, m, kind)
	case t == HostOverwrite && row.Scheme != "" && !schemeSuffices(r, row.Scheme):
		return "policy_passes", fmt.Sprintf("policy %s asks for the passes of %s on %s", p.Name, row.Scheme, kind)
	case t.formats() && m == Purge && d.Protocol == devices.ProtocolNVMe && d.Unallocated > 0:
		return "unallocated", fmt.Sprintf("%d bytes of the drive belong to no namespace, where a format does not reach: clear at most", d.Unallocated)
	}
	return "", ""
}

// schemeSuffices says whether what was asked for writes the scheme's passes, at least at the end.
func schemeSuffices(r Request, scheme string) bool {
	return r.Pattern == "" && (r.Scheme == "" || schemeEndsLike(r.Scheme, scheme))
}

// covers refuses a drive of a kind that the policy is not about.
func (p Policy) covers(d devices.Drive) error {
	if len(p.Media) == 0 || slices.Contains(p.Media, MediaOf(d)) {
		return nil
	}
	return refuse("policy", fmt.Sprintf("policy %s covers %s, and this is %s", p.Name, list(p.Media), mediaWords(MediaOf(d))), "plan it under another policy")
}

// possibleOtherwise says whether the drive could do what was asked for, and only the policy is in
// the way.
func possibleOtherwise(m Method, d devices.Drive, r Request, p Policy) bool {
	free, err := PolicyByName("")
	if err != nil {
		return false
	}
	own := p.on(d)
	return slices.ContainsFunc(weigh(m, d, r, free), func(w Weighed) bool {
		code, _ := own.bars(w.Technique, m, d, r)
		return w.Verdict != NotUsable && (code != "" || own.reaches(w.Technique, d.Media).rank() < m.rank())
	})
}

// restsOn lists what a claim rests on because the policy takes it to be so.
func (p Policy) restsOn(d devices.Drive, m Method, t Technique) []devices.Reason {
	var list []devices.Reason
	if a, yes := p.acknowledged(d.Model); yes && t.restsOnCrypto(d.Protocol) {
		list = append(list, devices.Reason{Code: "crypto_acknowledged", Message: fmt.Sprintf("policy %s acknowledges the conditions of cryptographic erase for model %s: %s", p.Name, a.Model, a.Statement)})
	}
	for _, a := range acceptances {
		if m == Purge && a.technique == t && a.media == d.Media && a.bus == d.Protocol && slices.Contains(p.Accept, a.name) {
			list = append(list, devices.Reason{Code: "accepted", Message: fmt.Sprintf("policy %s accepts %s", p.Name, a.words)})
		}
	}
	return list
}

// Explanation is how a policy decides about a drive for one method.
type Explanation struct {
	Method       Method           `json:"method,omitempty"`
	Technique    Technique        `json:"technique,omitempty"` // "" where nothing would be done
	Verification VerifyMode       `json:"verification,omitempty"`
	Scheme       string           `json:"scheme,omitempty"`
	RestsOn      []devices.Reason `json:"rests_on,omitempty"`
	Excludes     []devices.Reason `json:"excludes,omitempty"`
	Cannot       bool             `json:"cannot,omitempty"` // no technique does it, as against a rule that forbids it
	Reasons      []devices.Reason `json:"reasons,omitempty"`
	Approvals    int              `json:"approvals,omitempty"`
	Rules        []rules.Ruling   `json:"rules,omitempty"` // what each rule of the policy comes to
	Techniques   []Weighed        `json:"techniques"`
}

// Consider explains what Choose decides. r must be Normal; the error is a *RequestError. The
// techniques are judged also on a drive that must not be touched.
func Consider(d devices.Drive, r Request, p Policy, judged Rulings) (Explanation, error) {
	e := Explanation{Techniques: []Weighed{}, Rules: judged.list}
	plan, err := Choose(d, "", r, p, judged)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		e.Cannot, e.Reasons = refusal.Cannot, refusal.Reasons
	case err != nil:
		return e, err
	default:
		e.Technique, e.Verification, e.Scheme, e.RestsOn, e.Excludes = plan.Technique, plan.Verification, plan.Scheme, plan.RestsOn, plan.Excludes
		e.Approvals = plan.Approvals
	}
	e.Method = r.Method
	if m, err := p.method(r); err == nil {
		if raised, err := p.tightened(r, judged, ""); err == nil {
			m = raised
		}
		e.Method, e.Techniques = m, weigh(m, d, r, p)
		if e.Cannot || len(e.Reasons) > 0 && e.Reasons[0].Code == "method_not_reached" {
			e.Reasons = e.Reasons[:1] // the techniques say the rest
		}
		for i := range e.Techniques {
			if e.Technique == "" && e.Techniques[i].Verdict == Chosen {
				e.Techniques[i].Verdict = Usable // if the drive may be touched
			}
		}
	}
	return e, nil
}

// Explained says of one technique what it reaches on a drive, or why it cannot be used.
type Explained struct {
	Technique Technique `json:"technique"`
	Method    Method    `json:"method,omitempty"` // the strongest that it reaches
	Code      string    `json:"code,omitempty"`
	Message   string    `json:"message,omitempty"`
}

// Explain says of every technique that the policy uses what it reaches on the drive. It judges the
// techniques, not whether the drive may be touched.
func Explain(d devices.Drive, p Policy) []Explained {
	p = p.on(d)
	var list []Explained
	for _, t := range Techniques() {
		reached := p.reaches(t, d.Media)
		if reached == "" {
			continue
		}
		e := Explained{Technique: t, Method: reached}
		if code, why := unfit(t, reached, d, Request{}, p); code != "" {
			e = Explained{Technique: t, Code: code, Message: why}
		}
		list = append(list, e)
	}
	return list
}
