package main

import (
	"context"
	"fmt"
	"github.com/expunge-dev/expunge/agent/api"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// explained is a drive and what a policy decides about it.
type explained struct {
	ID       devices.ID             `json:"id"`
	Serial   string                 `json:"serial"`
	Model    string                 `json:"model"`
	Media    devices.Media          `json:"media"`
	Protocol devices.Protocol       `json:"protocol"`
	Policy   string                 `json:"policy"`
	SHA256   string                 `json:"policy_sha256"`
	Methods  []sanitize.Explanation `json:"methods"` // the first is what plan would do
	// AgentPolicy is notAsked where an agent has the drives: its configuration may name a policy, and then it plans under that alone.
	AgentPolicy string `json:"agent_policy,omitempty"`
}

const notAsked = "not_asked"

func (a *app) explain(ctx context.Context, names []string, request sanitize.Request) (answer, error) {
	request, err := request.Normal()
	if err != nil {
		return answer{items: []explained{}}, err
	}
	policy, err := sanitize.PolicyFor(request)
	if err != nil {
		return answer{items: []explained{}}, err
	}
	drives, err := a.selected(ctx, names)
	if err != nil {
		return answer{items: []explained{}}, err
	}
	agentPolicy := ""
	if a.course.asksAgent() {
		agentPolicy = notAsked
		a.say("judged here, under policy %s: the agent that runs was not asked for its own; where its configuration names one, it plans under that alone, "+
			"and only expunge plan tells what it would do", policy.Name)
	}
	situation := sanitize.Situation{}
	if len(policy.Rules) > 0 { // which may ask for the identity of the host
		ag, err := a.agent()
		if err != nil {
			return answer{items: []explained{}}, err
		}
		situation = ag.Situation(len(drives))
	}
	list := []explained{}
	for _, d := range drives {
		x := explained{d.ID, d.Serial, d.Model, sanitize.MediaOf(d), d.Protocol, policy.Name, policy.Digest(), nil, agentPolicy}
		asked := []sanitize.Request{request}
		if request.Method == "" && request.Category == "" {
			more := request
			more.Method = sanitize.Purge
			asked = append(asked, more)
		}
		for _, r := range asked {
			e, err := sanitize.Consider(d, r, policy, policy.Judge(ctx, d, r, situation))
			if err != nil {
				return answer{items: []explained{}}, err
			}
			x.Methods = append(x.Methods, e)
		}
		list = append(list, x)
	}
	return answer{items: list, text: func(w io.Writer) error { return explainText(w, list) }}, explainProblem(list)
}

// explainProblem is the exit code that plan would end with, under the same policy.
func explainProblem(list []explained) error {
	var codes []int
	var first *problem
	for _, x := range list {
		e := x.Methods[0]
		code := exitOK
		if e.Technique == "" {
			code = exitRefused
			if e.Cannot {
				code = exitCannot
			}
			if first == nil {
				first = &problem{name: e.Reasons[0].Code, err: fmt.Errorf("%s %s: %s", x.Model, x.Serial, e.Reasons[0].Message), hint: e.Reasons[0].Hint}
			}
		}
		codes = append(codes, code)
	}
	if first == nil {
		return nil
	}
	first.code = api.Worst(codes)
	return first
}

func explainText(w io.Writer, list []explained) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, x := range list {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "%s %s (%s, %s) under policy %s\n", x.Model, x.Serial, mediaWord(x.Media), x.Protocol, x.Policy)
		for _, e := range slices.Backward(x.Methods) {
			explainMethod(t, e)
		}
	}
	return t.Flush()
}

func mediaWord(m devices.Media) string {
	if m == devices.MediaUnknown {
		return "media unknown"
	}
	return string(m)
}

func explainMethod(w io.Writer, e sanitize.Explanation) {
	method := orAny(string(e.Method))
	if e.Technique == "" {
		fmt.Fprintf(w, "to %s: nothing would be done\n", method)
		for _, r := range e.Reasons {
			fmt.Fprintf(w, "  because   %s\n", r.Message)
		}
	} else {
		scheme := ""
		if e.Scheme != "" {
			scheme = ", scheme " + e.Scheme
		}
		fmt.Fprintf(w, "to %s: %s%s, %s\n", method, e.Technique, scheme, verifyWords(e.Verification))
	}
	if e.Approvals > 0 {
		fmt.Fprintf(w, "  approvals\t%d needed before it is begun\n", e.Approvals)
	}
	for _, r := range e.Rules {
		fmt.Fprintf(w, "  rule\t%s\t%s\n", r.Rule.Name, rulingWords(r))
	}
	var rejected []sanitize.Rejected
	for _, v := range e.Techniques {
		if v.Verdict != sanitize.NotUsable {
			fmt.Fprintf(w, "  %s\t%s\treaches %s, verified %s\n", v.Verdict, v.Technique.Word(), v.Level, v.Verification)
			continue
		}
		rejected = append(rejected, sanitize.Rejected{Technique: v.Technique, Code: v.Code, Message: v.Message})
	}
	for i, r := range rejected {
		why := fmt.Sprintf("%s: %s", r.Code, r.Message)
		if i > 0 && rejected[i-1].Message == r.Message {
			why = r.Code + ": likewise"
		}
		fmt.Fprintf(w, "  rejected\t%s\t%s\n", r.Technique.Word(), why)
	}
	for _, r := range e.RestsOn {
		fmt.Fprintf(w, "  rests on\t%s\n", r.Message)
	}
}
