package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/agent/api"
)

// What is said of a command line that is nearly right.

// misused is the problem of a command line that a command could not take. A name that is nearly one of its own is told.
func misused(c *cobra.Command, err error) *problem {
	var told *problem
	if errors.As(err, &told) {
		return told
	}
	hint := c.CommandPath() + " --help shows how it is used"
	if !c.HasParent() {
		hint = "expunge --help lists the verbs"
	}
	if meant := meantBy(c, err.Error()); len(meant) > 0 {
		hint = "did you mean " + strings.Join(meant, " or ") + "? " + hint
	}
	return usage(hint, err)
}

// nearly is how many letters of a name may be wrong, missing or too many.
const nearly = 2

// meantBy are the commands or flags that an unknown one in the words of an error is nearly.
func meantBy(c *cobra.Command, words string) []string {
	var list []string
	var name string
	if _, err := fmt.Sscanf(words, "unknown command %q", &name); err == nil {
		c.SuggestionsMinimumDistance = nearly
		for _, s := range c.SuggestionsFor(name) {
			list = append(list, c.CommandPath()+" "+s)
		}
	}
	if _, err := fmt.Sscanf(words, "unknown flag: --%s", &name); err == nil {
		near := func(f *pflag.Flag) {
			if !f.Hidden && (distance(name, f.Name) <= nearly || strings.HasPrefix(f.Name, name)) {
				list = append(list, "--"+f.Name)
			}
		}
		c.LocalFlags().VisitAll(near)
		c.InheritedFlags().VisitAll(near)
	}
	return list
}

// distance is how many letters must be changed, put in or taken out to make one word of another (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// oneJob are the arguments of a command for one job.
func oneJob(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage("expunge jobs lists them", fmt.Errorf("which job? %s", c.CommandPath()+" JOB"))
	case len(args) > 1:
		return usage("name one: "+c.CommandPath()+" JOB", fmt.Errorf("%d jobs are named", len(args)))
	}
	return nil
}

// shortestID is the least of a job's id that names it: with its "j-", four digits.
const shortestID = 6

// jobNamed is the job of an id, or of the beginning of one that no other job has: to look at, never to act on.
func jobNamed(ctx context.Context, svc api.Service, id string) (api.Job, error) {
	j, err := svc.Job(ctx, id)
	if err == nil || problemOf(err).code != exitNotFound || len(id) < shortestID {
		return j, err
	}
	jobs, unlisted := svc.Jobs(ctx)
	if unlisted != nil {
		return j, err
	}
	var found []string
	for _, x := range jobs {
		if strings.HasPrefix(x.ID, id) {
			found = append(found, x.ID)
		}
	}
	switch len(found) {
	case 0:
		return j, err
	case 1:
		return svc.Job(ctx, found[0])
	}
	return j, &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("%d jobs begin with %s", len(found), id), hint: "name one: " + strings.Join(found, ", ")}
}
