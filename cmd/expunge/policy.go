package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// policyFlag is --policy: the name of a built-in policy, or a file, whose content goes into the
// request: what the agent is given, it does not read from a disk.
type policyFlag struct{ request *sanitize.Request }

func (policyFlag) Type() string { return "NAME|FILE" }

func (f policyFlag) String() string {
	if f.request == nil {
		return ""
	}
	return f.request.Policy
}

func (f policyFlag) Set(name string) error {
	p, err := readPolicy(name)
	if err != nil {
		return err
	}
	f.request.Policy, f.request.PolicyFile = p.Name, p.Ref().File
	return nil
}

// maxPolicyRead is more than a policy file may have, so that one that is too large is refused as such.
const maxPolicyRead = 1 << 20

// readPolicy finds a built-in policy, or reads a file.
func readPolicy(name string) (sanitize.Policy, error) {
	if ext := filepath.Ext(name); !strings.Contains(name, "/") && ext != ".yaml" && ext != ".yml" {
		return sanitize.PolicyByName(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return sanitize.Policy{}, usage("name a file that can be read, or a built-in policy", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPolicyRead))
	if err := errors.Join(err, f.Close()); err != nil {
		return sanitize.Policy{}, usage("name a file that can be read, or a built-in policy", err)
	}
	p, err := sanitize.ParsePolicy(data)
	if err != nil {
		return p, &problem{code: exitUsage, name: "policy_file", err: fmt.Errorf("%s: %w", name, err), hint: "docs/policies.md has an example; nothing was touched"}
	}
	return p, nil
}

func (a *app) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Short: "show and check policies, and explain what one decides about a drive", Args: cobra.NoArgs,
		Long: "A policy says which techniques reach which method on which drives, in which order they are taken, and what must be read back.\n" +
			"It is built in, or a file of the site (YAML; a name with a slash, or .yaml or .yml at its end).",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var request sanitize.Request
	explain := &cobra.Command{
		Use: "explain DRIVE...", Short: "say what would be chosen, what was rejected, and why; touches nothing", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeDrives,
		Long: "explain weighs every technique. Without --method it does so for purge and for clear; the exit status is that of what plan would do.",
		RunE: a.verb("policy-explain", func(ctx context.Context, args []string) (answer, error) { return a.explain(ctx, args, request) }),
	}
	requestFlags(explain.Flags(), &request)
	c.AddCommand(explain, &cobra.Command{
		Use: "show [NAME|FILE]", Short: "show a policy as a table, or all that are built in", Args: cobra.MaximumNArgs(1),
		RunE: a.verb("policy-show", func(_ context.Context, args []string) (answer, error) {
			list := sanitize.Policies()
			if len(args) == 1 {
				p, err := readPolicy(args[0])
				if err != nil {
					return answer{items: []shownPolicy{}}, err
				}
				list = []sanitize.Policy{p}
			}
			var shown []shownPolicy
			for _, p := range list {
				shown = append(shown, shownPolicy{p, p.Digest()})
			}
			return answer{items: shown, text: func(w io.Writer) error { return policyText(w, shown) }}, nil
		}),
	}, &cobra.Command{
		Use: "check FILE", Short: "say whether a policy file is one, or in which line it is not", Args: cobra.ExactArgs(1),
		RunE: a.verb("policy-check", func(_ context.Context, args []string) (answer, error) {
			name := args[0]
			if !strings.Contains(name, "/") {
				name = "./" + name // a file, whatever its name
			}
			p, err := readPolicy(name)
			if err != nil {
				return answer{}, err
			}
			return answer{result: shownPolicy{p, p.Digest()}, text: func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s is a policy: %s, sha256 %s\n", args[0], p.Name, p.Digest())
				return err
			}}, nil
		}),
	})
	return c
}

// shownPolicy is a policy with the digest that plans and certificates name.
type shownPolicy struct {
	sanitize.Policy
	SHA256 string `json:"sha256"`
}

func policyText(w io.Writer, list []shownPolicy) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, p := range list {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "policy %s (%s)\nsha256 %s\n", p.Name, p.Standard, p.SHA256)
		if len(p.Media) > 0 {
			fmt.Fprintf(t, "covers %s and no other media\n", joined(p.Media))
		}
		for _, name := range p.Accept {
			fmt.Fprintf(t, "accepts %s\n", name)
		}
		if p.CryptoDemanded {
			fmt.Fprintln(t, "cryptographic erase alone is purge only on models whose conditions are acknowledged:")
			for _, a := range p.Acknowledged {
				fmt.Fprintf(t, "  %s: %s\n", a.Model, a.Statement)
			}
		}
		fmt.Fprintln(t, "MEDIA\tBUS\tMETHOD\tTECHNIQUES, THE FIRST THAT CAN BE USED")
		for _, r := range p.Rows {
			media, bus := orAny(string(r.Media)), orAny(string(r.Bus))
			if r.BelowBytes > 0 {
				media += " below " + size(r.BelowBytes)
			}
			for _, m := range []sanitize.Method{sanitize.Purge, sanitize.Clear} {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", media, bus, m, orderWords(r, m))
				media, bus = "", ""
			}
			for _, b := range r.Beside {
				fmt.Fprintf(t, "\t\tnot done\t%s\n", b.Message)
			}
		}
		fmt.Fprintln(t, "METHOD\tVERIFIED\tNO LESS THAN")
		for _, m := range []sanitize.Method{sanitize.Purge, sanitize.Clear} {
			if v := p.Verify[m]; v != "" {
				fmt.Fprintf(t, "%s\t%s\t%s\n", m, v, dash(string(p.AtLeast[m])))
			}
		}
		fmt.Fprintln(t, "CATEGORY\tREUSE\tDECOMMISSION")
		for _, c := range []sanitize.Category{sanitize.Low, sanitize.Moderate, sanitize.High} {
			fmt.Fprintf(t, "%s\t%s\t%s\n", c, p.Required[c][sanitize.Reuse], p.Required[c][sanitize.Decommission])
		}
	}
	return t.Flush()
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// orderWords are the techniques of a row for a method, and what the row says of them.
func orderWords(r sanitize.Row, m sanitize.Method) string {
	order := r.Clear
	if m == sanitize.Purge {
		order = r.Purge
	}
	if len(order) == 0 {
		return "none"
	}
	var list []string
	for _, t := range order {
		word := t.Word()
		if t == sanitize.HostOverwrite && r.Scheme != "" {
			word += " (" + r.Scheme + ")"
		}
		list = append(list, word)
	}
	return strings.Join(list, ", ")
}

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
}

func (a *app) explain(ctx context.Context, names []string, request sanitize.Request) (answer, error) {
	request, err := request.Normal()
	if err != nil {
		return answer{items: []explained{}}, err
	}
	policy, err := sanitize.PolicyFor(request)
	if err != nil {
		return answer{items: []explained{}}, err
	}
	host, _, err := a.host()
	if err != nil {
		return answer{items: []explained{}}, err
	}
	listed, err := host.Drives(ctx)
	if err != nil {
		return answer{items: []explained{}}, err
	}
	drives, err := host.Select(listed, names)
	if err != nil {
		return answer{items: []explained{}}, err
	}
	list := []explained{}
	for _, d := range drives {
		x := explained{d.ID, d.Serial, d.Model, sanitize.MediaOf(d), d.Protocol, policy.Name, policy.Digest(), nil}
		asked := []sanitize.Request{request}
		if request.Method == "" && request.Category == "" {
			more := request
			more.Method = sanitize.Purge
			asked = append(asked, more)
		}
		for _, r := range asked {
			e, err := sanitize.Consider(d, r, policy)
			if err != nil {
				return answer{items: []explained{}}, err
			}
			x.Methods = append(x.Methods, e)
		}
		list = append(list, x)
	}
	return answer{items: list, text: func(w io.Writer) error { return explainText(w, list) }}, explainProblem(list)
}

// explainProblem is the exit code that plan would end with.
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
	first.code = worst(codes)
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
