package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// requestFlags are the flags by which people say what they want.
func requestFlags(flags *pflag.FlagSet, r *sanitize.Request) {
	saidFlag(flags, (*string)(&r.Method), "method", "clear or purge (default: what policy asks for, else clear)")
	saidFlag(flags, (*string)(&r.Technique), "technique", "this technique and no other: crypto+block, crypto, block, drive-overwrite, enhanced-security-erase, security-erase, tcg-revert, format-crypto, format, host-overwrite")
	saidFlag(flags, (*string)(&r.TCG), "tcg", "how a self-encrypting drive destroys its keys: psid-revert, sid-revert, revert-sp, genkey-ranges, enterprise-erase (default: the first that needs nothing but what the drive tells)")
	saidFlag(flags, (*string)(&r.FailureMode), "failure-mode", "restricted (default): after a failed sanitize the drive takes nothing but another; or unrestricted")
	saidFlag(flags, &r.Pattern, "pattern", "what an overwrite writes: zero, one, random (default) or `HEX`")
	flags.IntVar(&r.BlockSize, "block-size", 0, "the logical block length that a format gives the drive: 512 or 4096 `BYTES`")
	saidFlag(flags, &r.Scheme, "scheme", "the passes of an older standard, such as dod-5220.22-m (clear at most)")
	saidFlag(flags, (*string)(&r.Verify), "verify", "status, sampled (default) or full")
	saidFlag(flags, (*string)(&r.Disposition), "disposition", "reuse or decommission; recorded, and by policy decides the method")
	saidFlag(flags, (*string)(&r.Category), "category", "confidentiality of the information: low, moderate or high")
	flags.Var(policyFlag{r}, "policy", "nist-800-88r2 (default), nist-800-88r1, aus-ism, or a site's own in a YAML `FILE`: expunge policy show")
	flags.BoolVar(&r.AllowFabric, "allow-fabric", false, "also drives reached over a fabric or SAN, which may be somebody else's")
}

type planResult struct {
	Digest    string               `json:"digest"`
	Expires   string               `json:"expires"`
	Policy    string               `json:"policy"`
	Simulated bool                 `json:"simulated"`
	File      string               `json:"file,omitempty"`
	Drives    []sanitize.DrivePlan `json:"drives"`
	Refused   []sanitize.Refused   `json:"refused"`
}

func (a *app) planCommand() *cobra.Command {
	var request sanitize.Request
	var given givenFlags
	var file, list string
	c := &cobra.Command{
		Use: "plan {DRIVE... | --drives FILE}", Short: "say what would be done to drives; touches nothing", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeDrives,
		Long: "plan says what would be done, by which technique, what that does not reach, and which techniques were rejected and why.\n" +
			"With -o it writes a plan that `run --plan` carries out once, within a day, after its digest was confirmed.",
		RunE: a.asked("plan", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			names, err := a.named(args, list)
			if err != nil {
				return answer{}, err
			}
			if request.Given, err = given.request(len(names)); err != nil {
				return answer{}, err
			}
			return a.plan(ctx, svc, names, request, file)
		}),
	}
	requestFlags(c.Flags(), &request)
	given.add(c.Flags())
	drivesFlag(c.Flags(), &list)
	a.pinFlag(c.Flags())
	c.Flags().StringVarP(&file, "output", "o", "", "write the plan to `FILE`, which must not be there yet")
	return c
}

func (a *app) plan(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string) (answer, error) {
	request.TCGPIN = a.pins.file != ""
	p, err := a.planned(ctx, svc, names, request, "")
	if err != nil {
		return answer{}, before(err)
	}
	return a.planAnswer(p.Plan, file)
}

// asSaid makes sure that a plan has the digest that the agent says: it is what a person confirms and what is started.
func asSaid(p api.Plan) error {
	if got := p.Plan.Digest(); got != p.Digest {
		return fmt.Errorf("the agent calls its plan %.12s…, and it is %.12s…: the agent is of another version than this program", p.Digest, got)
	}
	return nil
}

// planAnswer tells of a plan, and writes it to a file.
func (a *app) planAnswer(p sanitize.Plan, file string) (answer, error) {
	result := planResult{p.Digest(), p.Expires.Format("2006-01-02T15:04:05Z"), p.Policy.Name, p.Simulated, "", p.Drives, p.Refused}
	if file != "" && len(p.Drives) > 0 {
		if err := writePlan(file, p); err != nil {
			return answer{}, err
		}
		result.File = file
	}
	return answer{result: result, text: func(w io.Writer) error { return planText(w, p, result) }}, planProblem(p)
}

func writePlan(file string, p sanitize.Plan) error {
	data, err := sanitize.MarshalPlan(p)
	if err != nil {
		return err
	}
	return createFile(file, data, 0o644)
}

// planProblem is the exit code of a plan: what could not be planned is never passed over.
func planProblem(p sanitize.Plan) error {
	if len(p.Refused) == 0 {
		return nil
	}
	codes := make([]int, 0, len(p.Drives)+len(p.Refused))
	for range p.Drives {
		codes = append(codes, exitOK)
	}
	var words, hints []string
	for _, r := range p.Refused {
		codes = append(codes, api.RefusedExit(r))
		for i, reason := range r.Reasons {
			if i == 0 || !r.Cannot {
				words = append(words, fmt.Sprintf("%s %s: %s", r.Model, r.Serial, reason.Message))
			}
			if reason.Hint != "" && !slices.Contains(hints, reason.Hint) {
				hints = append(hints, reason.Hint)
			}
		}
	}
	code := p.Refused[0].Reasons[0].Code
	return &problem{code: api.Worst(codes), name: code, err: errors.New(strings.Join(words, "\n")), hint: strings.Join(hints, "\n"), system: code == "permission"}
}

func planText(w io.Writer, p sanitize.Plan, result planResult) error {
	var b strings.Builder
	if len(p.Drives) > many {
		b.WriteString(planTable(p.Drives))
		for _, g := range alike(p.Drives) {
			fmt.Fprintf(&b, "%s\n%s", g.title(), g.text)
		}
	} else {
		for _, d := range p.Drives {
			fmt.Fprintf(&b, "%s %s (%s, %s)\n%s", d.Model, d.Serial, size(d.SizeBytes), strings.Join(d.Nodes, " "), planLines(d))
		}
	}
	for _, r := range p.Refused {
		fmt.Fprintf(&b, "%s %s (%s)\n  REFUSED - not touched\n", r.Model, r.Serial, strings.Join(r.Nodes, " "))
		if !r.Cannot {
			continue
		}
		for _, reason := range r.Reasons[1:] {
			fmt.Fprintf(&b, "  rejected    %s\n", reason.Message)
		}
	}
	if len(p.Drives) > 0 {
		fmt.Fprintf(&b, "policy %s, expires %s, digest %s\n", result.Policy, result.Expires, result.Digest)
		if result.File != "" {
			fmt.Fprintf(&b, "to carry it out: %s\n", runLine(result))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planLines say what would be done to a drive.
func planLines(d sanitize.DrivePlan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  will be     %s by %s%s, %s\n", d.Method, d.Technique, passWords(d), verifyWords(d.Verification))
	for _, h := range d.Restore {
		fmt.Fprintf(&b, "  first       %s that the %s hides are made accessible, for good\n", size(h.NativeBytes-h.FromBytes), h.Kind)
	}
	if d.Approvals > 0 {
		fmt.Fprintf(&b, "  approvals   %d needed before it is begun\n", d.Approvals)
	}
	for i, o := range d.Operations {
		fmt.Fprintf(&b, "  step %d      %s%s\n", i+1, o.Command, estimateWords(o.EstimateSeconds))
	}
	for _, n := range d.Namespaces {
		if n.Zones.Count > 0 {
			fmt.Fprintf(&b, "  zoned       namespace %d: %s\n", n.NSID, zoneWords(n.Zones))
		}
	}
	if d.Zones.Count > 0 {
		fmt.Fprintf(&b, "  zoned       %s\n", zoneWords(d.Zones))
	}
	fmt.Fprintf(&b, "  scope       %s\n", scopeWords(d))
	for _, e := range d.Excludes {
		fmt.Fprintf(&b, "  not reached %s\n", e.Message)
	}
	for _, e := range d.RestsOn {
		fmt.Fprintf(&b, "  rests on    %s\n", e.Message)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "  found       %s\n", n.Message)
	}
	b.WriteString(givenWords(d.Given))
	for _, r := range together(d.Rejected) {
		fmt.Fprintf(&b, "  rejected    %s\n", r)
	}
	return b.String()
}

// together lists rejected techniques, those with one reason in one line.
func together(rejected []sanitize.Rejected) []string {
	var lines []string
	for i := 0; i < len(rejected); {
		techniques := []string{string(rejected[i].Technique)}
		first := i
		for i++; i < len(rejected) && rejected[i].Message == rejected[first].Message; i++ {
			techniques = append(techniques, string(rejected[i].Technique))
		}
		lines = append(lines, strings.Join(techniques, ", ")+": "+rejected[first].Message)
	}
	return lines
}

func runLine(r planResult) string {
	return fmt.Sprintf("expunge run --plan %s --confirm %s", quote(r.File), r.Digest[:12])
}

// scopeWords says how far the plan reaches.
func scopeWords(d sanitize.DrivePlan) string {
	words := string(d.Scope)
	var list []string
	for _, u := range d.Units {
		list = append(list, fmt.Sprintf("%s (%s)", unitName(d.Protocol, u.LUN), size(u.SizeBytes)))
	}
	switch {
	case len(list) == 0:
	case d.Scope == sanitize.ScopeLogical:
		return words + ": what the host can address, " + strings.Join(list, ", ")
	default:
		return words + ": everything in the drive, " + strings.Join(list, ", ")
	}
	if len(d.Operations) == 0 || len(d.Namespaces) == 0 {
		return words
	}
	for _, n := range d.Namespaces {
		w := fmt.Sprintf("%d (%s", n.NSID, size(n.SizeBytes))
		if !n.Attached {
			w += ", attached to no controller"
		}
		list = append(list, w+")")
	}
	if d.Technique == sanitize.Format || d.Technique == sanitize.CryptographicFormat {
		return words + ": what is in namespaces " + strings.Join(list, ", ")
	}
	return words + ": everything in the drive, namespaces " + strings.Join(list, ", ")
}

func estimateWords(seconds *int64) string {
	if seconds == nil {
		return ""
	}
	return fmt.Sprintf(", about %v by the drive's own estimate", time.Duration(*seconds)*time.Second)
}

func passWords(d sanitize.DrivePlan) string {
	switch {
	case d.Scheme != "":
		return fmt.Sprintf(", scheme %s (%s)", d.Scheme, passesWords(len(d.Passes)))
	case len(d.Passes) == 1 && d.Passes[0].Pattern == "random":
		return " with a keystream"
	case len(d.Passes) == 1:
		return " with " + d.Passes[0].Pattern
	}
	return ""
}

func passesWords(n int) string {
	if n == 1 {
		return "1 pass"
	}
	return fmt.Sprintf("%d passes", n)
}

func verifyWords(v sanitize.VerifyMode) string {
	return map[sanitize.VerifyMode]string{
		sanitize.VerifyStatus: "nothing read back", sanitize.VerifySampled: "a tenth read back in samples", sanitize.VerifyFull: "all of it read back",
	}[v]
}

// quote makes a word safe to paste into a shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
