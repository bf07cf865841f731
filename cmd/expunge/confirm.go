package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

// confirmed makes sure that a person meant these drives: by flag, or typed at the terminal.
// planned says that the plan is in a file; one that was made just now has a digest of its own each time.
func (a *app) confirmed(ctx context.Context, p sanitize.Plan, confirm []string, planned bool) error {
	if len(confirm) > 0 {
		return confirmedBy(p, confirm, planned)
	}
	in, isFile := a.stdin.(*os.File)
	if !isFile || !terminal.Is(in) {
		return &problem{code: exitRefused, name: "not_confirmed", err: errors.New("not confirmed: nothing was touched"),
			hint: confirmHint(p, planned)}
	}
	want := p.Digest()[:12]
	if len(p.Drives) == 1 {
		want = p.Drives[0].Serial
	}
	a.announce(p)
	fmt.Fprintf(a.stderr, "expunge: type %s to go on: ", want)
	typed := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			line = ""
		}
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case line := <-typed:
		if line == want {
			return nil
		}
		return &problem{code: exitRefused, name: "not_confirmed", err: errors.New("not confirmed: nothing was touched")}
	}
}

// announce lists what will be destroyed, right before it is confirmed.
func (a *app) announce(p sanitize.Plan) {
	if len(p.Drives) <= many {
		for _, d := range p.Drives {
			a.say("ALL DATA on %s %s (%s, %s) will be destroyed", d.Model, d.Serial, size(d.SizeBytes), strings.Join(d.Nodes, " "))
		}
		return
	}
	bytes := int64(0)
	for _, d := range p.Drives {
		bytes += d.SizeBytes
	}
	fmt.Fprint(a.stderr, planTable(p.Drives))
	for _, r := range p.Refused {
		a.say("%s %s is REFUSED and will not be touched: %s", r.Model, r.Serial, r.Reasons[0].Message)
	}
	a.say("ALL DATA on these %d drives (%s) will be destroyed", len(p.Drives), size(bytes))
}

// confirmHint is what to give. For many drives that is the digest of a plan in a file: a list of serial
// numbers that is copied as a whole confirms nothing.
func confirmHint(p sanitize.Plan, planned bool) string {
	if len(p.Drives) > many {
		if planned {
			return "--confirm " + p.Digest()[:12] + " for the whole plan"
		}
		return "look at a plan first: expunge plan --drives FILE -o plan.json; it says how to carry it out"
	}
	var serials []string
	for _, d := range p.Drives {
		serials = append(serials, "--confirm "+quote(dash(d.Serial)))
	}
	hint := strings.Join(serials, " ")
	if planned {
		hint = "--confirm " + p.Digest()[:12] + " for the whole plan, or " + hint
	}
	return hint
}

func confirmedBy(p sanitize.Plan, confirm []string, planned bool) error {
	if slices.ContainsFunc(confirm, p.Confirms) {
		return nil
	}
	var missing []string
	for _, d := range p.Drives {
		if d.Serial == "" || !slices.Contains(confirm, d.Serial) {
			missing = append(missing, dash(d.Serial))
		}
	}
	if len(missing) > 0 {
		return &problem{code: exitRefused, name: "not_confirmed",
			err:  fmt.Errorf("not confirmed for %s: nothing was touched", strings.Join(missing, ", ")),
			hint: "what --confirm gave is not enough: " + confirmHint(p, planned)}
	}
	return nil
}
