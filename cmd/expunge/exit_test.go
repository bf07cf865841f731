package main

import (
	"fmt"
	"github.com/expunge-dev/expunge/agent/api"
	"regexp"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// All combinations of what can become of a job's drives: the worst decides, and drives that are done
// beside drives that were refused are never 0, nor as if nothing had been touched.
func TestWorstOfAllCombinations(t *testing.T) {
	each := []int{exitOK, exitInternal, exitUnproven, exitFailed, exitInterrupted, exitExceptions, exitCannot, exitRefused, exitPermission}
	for set := 1; set < 1<<len(each); set++ {
		var codes []int
		has := map[int]bool{}
		for i, c := range each {
			if set>>i&1 == 1 {
				codes, has[c] = append([]int{c}, codes...), true
			}
		}
		want := 0
		switch {
		case has[exitInternal]:
			want = 1
		case has[exitUnproven]:
			want = 8
		case has[exitFailed]:
			want = 7
		case has[exitInterrupted]:
			want = 10
		case has[exitExceptions], has[exitOK] && len(codes) > 1:
			want = 9
		case has[exitCannot]:
			want = 6
		case has[exitRefused]:
			want = 5
		case has[exitPermission]:
			want = 4
		}
		if got := api.Worst(codes); got != want {
			t.Errorf("worst of %v is %d, want %d", codes, got, want)
		}
	}
}

// A plan of which a part was refused ends in 9, when it is made and when it is carried out; one that
// was refused altogether in what refused it.
func TestExitCodeOfPlanAndRun(t *testing.T) {
	planned := sanitize.DrivePlan{Serial: "A", Nodes: []string{"/dev/a"}}
	refused := sanitize.Refused{Serial: "B", Reasons: []devices.Reason{{Code: "in_use", Message: "it is in use"}}}
	cannot := sanitize.Refused{Serial: "C", Cannot: true, Reasons: []devices.Reason{{Code: "cannot", Message: "it cannot"}}}
	denied := sanitize.Refused{Serial: "D", Reasons: []devices.Reason{{Code: "permission", Message: "not permitted"}}}
	done := func(d sanitize.DrivePlan, o sanitize.Outcome) agent.DriveResult {
		return agent.DriveResult{Drive: d, Outcome: o, Certificate: "certificate.json", Evidence: &sanitize.Evidence{}}
	}
	type drives = []sanitize.DrivePlan
	for _, c := range []struct {
		name      string
		plan      sanitize.Plan
		outcome   sanitize.Outcome // of what was planned
		plans, of int              // exit codes of plan and run
	}{
		{"all planned", sanitize.Plan{Drives: drives{planned}}, sanitize.Sanitized, exitOK, exitOK},
		{"one refused", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.Sanitized, exitExceptions, exitExceptions},
		{"one cannot", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{cannot}}, sanitize.Sanitized, exitExceptions, exitExceptions},
		{"one denied", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{denied}}, sanitize.Sanitized, exitExceptions, exitExceptions},
		{"one refused, one failed", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.Failed, exitExceptions, exitFailed},
		{"one refused, one unproven", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.Unproven, exitExceptions, exitUnproven},
		{"one refused, one unknown", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.Unknown, exitExceptions, exitUnproven},
		{"one refused, one interrupted", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.Interrupted, exitExceptions, exitInterrupted},
		{"one refused now and then", sanitize.Plan{Drives: drives{planned}, Refused: []sanitize.Refused{refused}}, sanitize.RefusedRun, exitExceptions, exitRefused},
		{"all refused", sanitize.Plan{Refused: []sanitize.Refused{refused, cannot}}, "", exitCannot, exitCannot},
		{"refused alone", sanitize.Plan{Refused: []sanitize.Refused{refused}}, "", exitRefused, exitRefused},
		{"denied alone", sanitize.Plan{Refused: []sanitize.Refused{denied}}, "", exitPermission, exitPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			code := func(err error) int {
				if err == nil {
					return exitOK
				}
				return problemOf(err).code
			}
			if got := code(planProblem(c.plan)); got != c.plans {
				t.Errorf("plan: exit %d, want %d", got, c.plans)
			}
			j := agent.Job{Plan: c.plan}
			for _, d := range c.plan.Drives {
				j.Drives = append(j.Drives, done(d, c.outcome))
			}
			if got := code((&app{}).jobProblem(api.JobOf(j))); got != c.of {
				t.Errorf("run: exit %d, want %d", got, c.of)
			}
			if list := api.JobOf(j).Drives; len(list) != len(c.plan.Drives)+len(c.plan.Refused) {
				t.Errorf("%d drives are told of", len(list))
			}
		})
	}
}

// What needs somebody comes first, in the order of how much it does; the others by node.
func TestManyAreSortedByWhatToDo(t *testing.T) {
	var list []api.JobDrive
	for n, x := range []struct {
		outcome sanitize.Outcome
		code    int
		node    string
	}{
		{sanitize.Sanitized, exitOK, "/dev/sdaa"}, {sanitize.Interrupted, exitInterrupted, "/dev/sda"}, {sanitize.RefusedRun, exitRefused, "/dev/sdb"},
		{sanitize.Exceptions, exitExceptions, "/dev/sdc"}, {sanitize.Unknown, exitUnproven, "/dev/sdd"}, {sanitize.Sanitized, exitOK, "/dev/sdz"},
		{sanitize.Unproven, exitUnproven, "/dev/sde"}, {sanitize.Failed, exitFailed, "/dev/sdf"}, {sanitize.Sanitized, exitInternal, "/dev/sdg"},
	} {
		list = append(list, api.JobDrive{Serial: fmt.Sprint("S", n), Outcome: x.outcome, ExitStatus: x.code, Nodes: strings.Fields(x.node), Words: string(x.outcome)})
	}
	var out strings.Builder
	if err := manyText(&out, list); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(regexp.MustCompile(`\bS\d\b`).FindAllString(out.String(), -1), " ")
	if want := "S8 S7 S6 S4 S3 S2 S1 S5 S0"; got != want {
		t.Errorf("order %s, want %s in\n%s", got, want, &out)
	}
}
