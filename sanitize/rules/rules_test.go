package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func known[T any](v T) *T { return &v }

// facts are those of a drive of which most is known.
func facts() Facts {
	return Facts{
		Drive: Drive{Serial: "A1", Model: "ACME 1000", Protocol: "nvme", Media: "ssd", Identity: "drive", Fabric: "none", Size: known(int64(1e12)),
			Rotates: known(false), Nodes: []string{"/dev/nvme0n1"}, Notes: []string{}, Simulated: known(true)},
		Request: Request{Method: "purge", AllowFabric: known(false)},
		Host:    Host{ID: "h", Simulated: known(true)},
		Plan:    Plan{Drives: known(int64(3)), Method: "purge"},
		Now:     time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), // a Monday
	}
}

// judged is what one denying condition comes to.
func judged(t *testing.T, when string, f Facts) Ruling {
	t.Helper()
	s, err := Compile([]Rule{{Name: "r", When: when, Deny: "no"}})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	return s.Judge(t.Context(), f)[0]
}

// A condition reads facts, and one that it cannot read denies: what is not known never reads as false or zero.
func TestConditions(t *testing.T) {
	for when, want := range map[string]Decision{
		`drive.serial == "A1"`: Deny, `drive.serial != "A1"`: Pass, `drive.size_bytes > 2000000000000`: Pass, `drive.size_bytes >= 1000 * 1000 * 1000 * 1000`: Deny,
		`drive.model.startsWith("ACME")`: Deny, `drive.model.lowerAscii().contains("acme")`: Deny, `drive.model.matches("^ACME [0-9]{4}$")`: Deny,
		`"/dev/nvme0n1" in drive.nodes`: Deny, `drive.nodes.exists(n, n.endsWith("n2"))`: Pass, `size(drive.notes) == 0`: Deny,
		`now.getDayOfWeek() in [0, 6]`: Pass, `now > timestamp("2026-01-01T00:00:00Z")`: Deny, `now.getHours() < 8 || now.getHours() >= 18`: Pass,
		`plan.drives > 2`: Deny, `request.method == plan.method`: Deny, `host.simulated && drive.simulated`: Deny, `!drive.rotational`: Deny,
		`drive.media == "hdd"`: Pass, `request.allow_fabric || drive.fabric != "none"`: Pass,
		// not known
		`drive.wwn == ""`: RuleFail, `drive.wwn != "x"`: RuleFail, `drive.power_on_hours > 100`: RuleFail, `drive.power_on_hours == 0`: RuleFail, `!(drive.hidden_bytes > 0)`: RuleFail,
		`"wheel" in requester.groups`: RuleFail, `size(requester.groups) == 0`: RuleFail, `requester.name == "uid:0"`: RuleFail, `request.disposition == "decommission"`: RuleFail,
		`has(drive.wwn)`: Pass, `!has(requester.name)`: Deny, `has(drive.serial) && !has(drive.wwn)`: Deny, `has(drive.power_on_hours) && drive.power_on_hours > 100`: Pass,
		`[drive].exists(d, d.wwn == "x")`: RuleFail, `[drive].all(d, has(d.serial) && d.serial == "A1")`: Deny,
		// other errors
		`drive.size_bytes * 9223372036854775807 > 0`: RuleFail, `1 / (plan.drives - 3) > 0`: RuleFail, `drive.nodes[1] == ""`: RuleFail, `int(drive.serial) > 0`: RuleFail,
		`drive.model.matches(drive.serial + "[")`: RuleFail, `drive == drive`: RuleFail, `now.getHours("Nowhere/Land") > 0`: RuleFail,
	} {
		if got := judged(t, when, facts()); got.Decision != want || (got.Decision == RuleFail) != (got.Error != "") {
			t.Errorf("%s: %s %q, want %s", when, got.Decision, got.Error, want)
		}
	}
	if got := judged(t, `drive.wwn == "x"`, facts()); !strings.Contains(got.Error, "drive.wwn is not known: has(drive.wwn)") {
		t.Errorf("%q", got.Error)
	}
	f := facts()
	f.Now = time.Time{}
	if got := judged(t, `now.getHours() > 8`, f); got.Decision != RuleFail {
		t.Errorf("a time that is not known: %s", got.Decision)
	}
}

// Every fact that is not set cannot be read, and is not there; every fact that is set can.
func TestNothingKnownIsNothingRead(t *testing.T) {
	for _, f := range Fields() {
		if f.Object == "" {
			continue
		}
		name := f.Object + "." + f.Name
		if got := judged(t, fmt.Sprintf("%s == %s", name, name), Facts{}); got.Decision != RuleFail {
			t.Errorf("%s: %s of nothing", name, got.Decision)
		}
		if got := judged(t, fmt.Sprintf("has(%s)", name), Facts{}); got.Decision != Pass {
			t.Errorf("has(%s): %s of nothing", name, got.Decision)
		}
		if f.About == "" || f.Type == "" {
			t.Errorf("%s is not described", name)
		}
	}
}

// What zero, false and an empty list are is known where they are given.
func TestZeroIsKnown(t *testing.T) {
	f := Facts{Drive: Drive{Hours: known(int64(0)), Rotates: known(false), Nodes: []string{}}, Requester: Requester{Name: "uid:1", Groups: []string{}}}
	for _, when := range []string{`drive.power_on_hours == 0`, `!drive.rotational`, `size(drive.nodes) == 0`, `!("x" in requester.groups)`, `has(drive.rotational)`} {
		if got := judged(t, when, f); got.Decision != Deny {
			t.Errorf("%s: %s %s", when, got.Decision, got.Error)
		}
	}
}

// A rule that is not right is refused when it is read, and the place is shown.
func TestBadRules(t *testing.T) {
	deny := func(when string) Rule { return Rule{Name: "r", When: when, Deny: "no"} }
	for _, c := range []struct {
		name string
		list []Rule
		word string
		why  string
	}{
		{"a typo", []Rule{deny(`drive.serail == "A"`)}, "when", "undefined field 'serail'\n | drive.serail == \"A\"\n | .....^"},
		{"a typo in has", []Rule{deny(`has(drive.serail)`)}, "when", "undefined field"},
		{"an unknown object", []Rule{deny(`disk.serial == "A"`)}, "when", "undeclared reference to 'disk'"},
		{"another type", []Rule{deny(`drive.size_bytes > "1 TB"`)}, "when", "no matching overload"},
		{"no bool", []Rule{deny(`drive.serial`)}, "when", "of type string"},
		{"no syntax", []Rule{deny(`drive.serial ==`)}, "when", "Syntax error"},
		{"a bad expression of text", []Rule{deny(`drive.model.matches("[")`)}, "when", "invalid matches argument"},
		{"a word that it never is", []Rule{deny(`drive.media == "flash"`)}, "when", `drive.media is never "flash": it is one of hdd, ssd`},
		{"the other way round", []Rule{deny(`"nvm" != drive.protocol`)}, "when", `drive.protocol is never "nvm"`},
		{"in a list", []Rule{deny(`drive.protocol in ["ata", "sas"]`)}, "when", `never "sas"`},
		{"in a loop", []Rule{deny(`["hdd"].exists(m, drive.media == "disk")`)}, "when", `never "disk"`},
		{"what grows", []Rule{deny(`drive.model.replace("", "xxxxxxxx") == ""`)}, "when", "replace is not there"},
		{"what hides types", []Rule{deny(`dyn(drive).serail == ""`)}, "when", "dyn is not there"},
		{"an object of its own", []Rule{deny(`expunge.drive{serial: "A"}.serial == ""`)}, "when", ""},
		{"a loop in a loop in a loop", []Rule{deny(`[1].all(a, [1].all(b, [1].all(c, a == b + c)))`)}, "when", "nesting"},
		{"deep", []Rule{deny(strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100))}, "when", ""},
		{"long", []Rule{deny(strings.Repeat(" ", 5000) + "true")}, "when", "at most 4096"},
		{"an escape", []Rule{deny("drive.serial == \"\x1b[2J\"")}, "when", "cannot be printed"},
		{"no name", []Rule{{When: "true", Deny: "no"}}, "name", "is no name"},
		{"no condition", []Rule{{Name: "r", Deny: "no"}}, "name", "no condition"},
		{"no effect", []Rule{{Name: "r", When: "true"}}, "name", "does nothing"},
		{"two effects", []Rule{{Name: "r", When: "true", Deny: "no", Approvals: 1}}, "name", "two things"},
		{"two others", []Rule{{Name: "r", When: "true", MinMethod: "purge", Approvals: 1}}, "name", "two things"},
		{"five", []Rule{{Name: "r", When: "true", Approvals: 5}}, "require_approval", "not 1 to 4"},
		{"less than none", []Rule{{Name: "r", When: "true", Approvals: -1}}, "require_approval", "not 1 to 4"},
		{"destroy", []Rule{{Name: "r", When: "true", MinMethod: "destroy"}}, "min_method", "not one of clear, purge"},
		{"two lines", []Rule{{Name: "r", When: "true", Deny: "a\nb"}}, "deny", "one printable line"},
		{"two reasons", []Rule{{Name: "r", When: "true", Deny: "a", Because: "b"}}, "because", "leave it out"},
		{"a name twice", []Rule{deny("true"), deny("false")}, "name", "the name of an earlier rule"},
		{"two typos", []Rule{deny(`drive.a == drive.b`)}, "when", "undefined field 'a'\n | drive.a == drive.b\n | .....^\n(and more)"},
		{"much that is wrong", []Rule{deny(strings.Repeat("a b ", 1000))}, "when", "error recovery token lookahead limit exceeded: 256\n(and more)"},
		{"too many", make([]Rule, MaxRules+1), "name", "at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Compile(c.list)
			var bad *Error
			if !errors.As(err, &bad) || bad.Word != c.word || !strings.Contains(bad.Why, c.why) || strings.Contains(bad.Why, "<input>") {
				t.Errorf("%v, %v; want %s: %s", s, err, c.word, c.why)
			}
		})
	}
}

// What a condition costs is bounded, and one that is not judged to its end denies.
func TestCostIsBounded(t *testing.T) {
	f := facts()
	for range 3000 {
		f.Drive.Nodes = append(f.Drive.Nodes, strings.Repeat("n", 100))
	}
	for _, when := range []string{
		`drive.nodes.all(a, drive.nodes.all(b, a != b + "x"))`,
		`drive.nodes.all(a, a.matches("(n*)*x") || drive.nodes.all(b, b.matches("(n*)*x") || true))`,
		`drive.nodes.map(a, drive.nodes).size() > 0 && drive.nodes.map(a, a + a + a + a + a + a).size() > 0`,
	} {
		if got := judged(t, when, f); got.Decision != RuleFail || !strings.Contains(got.Error, "limit") {
			t.Errorf("%s: %s %s", when, got.Decision, got.Error)
		}
	}
}

// Who is stopped has decided nothing.
func TestInterrupted(t *testing.T) {
	s, err := Compile([]Rule{{Name: "r", When: "false", Deny: "no"}, {Name: "long", When: `drive.nodes.all(a, a != "x") && false`, Deny: "no"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range s.Judge(ctx, facts()) {
		if r.Decision != RuleFail || !strings.Contains(r.Error, "canceled") {
			t.Errorf("%s: %s %s", r.Rule.Name, r.Decision, r.Error)
		}
	}
}

// One set is judged by many at once, each by its own facts, and lists that differ are different sets.
func TestManyJudgeAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			serial := fmt.Sprint("S", i%4)
			s, err := Compile([]Rule{{Name: "r", When: fmt.Sprintf("drive.serial == %q && drive.nodes.all(n, size(n) > 0)", serial), Deny: "no"}})
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 100 {
				f := facts()
				f.Drive.Serial = fmt.Sprint("S", j%5)
				if got := s.Judge(t.Context(), f)[0]; (got.Decision == Deny) != (f.Drive.Serial == serial) {
					t.Errorf("%s of %s: %+v", f.Drive.Serial, serial, got)
				}
			}
		})
	}
	all.Wait()
}

// Of several rules the strongest counts.
func TestTheStrongestCounts(t *testing.T) {
	s, err := Compile([]Rule{
		{Name: "a", When: "true", Approvals: 1}, {Name: "b", When: "true", Approvals: 3}, {Name: "c", When: "false", Approvals: 4},
		{Name: "d", When: "true", MinMethod: "purge"}, {Name: "e", When: "true", MinMethod: "clear"},
	})
	if err != nil {
		t.Fatal(err)
	}
	rulings := s.Judge(t.Context(), facts())
	if least, by := MinMethod(rulings); Approvals(rulings) != 3 || least != "purge" || by.Name != "d" {
		t.Errorf("%d, %s by %s", Approvals(rulings), least, by.Name)
	}
}

// An example comes to what comes first, and what it gives not is not known.
func TestExamples(t *testing.T) {
	s, err := Compile([]Rule{
		{Name: "model", When: `drive.model == "bad"`, Deny: "no"}, {Name: "many", When: "has(plan.drives) && plan.drives > 10", Approvals: 2},
		{Name: "ssd", When: `has(drive.media) && drive.media == "ssd"`, MinMethod: "purge"}, {Name: "night", When: `has(request.category) && now.getHours() < 6`, Deny: "at night"},
	})
	if err != nil {
		t.Fatal(err)
	}
	good := Drive{Model: "good"}
	for _, c := range []struct {
		e    Example
		want bool
	}{
		{Example{Expect: ExpectError}, true},
		{Example{Expect: ExpectDeny}, false},
		{Example{Expect: ExpectDeny, Facts: Facts{Drive: Drive{Model: "bad"}}}, true},
		{Example{Expect: ExpectAllow, Facts: Facts{Drive: good}}, true},
		{Example{Expect: ExpectError, Facts: Facts{Drive: good, Request: Request{Category: "low"}}}, true},
		{Example{Expect: ExpectDeny, Time: "2026-03-02T05:00:00+01:00", Facts: Facts{Drive: good, Request: Request{Category: "low"}}}, true},
		{Example{Expect: ExpectApproval, Approvals: 2, Facts: Facts{Drive: good, Plan: Plan{Drives: known(int64(11))}}}, true},
		{Example{Expect: ExpectApproval, Approvals: 1, Facts: Facts{Drive: good, Plan: Plan{Drives: known(int64(11))}}}, false},
		{Example{Expect: ExpectMethod, Method: "purge", Facts: Facts{Drive: Drive{Model: "good", Media: "ssd"}}}, true},
		{Example{Expect: ExpectTooLow, Facts: Facts{Drive: Drive{Model: "good", Media: "ssd"}, Request: Request{Method: "clear"}}}, true},
	} {
		if got := s.Try(t.Context(), c.e); got.OK != c.want {
			t.Errorf("%+v: %+v", c.e, got)
		}
	}
	for word, e := range map[string]Example{
		"name": {Expect: ExpectAllow}, "expect": {Name: "x", Expect: "refused"}, "time": {Name: "x", Expect: ExpectAllow, Time: "noon"},
		"approvals": {Name: "x", Expect: ExpectAllow, Approvals: 5}, "method": {Name: "x", Expect: ExpectAllow, Method: "destroy"},
		"drive": {Name: "x", Expect: ExpectAllow, Facts: Facts{Drive: Drive{Media: "tape"}}},
	} {
		if got, _ := e.Check(); got != word {
			t.Errorf("%+v: %q, want %s", e, got, word)
		}
	}
}
