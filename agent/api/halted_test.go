package api

import (
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent"
)

// A halt that has ended cannot be ended: who was stopped by it is told how its job goes on.
func TestHaltThatIsOver(t *testing.T) {
	p := ProblemOf(&agent.HaltedError{By: "o", Since: "s", Reason: "r"})
	if p.ExitStatus != ExitRefused || p.Code != "halted" || !strings.Contains(p.Hint, "halt --end") {
		t.Errorf("%+v", p)
	}
	p = ProblemOf(&agent.HaltedError{By: "o", Since: "s", Reason: "r", Over: true})
	if p.ExitStatus != ExitInterrupted || p.Code != "halted" || strings.Contains(p.Hint, "halt --end") || !strings.Contains(p.Hint, "jobs") {
		t.Errorf("%+v", p)
	}
	for _, over := range []bool{true, false} {
		hint := HintStopped(&agent.HaltedError{Over: over}, "j-1")
		if !strings.Contains(hint, "expunge jobs resume j-1") || strings.Contains(hint, "halt --end") == over {
			t.Errorf("over %v: %s", over, hint)
		}
	}
}
