package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// checkedPolicy is a policy file that is one, with what came of its examples.
type checkedPolicy struct {
	shownPolicy
	Examples []sanitize.Tried `json:"examples"`
}

// checkPolicy says whether a file is a policy, and whether its examples come to what it says they do.
func checkPolicy(ctx context.Context, args []string) (answer, error) {
	name := args[0]
	if !strings.Contains(name, "/") {
		name = "./" + name // a file, whatever its name
	}
	data, err := readPolicyFile(name)
	if err != nil {
		return answer{}, err
	}
	p, err := sanitize.ParsePolicy(data)
	if err != nil {
		return answer{}, policyFileProblem(name, err)
	}
	tried, err := sanitize.TryExamples(ctx, data)
	if err != nil {
		return answer{}, policyFileProblem(name, err)
	}
	out := answer{result: checkedPolicy{shownPolicy{p, p.Digest()}, tried}, text: func(w io.Writer) error {
		for _, t := range tried {
			fmt.Fprintln(w, triedWords(t))
		}
		_, err := fmt.Fprintf(w, "%s is a policy: %s, sha256 %s\n", args[0], p.Name, p.Digest())
		return err
	}}
	var failed []string
	for _, t := range tried {
		if !t.OK {
			failed = append(failed, fmt.Sprintf("%s: line %d: example %q: expected %s, got %s", name, t.Line, t.Name, t.Expect, t.Got)+byWords(t))
		}
	}
	if len(failed) > 0 {
		return out, &problem{code: exitUsage, name: "policy_example", err: fmt.Errorf("%s", strings.Join(failed, "\n")), hint: "the rules or the example are wrong; nothing was touched"}
	}
	return out, nil
}

func triedWords(t sanitize.Tried) string {
	if t.OK {
		return fmt.Sprintf("example %q: %s, as expected%s", t.Name, t.Got, byWords(t))
	}
	return fmt.Sprintf("example %q: WRONG: expected %s, got %s%s", t.Name, t.Expect, t.Got, byWords(t))
}

func byWords(t sanitize.Tried) string {
	if len(t.By) == 0 {
		return ""
	}
	return " (" + strings.Join(t.By, "; ") + ")"
}

// effectWords are what follows where a rule's condition holds.
func effectWords(r rules.Rule) string {
	words := "denied"
	switch {
	case r.Approvals > 0:
		words = fmt.Sprintf("%d must approve", r.Approvals)
	case r.MinMethod != "":
		words = "at least " + r.MinMethod
	}
	if why := r.Why(); why != "" {
		words += ": " + why
	}
	return words
}

// oneLine is a condition as a table has it.
func oneLine(when string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(strings.TrimSpace(when))
}

// rulingWords say what a rule came to for a drive.
func rulingWords(r rules.Ruling) string {
	switch r.Decision {
	case rules.Pass:
		return "false: nothing follows"
	case rules.Deny, rules.Approve, rules.AtLeast:
		return "true: " + effectWords(r.Rule)
	}
	return "denied, as it cannot be judged: " + r.Error
}
