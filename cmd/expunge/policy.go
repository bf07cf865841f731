package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

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
	if err := (said{&f.request.Policy}).Set(name); err != nil {
		return err
	}
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
	data, err := readPolicyFile(name)
	if err != nil {
		return sanitize.Policy{}, err
	}
	p, err := sanitize.ParsePolicy(data)
	if err != nil {
		return p, policyFileProblem(name, err)
	}
	return p, nil
}

func policyFileProblem(name string, err error) error {
	return &problem{code: exitUsage, name: "policy_file", err: fmt.Errorf("%s: %w", name, err), hint: "docs/policies.md has an example; nothing was touched"}
}

func readPolicyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("name a file that can be read, or a built-in policy", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPolicyRead))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, usage("name a file that can be read, or a built-in policy", err)
	}
	return data, nil
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
		Long: "explain weighs every technique. Without --method it does so for purge and for clear; the exit status is that of what plan would do under the\n" +
			"same policy: the one of --policy, or the default. The policy that the configuration of a running agent may name is not asked for, and that is\n" +
			"said then: what such an agent would do, only expunge plan tells.",
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
		Use: "check FILE", Short: "say whether a policy file is one, or in which line it is not, and try its examples", Args: cobra.ExactArgs(1),
		RunE: a.verb("policy-check", checkPolicy),
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
		if len(p.Rules) > 0 {
			fmt.Fprintln(t, "RULE\tTHEN\tWHEN")
		}
		for _, r := range p.Rules {
			fmt.Fprintf(t, "%s\t%s\t%s\n", r.Name, effectWords(r), oneLine(r.When))
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
