package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

// confirmed makes sure that a person meant these drives: by flag, or typed at the terminal.
// planned says that the plan is in a file; one that was made just now has a digest of its own each time.
// listed are the drives of the host.
func (a *app) confirmed(ctx context.Context, p sanitize.Plan, confirm []string, planned bool, listed []devices.Drive) error {
	if slices.ContainsFunc(confirm, p.Confirms) {
		return nil
	}
	called := calledOf(p, listed)
	if len(confirm) > 0 {
		return called.confirmedBy(p, confirm, planned)
	}
	in, isFile := a.stdin.(*os.File)
	if !isFile || !terminal.Is(in) {
		return &problem{code: exitRefused, name: "not_confirmed", err: errors.New("not confirmed: nothing was touched"),
			hint: called.hint(p, planned)}
	}
	want := p.Digest()[:12]
	if len(p.Drives) == 1 {
		want = called.name(p.Drives[0])
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

// announce lists what will be destroyed and how, as a plan says it in short, right before it is confirmed.
func (a *app) announce(p sanitize.Plan) {
	if len(p.Drives) <= many {
		for _, d := range p.Drives {
			a.say("ALL DATA on %s %s (%s, %s) will be destroyed", d.Model, d.Serial, size(d.SizeBytes), strings.Join(d.Nodes, " "))
			a.say("  will be %s by %s%s, %s", d.Method, d.Technique, passWords(d), verifyWords(d.Verification))
			a.say("  scope %s", scopeWords(d))
			for _, e := range d.Excludes {
				a.say("  not reached %s", e.Message)
			}
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

// called are the ids of the drives that have each serial number and each WWN, of all that are listed or planned.
type called map[string]map[devices.ID]bool

// calledOf takes the drives of the host and of a plan: a name that another drive has, too, confirms nothing.
func calledOf(p sanitize.Plan, listed []devices.Drive) called {
	c := called{}
	for _, d := range listed {
		c.add(d.ID, d.Serial, d.WWN)
	}
	for _, d := range p.Drives {
		c.add(d.ID, d.Serial, d.WWN)
	}
	return c
}

func (c called) add(id devices.ID, names ...string) {
	for _, n := range names {
		if c[n] == nil {
			c[n] = map[devices.ID]bool{}
		}
		c[n][id] = true
	}
}

// name is what confirms a drive: its serial number where no other drive has it, else its WWN, else its id.
func (c called) name(d sanitize.DrivePlan) string {
	for _, n := range []string{d.Serial, d.WWN} {
		if n != "" && len(c[n]) == 1 {
			return n
		}
	}
	return string(d.ID)
}

// confirms says whether a word that was given names the drive and no other.
func (c called) confirms(word string, d sanitize.DrivePlan) bool {
	return word != "" && (word == string(d.ID) || (word == d.Serial || word == d.WWN) && len(c[word]) == 1)
}

// hint is what to give. For many drives that is the digest of a plan in a file: a list of serial
// numbers that is copied as a whole confirms nothing.
func (c called) hint(p sanitize.Plan, planned bool) string {
	if len(p.Drives) > many {
		if planned {
			return "--confirm " + p.Digest()[:12] + " for the whole plan"
		}
		return "look at a plan first: expunge plan --drives FILE -o plan.json; it says how to carry it out"
	}
	var names, shared []string
	for _, d := range p.Drives {
		names = append(names, "--confirm "+quote(c.name(d)))
		if d.Serial != "" && len(c[d.Serial]) > 1 {
			shared = append(shared, d.Serial)
		}
	}
	hint := strings.Join(names, " ")
	if planned {
		hint = "--confirm " + p.Digest()[:12] + " for the whole plan, or " + hint
	}
	if len(shared) > 0 {
		hint += " (other drives have the serial number " + strings.Join(shared, ", ") + ", too: it does not say which is meant)"
	}
	return hint
}

func (c called) confirmedBy(p sanitize.Plan, confirm []string, planned bool) error {
	var missing []string
	for _, d := range p.Drives {
		if !slices.ContainsFunc(confirm, func(word string) bool { return c.confirms(word, d) }) {
			missing = append(missing, dash(d.Serial))
		}
	}
	if len(missing) > 0 {
		return &problem{code: exitRefused, name: "not_confirmed",
			err:  fmt.Errorf("not confirmed for %s: nothing was touched", strings.Join(missing, ", ")),
			hint: "what --confirm gave is not enough: " + c.hint(p, planned)}
	}
	return nil
}
