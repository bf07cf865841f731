package sanitize

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// monday is in working hours.
var monday = Situation{Host: "h", Drives: 1, Now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}

// ruled is a policy of these rules, one a line.
func ruled(t testing.TB, lines ...string) Policy {
	t.Helper()
	return parsePolicy(t, "policy: x\nrules:\n  - "+strings.Join(lines, "\n  - ")+"\n")
}

// planned is what the policy makes of a drive, and the codes of a refusal.
func plannedUnder(t testing.TB, p Policy, d devices.Drive, r Request, s Situation) (DrivePlan, []string, error) {
	t.Helper()
	r, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Choose(d, strings.Repeat("0", 64), r, p, p.Judge(t.Context(), d, r, s))
	var refusal *Refusal
	var codes []string
	if errors.As(err, &refusal) {
		for _, reason := range refusal.Reasons {
			codes = append(codes, reason.Code)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	return plan, codes, err
}

// Each effect does what it says, and nothing where its condition does not hold.
func TestRuleEffects(t *testing.T) {
	deny := `{name: d, when: drive.serial == "S", deny: belongs to the museum}`
	purge := `{name: p, when: "drive.media == \"ssd\"", min_method: purge, because: flash}`
	for _, c := range []struct {
		name  string
		rules []string
		r     Request
		s     Situation
		want  string // the method, with the approvals; or the codes of the refusal
		words string
	}{
		{"denied", []string{deny}, Request{}, monday, "rule_denied", "rule d: belongs to the museum"},
		{"not denied", []string{strings.Replace(deny, `"S"`, `"T"`, 1)}, Request{}, monday, "clear 0", ""},
		{"raised where nothing was asked", []string{purge}, Request{}, monday, "purge 0", ""},
		{"raised above what policy asks for", []string{purge}, Request{Category: Low, Disposition: Reuse}, monday, "purge 0", ""},
		{"asked for enough", []string{purge}, Request{Method: Purge}, monday, "purge 0", ""},
		{"asked for less", []string{purge}, Request{Method: Clear}, monday, "method_too_low", "rule p asks for purge, not clear: flash"},
		{"raised above a technique", []string{purge}, Request{Technique: HostOverwrite}, monday, "method_not_reached", "rule p asks for purge: flash"},
		{"less than asked", []string{strings.Replace(purge, "min_method: purge", "min_method: clear", 1)}, Request{Method: Purge}, monday, "purge 0", ""},
		{"approval", []string{`{name: a, when: "true", require_approval: 2}`, `{name: b, when: "true", require_approval: 1}`}, Request{}, monday, "clear 2", ""},
		{"approval and method", []string{`{name: a, when: "plan.method == \"clear\"", require_approval: 1}`, purge}, Request{}, monday, "purge 1", ""},
		{"many at once", []string{`{name: a, when: plan.drives > 10, require_approval: 3}`}, Request{}, Situation{Host: "h", Drives: 11, Now: monday.Now}, "clear 3", ""},
		{"two deny", []string{deny, `{name: e, when: "true", deny: no}`}, Request{}, monday, "rule_denied rule_denied", "rule e: no"},
		{"an error denies", []string{`{name: e, when: drive.power_on_hours > 5, require_approval: 1}`}, Request{}, monday, "rule_error", "rule e cannot be judged: drive.power_on_hours is not known"},
		{"an error denies beside what would raise", []string{purge, `{name: e, when: "request.disposition == \"reuse\"", min_method: clear}`}, Request{}, monday, "rule_error", ""},
		{"who asked is not known", []string{`{name: e, when: "!(\"erasers\" in requester.groups)", deny: no}`}, Request{}, monday, "rule_error", "requester.groups is not known"},
		{"who asked is in", []string{`{name: e, when: "!(\"erasers\" in requester.groups)", deny: no}`}, Request{Requester: "uid:7", Groups: []string{"staff", "erasers"}}, monday, "clear 0", ""},
		{"who asked is not in", []string{`{name: e, when: "!(\"erasers\" in requester.groups)", deny: no}`}, Request{Requester: "uid:7"}, monday, "rule_denied", ""},
		{"at night", []string{`{name: n, when: now.getHours() < 6, deny: at night}`}, Request{}, Situation{Host: "h", Drives: 1, Now: monday.Now.Add(-5 * time.Hour)}, "rule_denied", ""},
		{"at no time", []string{`{name: n, when: now.getHours() < 6, deny: at night}`}, Request{}, Situation{Host: "h", Drives: 1}, "rule_error", ""},
		{"by technique", []string{`{name: c, when: has(request.technique) && request.technique == "crypto", require_approval: 2}`}, Request{Method: Purge, Technique: CryptographicErase}, monday, "purge 2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, codes, err := plannedUnder(t, ruled(t, c.rules...), nvmeDrive(), c.r, c.s)
			got := strings.Join(codes, " ")
			if strings.HasPrefix(got, "method_not_reached ") {
				got = codes[0] // and why each technique does not
			}
			if err == nil {
				got = string(plan.Method) + " " + string(rune('0'+plan.Approvals))
			}
			if got != c.want || c.words != "" && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s, %v; want %s: %s", got, err, c.want, c.words)
			}
		})
	}
}

// A policy with rules permits nothing to who did not have them judged, or judged others.
func TestRulesThatWereNotJudged(t *testing.T) {
	p, other := ruled(t, `{name: a, when: "false", deny: no}`), ruled(t, `{name: a, when: "false", deny: other}`)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, judged := range map[string]Rulings{
		"none": {}, "of another policy": other.Judge(t.Context(), nvmeDrive(), Request{}, monday), "after the end": p.Judge(ended, nvmeDrive(), Request{}, monday),
	} {
		_, err := Choose(nvmeDrive(), "", Request{}, p, judged)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Reasons[0].Code != "rule_error" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the program itself refuses, no rule permits, and its own reason is the one that is said.
func TestHardRulesStand(t *testing.T) {
	p := ruled(t, `{name: a, when: "false", deny: no}`, `{name: b, when: "true", min_method: clear}`, `{name: c, when: "true", require_approval: 1}`)
	for code, change := range map[string]func(*devices.Drive){
		"mounted":   func(d *devices.Drive) { d.State, d.Reasons = devices.StateInUse, []devices.Reason{{Code: "mounted"}} },
		"system":    func(d *devices.Drive) { d.State, d.Reasons = devices.StateSystem, []devices.Reason{{Code: "system"}} },
		"fabric":    func(d *devices.Drive) { d.State, d.Reasons = devices.StateBlocked, []devices.Reason{{Code: "fabric"}} },
		"read_only": func(d *devices.Drive) { d.ReadOnly = true },
		"geometry":  func(d *devices.Drive) { d.LogicalBlock = 0 },
	} {
		d := nvmeDrive()
		change(&d)
		if _, codes, _ := plannedUnder(t, p, d, Request{}, monday); !slices.Equal(codes, []string{code}) {
			t.Errorf("%s: %v", code, codes)
		}
	}
}

// Whatever rules say, they permit nothing that is not permitted without them, and never a weaker method.
func TestRulesOnlyTighten(t *testing.T) {
	conditions := []string{
		"true", "false", `drive.media == "ssd"`, `has(drive.media) && drive.media == "hdd"`, "drive.size_bytes > 1000", "drive.power_on_hours > 5", `drive.identity == "drive"`,
		`request.method == "clear"`, "has(request.method)", `plan.method == "clear"`, "plan.drives > 3", "host.simulated", "now.getHours() > 12", `"wheel" in requester.groups`, `drive.serial in ["S", "T"]`,
		"drive.notes.exists(n, n == \"hidden_area\")", "drive.rotational", "1 / (plan.drives - 2) > 0",
	}
	bare := parsePolicy(t, "policy: x\n")
	rapid.Check(t, func(r *rapid.T) {
		f := PolicyFile{Name: "x"}
		for i := range rapid.IntRange(1, 4).Draw(r, "rules") {
			when := rapid.SampledFrom(conditions).Draw(r, "when")
			switch rapid.IntRange(0, 3).Draw(r, "shape") {
			case 1:
				when = "!(" + when + ")"
			case 2:
				when = "(" + when + ") && (" + rapid.SampledFrom(conditions).Draw(r, "and") + ")"
			case 3:
				when = "(" + when + ") || (" + rapid.SampledFrom(conditions).Draw(r, "or") + ")"
			}
			rule := PolicyRule{Name: string(rune('a' + i)), When: when}
			switch rapid.IntRange(0, 3).Draw(r, "effect") {
			case 0:
				rule.Deny = "no"
			case 1:
				n := rapid.IntRange(1, 4).Draw(r, "approvals")
				rule.RequireApproval = &n
			default:
				rule.MinMethod = rapid.SampledFrom([]Method{Clear, Purge}).Draw(r, "least")
			}
			f.Rules = append(f.Rules, rule)
		}
		p, err := f.compile()
		if err != nil {
			r.Fatal(err)
		}
		d := rapid.SampledFrom([]devices.Drive{drive(), nvmeDrive()}).Draw(r, "drive")
		if rapid.Bool().Draw(r, "mounted") {
			d.State, d.Reasons = devices.StateInUse, []devices.Reason{{Code: "mounted"}}
		}
		if rapid.Bool().Draw(r, "no sanitize") {
			d.Sanitize = nil
		}
		d.Media = rapid.SampledFrom(mediaKinds).Draw(r, "media")
		request := Request{Method: rapid.SampledFrom([]Method{"", Clear, Purge}).Draw(r, "method")}
		if rapid.Bool().Draw(r, "category") {
			request.Category, request.Disposition = rapid.SampledFrom([]Category{Low, Moderate, High}).Draw(r, "c"), rapid.SampledFrom([]Disposition{Reuse, Decommission}).Draw(r, "d")
		}
		if rapid.Bool().Draw(r, "requester") {
			request.Requester, request.Groups = "uid:0", []string{"wheel"}
		}
		s := Situation{Host: "h", Drives: rapid.IntRange(1, 5).Draw(r, "drives"), Now: monday.Now.Add(time.Duration(rapid.IntRange(0, 23).Draw(r, "hour")) * time.Hour)}
		judged := p.Judge(t.Context(), d, request, s)
		with, err := Choose(d, "", request, p, judged)
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				r.Fatal(err)
			}
			return
		}
		for _, j := range judged.List() {
			if j.Decision == rules.Deny || j.Decision == rules.RuleFail {
				r.Fatalf("planned, though %+v", j)
			}
		}
		// What is planned is what would be planned without rules for the method that they lead to.
		asked := request
		if request.Method == "" && with.Method == Purge {
			asked.Method = Purge
		}
		without, err := Choose(d, "", asked, bare, Rulings{})
		if err != nil {
			r.Fatalf("permitted by rules alone: %v", err)
		}
		if plain, err := Choose(d, "", request, bare, Rulings{}); err == nil && with.Method.rank() < plain.Method.rank() {
			r.Fatalf("%s, and %s without rules", with.Method, plain.Method)
		}
		with.Approvals = 0
		if !reflect.DeepEqual(with, without) {
			r.Fatalf("%+v\n%+v", with, without)
		}
	})
}

// What was planned is judged again: by the time and the facts of then, and never less than it was.
func TestHoldsJudgesAgain(t *testing.T) {
	d := nvmeDrive()
	night := Situation{Host: "h", Drives: 1, Now: monday.Now.Add(14 * time.Hour)}
	for _, c := range []struct {
		name, rule string
		edit       func(*DrivePlan)
		want       string // "" where it holds by night
	}{
		{"denied by then", `{name: n, when: now.getHours() < 6, deny: at night}`, nil, "rule_denied"},
		{"not judged by then", `{name: n, when: 1 / now.getHours() < 0, deny: never}`, nil, "rule_error"},
		{"more by then", `{name: n, when: now.getHours() < 6, require_approval: 1}`, nil, "approval_required"},
		{"fewer by then", `{name: n, when: now.getHours() > 6, require_approval: 1}`, nil, ""},
		{"a stronger method by then", `{name: n, when: now.getHours() < 6, min_method: purge}`, nil, "method_too_low"},
		{"a weaker method by then", `{name: n, when: now.getHours() > 6, min_method: purge}`, nil, ""},
		{"approvals taken out by hand", `{name: n, when: "true", require_approval: 2}`, func(dp *DrivePlan) { dp.Approvals = 0 }, "approval_required"},
		{"a method lowered by hand", `{name: n, when: "true", min_method: purge}`, func(dp *DrivePlan) { dp.Method = Clear }, "method_too_low"},
		{"a technique changed by hand", `{name: n, when: "true", min_method: purge}`, func(dp *DrivePlan) { dp.Technique = HostOverwrite }, "changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ruled(t, c.rule)
			plan, _, err := plannedUnder(t, p, d, Request{}, monday)
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				c.edit(&plan)
			}
			got := ""
			err = plan.Holds(d, "", Request{}, p, p.Judge(t.Context(), d, Request{}, night))
			var refusal *Refusal
			switch {
			case errors.As(err, &refusal):
				got = refusal.Reasons[0].Code
			case errors.Is(err, ErrPlanChanged):
				got = "changed"
			case err != nil:
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if err := plan.Holds(d, "", Request{}, p, Rulings{}); err == nil {
				t.Error("it holds without its rules")
			}
		})
	}
}

// What a drive does not tell, and what a host cannot vouch for, no rule reads as nothing.
func TestDriveFacts(t *testing.T) {
	d := nvmeDrive()
	d.Areas = []devices.Area{{Kind: devices.AreaUnallocated, State: devices.AreaUnknown}}
	f := driveFacts(d, monday)
	if f.Unclaimed != nil || f.WWN != "" || f.Hours != nil || f.Fabric != "none" || f.Bridge != "none" || f.Media != "ssd" || *f.Rotates || *f.Namespaces != 1 || *f.Hidden != 0 {
		t.Errorf("%+v", f)
	}
	d.Areas[0].State = devices.AreaAbsent
	if f = driveFacts(d, monday); f.Unclaimed == nil || *f.Unclaimed != 0 {
		t.Error("nothing is unallocated, and that is not known")
	}
	stick := drive()
	if f = driveFacts(stick, monday); f.Media != "" || f.Rotates != nil || f.Hidden != nil || f.Units != nil || f.Namespaces != nil || f.Zoning != "" {
		t.Errorf("of what the kernel alone tells: %+v", f)
	}
	disk := drive()
	disk.Protocol, disk.Identity = devices.ProtocolATA, devices.IdentityDrive
	if f = driveFacts(disk, monday); f.Hidden != nil {
		t.Error("an ATA drive that was not asked hides nothing")
	}
	for _, k := range []devices.HiddenKind{devices.HostProtectedArea, devices.AccessibleMax, devices.Overlay} {
		disk.Areas = append(disk.Areas, devices.Area{Kind: devices.AreaKind(k), State: devices.AreaAbsent})
	}
	if f = driveFacts(disk, monday); f.Hidden == nil || *f.Hidden != 0 {
		t.Error("an ATA drive that hides nothing is not known to")
	}
	disk.Hidden = []devices.HiddenArea{{Kind: devices.Overlay, FromBytes: 10, NativeBytes: 30}}
	if f = driveFacts(disk, monday); *f.Hidden != 20 {
		t.Errorf("hides %d", *f.Hidden)
	}
	disk.Lacks = []devices.Reason{{Code: devices.ReasonHiddenFrozen}}
	if f = driveFacts(disk, monday); f.Hidden != nil {
		t.Error("a drive that is kept from telling hides so many")
	}
}

// The words that rules may compare with are those that there are.
func TestWordsOfRules(t *testing.T) {
	var techniques, protocols []string
	for _, x := range Techniques() {
		techniques = append(techniques, x.Word())
	}
	for _, x := range buses {
		protocols = append(protocols, string(x))
	}
	for _, f := range rules.Fields() {
		switch f.Object + "." + f.Name {
		case "request.technique":
			slices.Sort(techniques)
			if slices.Sort(f.Words); !slices.Equal(f.Words, techniques) {
				t.Errorf("techniques %v, want %v", f.Words, techniques)
			}
		case "drive.protocol":
			slices.Sort(protocols)
			if slices.Sort(f.Words); !slices.Equal(f.Words, protocols) {
				t.Errorf("protocols %v, want %v", f.Words, protocols)
			}
		}
	}
}

// Who asked is in the plan's digest, in a form that everything can show.
func TestRequester(t *testing.T) {
	for _, c := range []struct {
		r  Request
		ok bool
	}{
		{Request{}, true}, {Request{Requester: "uid:1000"}, true}, {Request{Requester: "CN=ops, O=ACME", Groups: []string{"b", "a", "b"}}, true},
		{Request{Groups: []string{"a"}}, false}, {Request{Requester: "Zoë"}, false}, {Request{Requester: "a\nb"}, false}, {Request{Requester: " a"}, false},
		{Request{Requester: strings.Repeat("x", 129)}, false}, {Request{Requester: "a", Groups: []string{""}}, false}, {Request{Requester: "a", Groups: make([]string, 65)}, false},
	} {
		r, err := c.r.Normal()
		var bad *RequestError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &bad) {
			t.Errorf("%+v: %v", c.r, err)
		}
		if len(c.r.Groups) == 3 && !slices.Equal(r.Groups, []string{"a", "b"}) {
			t.Errorf("%v", r.Groups)
		}
	}
	p := plan(t)
	was := p.Digest()
	p.Request.Requester = "uid:1000"
	if p.Digest() == was {
		t.Error("who asked is not in the digest")
	}
	was = p.Digest()
	p.Drives[0].Approvals = 2
	if p.Digest() == was || p.ApprovalsNeeded() != 2 {
		t.Error("approvals are not in the digest")
	}
}

// A plan carries the rules of a site, and without one of them it is another policy.
func TestRulesTravel(t *testing.T) {
	p := ruled(t, `{name: a, when: drive.size_bytes > 5, require_approval: 2, because: large}`, `{name: b, when: "true", deny: no}`)
	data, err := json.Marshal(p.Ref())
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"fewer approvals": {`"require_approval":2`, `"require_approval":1`}, "another condition": {`drive.size_bytes \u003e 5`, `drive.size_bytes \u003e 6`},
		"a rule less": {`,{"name":"b","when":"true","deny":"no"}`, ``},
	} {
		edited := strings.Replace(string(data), edit[0], edit[1], 1)
		var ref PolicyRef
		if err := json.Unmarshal([]byte(edited), &ref); err != nil || edited == string(data) {
			t.Fatalf("%s: %v %s", name, err, data)
		}
		if q, err := ref.Resolve(); err != nil || q.Digest() == p.Digest() {
			t.Errorf("%s: %v, the digest is the same", name, err)
		}
	}
	var ref PolicyRef
	if err := json.Unmarshal(data, &ref); err != nil {
		t.Fatal(err)
	}
	again, err := ref.Resolve()
	if err != nil || again.Digest() != p.Digest() {
		t.Fatalf("%v", err)
	}
	if _, codes, _ := plannedUnder(t, again, nvmeDrive(), Request{}, monday); !slices.Equal(codes, []string{"rule_denied"}) {
		t.Errorf("%v", codes)
	}
	// One that cannot be judged any more is no policy.
	if _, err := (PolicyRef{Name: "x", File: &PolicyFile{Name: "x", Rules: []PolicyRule{{Name: "a", When: "drive.gone", Deny: "no"}}}}).Resolve(); err == nil {
		t.Error("a rule that cannot be compiled is taken")
	}
}
