package sanitize

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// example is the policy file of docs/policies.md.
func example(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "```yaml\n")
	text, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/policies.md has no example")
	}
	return []byte(text)
}

func parsePolicy(t testing.TB, text string) Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// What a site says must be what is meant: anything else is refused, with the line.
func TestBadPolicyFiles(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       int
		why        string
	}{
		{"nothing", "", 0, "empty"},
		{"only a comment", "# policy\n", 0, "empty"},
		{"no YAML", "policy: [x\n", 0, ""},
		{"a list", "- policy\n", 1, "not a list of words with values"},
		{"a word", "strict\n", 1, "not a list of words with values"},
		{"too large", "policy: x\n" + strings.Repeat("#", 64<<10), 0, "at most"},
		{"no name", "base: nist-800-88r2\n", 1, "no name"},
		{"a built-in name", "policy: aus-ism\n", 1, "built-in"},
		{"a name of two words", "policy: my site\n", 1, "is no name"},
		{"an unknown base", "policy: x\nbase: iso-27040\n", 2, "not one of nist-800-88r2"},
		{"an unknown word", "policy: x\nforbid: [format]\n", 2, `"forbid" is not a word`},
		{"an unknown word in a rule", "policy: x\nrules:\n  - media: [ssd]\n    forbids: [format]\n", 4, `"forbids" is not a word`},
		{"a word twice", "policy: x\nbase: aus-ism\nbase: nist-800-88r2\n", 3, "already defined"},
		{"a level twice", "policy: x\nrules:\n  - levels:\n      block: clear\n      block: clear\n", 5, "already defined"},
		{"a level twice by two names", "policy: x\nrules:\n  - levels: {block: clear, block-erase: clear}\n", 3, "said twice"},
		{"a second document", "policy: x\n---\npolicy: y\n", 0, "second document"},
		{"an alias", "policy: &a x\nbase: *a\n", 1, "aliases"},
		{"a merge", "policy: x\n<<: {base: aus-ism}\n", 2, "aliases"},
		{"a tag", "policy: !!str x\n", 1, "tags"},
		{"an order of nothing", "policy: x\nrules:\n  - purge: []\n", 3, "nothing is said"},
		{"an order left open", "policy: x\nrules:\n  - media: [ssd]\n    purge:\n", 4, "nothing is said"},
		{"rules left open", "policy: x\nrules:\n", 2, "nothing is said"},
		{"an empty word", "policy: x\nrules:\n  - forbid: [\"\"]\n", 3, "nothing is said"},
		{"an order that is a word", "policy: x\nrules:\n  - purge: block\n", 3, "not the kind of value"},
		{"an unknown technique", "policy: x\nrules:\n  - purge:\n      - block\n      - shred\n", 5, `"shred": not one of`},
		{"a technique twice", "policy: x\nrules:\n  - clear: [block, block-erase]\n", 3, "said twice"},
		{"unknown media", "policy: x\nrules:\n  - media: [tape]\n    forbid: [format]\n", 3, `"tape" is not one of`},
		{"an unknown bus", "policy: x\nrules:\n  - bus: [usb]\n    forbid: [format]\n", 3, `"usb" is not one of`},
		{"unknown media of all", "policy: x\nmedia: [ssd, tape]\n", 2, `"tape" is not one of`},
		{"a rule about media that are not covered", "policy: x\nmedia: [ssd]\nrules:\n  - media: [hdd]\n    forbid: [format]\n", 4, "does not cover"},
		{"a rule that says nothing", "policy: x\nrules:\n  - media: [ssd]\n", 3, "says nothing"},
		{"a rule that is never used", "policy: x\nrules:\n  - media: [ssd]\n    forbid: [format]\n  - media: [ssd]\n    bus: [ata]\n    forbid: [block]\n", 5, "never used"},
		{"a level raised by an order", "policy: x\nrules:\n  - purge: [host-overwrite]\n", 3, "does not reach purge"},
		{"a level raised under r1", "policy: x\nbase: nist-800-88r1\nrules:\n  - media: [ssd]\n    bus: [ata]\n    purge: [enhanced-security-erase]\n", 6, "does not reach purge"},
		{"a level raised by a level", "policy: x\nrules:\n  - levels: {security-erase: purge}\n", 3, "taken down"},
		{"a technique the base has not", "policy: x\nbase: aus-ism\nrules:\n  - clear: [block]\n", 4, "does not reach clear"},
		{"forbidden and ordered", "policy: x\nrules:\n  - purge: [crypto, block]\n    forbid: [block]\n", 3, "forbidden by the same rule"},
		{"a step forbidden, the sequence demanded", "policy: x\nrules:\n  - forbid: [block]\n    demand: [crypto+block]\n", 4, "or a step of it"},
		{"forbidden and given a level", "policy: x\nrules:\n  - forbid: [block]\n    levels: {block: clear}\n", 4, "forbidden by the same rule"},
		{"ordered and not demanded", "policy: x\nrules:\n  - demand: [block]\n    purge: [crypto]\n", 4, "not among"},
		{"ordered to purge and only clear", "policy: x\nrules:\n  - purge: [block]\n    levels: {block: clear}\n", 3, "reaches clear"},
		{"one before both", "policy: x\nrules:\n  - purge: [crypto, crypto+block]\n", 3, "does more than either"},
		{"nothing left", "policy: x\nbase: aus-ism\nrules:\n  - demand: [block]\n", 4, "no technique is left"},
		{"all forbidden", "policy: x\nbase: aus-ism\nrules:\n  - forbid: [host-overwrite]\n", 4, "no technique is left"},
		{"an unknown scheme", "policy: x\nrules:\n  - overwrite: thrice\n", 3, `"thrice": not one of`},
		{"fewer passes than the base", "policy: x\nbase: aus-ism\nrules:\n  - media: [ssd]\n    overwrite: ism-magnetic\n", 5, "ism-flash"},
		{"passes of a forbidden overwrite", "policy: x\nrules:\n  - forbid: [host-overwrite]\n    overwrite: gost\n", 4, "forbidden by the same rule"},
		{"verification by a method", "policy: x\nverify: {destroy: full}\n", 2, "not one of clear, purge"},
		{"unknown verification", "policy: x\nverify: {purge: \"yes\"}\n", 2, "not one of status"},
		{"less verification than the base", "policy: x\nbase: aus-ism\nverify: {clear: sampled}\n", 3, "demands full"},
		{"conditions by another word", "policy: x\ncrypto-conditions: ignored\n", 2, "not demanded"},
		{"acknowledged for nothing", "policy: x\nacknowledged:\n  - model: Disk 1\n    statement: letter\n", 2, "nobody demands it"},
		{"acknowledged for all", "policy: x\ncrypto-conditions: demanded\nacknowledged:\n  - model: \"*\"\n    statement: letter\n", 4, "at least three"},
		{"acknowledged without a word", "policy: x\ncrypto-conditions: demanded\nacknowledged:\n  - model: Disk 1\n", 4, "no statement"},
		{"an unknown acceptance", "policy: x\naccept:\n  overwrite-is-purge: true\n", 3, "not one of format-crypto-is-purge"},
		{"an acceptance taken back", "policy: x\naccept:\n  format-crypto-is-purge: false\n", 3, "leave it out"},
		{"an acceptance of another standard", "policy: x\nbase: nist-800-88r1\naccept:\n  enhanced-erase-of-flash-is-purge: true\n", 4, "a reading of nist-800-88r2"},
		{"an acceptance that is no yes or no", "policy: x\naccept: {format-crypto-is-purge: maybe}\n", 2, "not the kind of value"},
		{"an unknown category", "policy: x\nrequire:\n  secret: {reuse: purge}\n", 3, "not one of low"},
		{"an unknown disposition", "policy: x\nrequire:\n  low: {sell: purge}\n", 3, "not one of reuse"},
		{"an unknown method", "policy: x\nrequire:\n  low: {reuse: shred}\n", 3, "not one of clear"},
		{"a method that nothing reaches", "policy: x\nbase: aus-ism\nrequire:\n  low: {reuse: purge}\n", 4, "no technique is left"},
		{"a condition with a typo", "policy: x\nrules:\n  - name: a\n    when: |\n      drive.serail == \"A\"\n    deny: no\n", 4, "rule a: when: 1:6: undefined field 'serail'\n | drive.serail"},
		{"a condition that is no condition", "policy: x\nrules:\n  - name: a\n    deny: no\n    when: drive.serial\n", 5, "must be true or false"},
		{"a condition of a list", "policy: x\nrules:\n  - name: a\n    when: [drive.simulated]\n    deny: no\n", 4, "not the kind of value"},
		{"a condition without an effect", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n", 3, "does nothing"},
		{"a condition with two effects", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    deny: no\n    min_method: purge\n", 3, "does two things"},
		{"an effect without a condition", "policy: x\nrules:\n  - name: a\n    deny: no\n", 3, "no condition"},
		{"a condition without a name", "policy: x\nrules:\n  - when: drive.simulated\n    deny: no\n", 3, "is no name"},
		{"two conditions of a name", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    deny: no\n  - forbid: [format]\n  - name: a\n    when: \"true\"\n    deny: no\n", 7, "the name of an earlier rule"},
		{"a condition and a kind of drives", "policy: x\nrules:\n  - media: [ssd]\n    name: a\n    when: drive.simulated\n    deny: no\n", 3, "not both"},
		{"a condition and an order", "policy: x\nrules:\n  - forbid: [format]\n    when: drive.simulated\n", 3, "not both"},
		{"approval of none", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    require_approval: 0\n    deny: no\n", 5, "0 is not 1 to 4"},
		{"approval of five", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    require_approval: 5\n", 5, "5 is not 1 to 4"},
		{"approval of many", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    require_approval: many\n", 5, "not the kind of value"},
		{"to destroy at least", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    min_method: destroy\n", 5, "not one of clear, purge"},
		{"an effect that is none", "policy: x\nrules:\n  - name: a\n    when: drive.simulated\n    allow: yes\n", 5, "\"allow\" is not a word"},
		{"examples of nothing", "policy: x\nexamples:\n  - name: a\n    expect: allow\n", 2, "no rule"},
		{"an example of an unknown fact", "policy: x\nrules: [{name: a, when: drive.simulated, deny: no}]\nexamples:\n  - name: a\n    drive: {serail: A}\n    expect: allow\n", 5, "\"serail\" is not a word"},
		{"an example that expects another word", "policy: x\nrules: [{name: a, when: drive.simulated, deny: no}]\nexamples:\n  - name: a\n    expect: refused\n", 5, "not one of error, deny"},
		{"an example twice", "policy: x\nrules: [{name: a, when: drive.simulated, deny: no}]\nexamples:\n  - name: a\n    expect: allow\n  - name: a\n    expect: allow\n", 6, "said twice"},
		{"an example of media that are none", "policy: x\nrules: [{name: a, when: drive.simulated, deny: no}]\nexamples:\n  - name: a\n    drive: {media: unknown}\n    expect: allow\n", 5, "one of hdd, ssd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePolicy([]byte(c.text))
			var bad *PolicyFileError
			if !errors.As(err, &bad) {
				t.Fatalf("%+v, %v", p, err)
			}
			if c.line != 0 && bad.Line != c.line || !strings.Contains(bad.Why, c.why) || strings.Contains(err.Error(), "sanitize.") {
				t.Errorf("%v; want line %d and %q", err, c.line, c.why)
			}
		})
	}
}

// The example of the documentation is a policy, and says what its comments say.
func TestExamplePolicy(t *testing.T) {
	p := parsePolicy(t, string(example(t)))
	nvme := func(model string) devices.Drive {
		d := nvmeDrive()
		d.Model = model
		return d
	}
	cryptoOnly := func(model string) devices.Drive {
		d := nvme(model)
		d.Sanitize.Block = false
		return d
	}
	sata := nvme("M")
	sata.Protocol, sata.Namespaces, sata.Security = devices.ProtocolATA, nil, &devices.SecurityState{Enhanced: true}
	sata.Sanitize = nil
	hdd := sata
	hdd.Media, hdd.Security = devices.MediaMagnetic, nil
	for _, c := range []struct {
		name  string
		drive devices.Drive
		r     Request
		want  string // the technique, or the code of a refusal
	}{
		{"both", nvme("M"), Request{Method: Purge}, string(CryptoThenBlock)},
		{"crypto alone, acknowledged", cryptoOnly("Virtual NVMe SSD 2"), Request{Method: Purge}, string(CryptographicErase)},
		{"crypto alone", cryptoOnly("M"), Request{Method: Purge}, "method_not_reached"},
		{"crypto alone clears", cryptoOnly("M"), Request{Method: Clear, Technique: CryptographicErase}, string(CryptographicErase)},
		{"crypto alone, by category", cryptoOnly("M"), Request{Category: Low, Disposition: Decommission}, "method_not_reached"},
		{"block alone is not in the order", nvme("M"), Request{Method: Purge, Technique: BlockErase}, "method_not_reached"},
		{"flash without both", sata, Request{Method: Clear}, "method_not_reached"},
		{"magnetic", hdd, Request{Method: Clear}, string(HostOverwrite)},
		{"unknown media", drive(), Request{Method: Clear}, "policy"},
		{"less verification", nvme("M"), Request{Method: Purge, Verify: VerifySampled}, "policy"},
		{"destroy", nvme("M"), Request{Category: High, Disposition: Reuse}, "destroy_required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := Choose(c.drive, strings.Repeat("0", 64), c.r, p, Rulings{})
			got := string(plan.Technique)
			var refusal *Refusal
			if errors.As(err, &refusal) {
				got = refusal.Reasons[0].Code
				if refusal.Cannot {
					t.Errorf("the drive could do it, and is said not to: %v", err)
				}
			}
			if got != c.want {
				t.Fatalf("%s, %v; want %s", got, err, c.want)
			}
			if plan.Technique == CryptographicErase && !slices.ContainsFunc(plan.RestsOn, func(r devices.Reason) bool { return strings.Contains(r.Message, "2 March 2026") }) && c.r.Method == Purge {
				t.Errorf("the acknowledgement is missing: %v", plan.RestsOn)
			}
			if plan.Technique == HostOverwrite && (plan.Scheme != "dod-5220.22-m" || len(plan.Passes) != 3) {
				t.Errorf("passes %v", plan.Passes)
			}
			if plan.Method == Purge && plan.Verification != VerifyFull {
				t.Errorf("verification %s", plan.Verification)
			}
		})
	}
}

// A plan carries the policy of a site, and what was edited in it is another policy.
func TestPolicyTravels(t *testing.T) {
	p := parsePolicy(t, string(example(t)))
	data, err := json.Marshal(p.Ref())
	if err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) (Policy, error) {
		var ref PolicyRef
		if err := json.Unmarshal(data, &ref); err != nil {
			t.Fatal(err)
		}
		return ref.Resolve()
	}
	again, err := read(data)
	if err != nil || again.Digest() != p.Digest() || again.Standard != "site policy after NIST SP 800-88r2, IEEE 2883-2022" {
		t.Fatalf("%v\n%+v\n%+v", err, again, p)
	}
	for name, edit := range map[string][2]string{
		"less verification":   {`"purge":"full"`, `"purge":"status"`},
		"a rule less":         {`"demand":["cryptographic erase followed by block erase"]`, `"demand":["block erase"]`},
		"another model":       {`Virtual NVMe SSD*`, `Virtual*`},
		"nothing is demanded": {`"crypto-conditions":"demanded","acknowledged":[{"model":"Virtual NVMe SSD*","statement":"letter of the maker of 2 March 2026, items 1 to 10"}],`, ``},
	} {
		edited := strings.Replace(string(data), edit[0], edit[1], 1)
		if edited == string(data) {
			t.Fatalf("%s: nothing to edit in %s", name, data)
		}
		if other, err := read([]byte(edited)); err == nil && other.Digest() == p.Digest() {
			t.Errorf("%s: the digest is the same", name)
		}
	}
	// What a file cannot say, a plan made by hand cannot either.
	for name, edit := range map[string][2]string{
		"a level raised":  {`"purge":["cryptographic erase followed by block erase","cryptographic erase"]`, `"purge":["host overwrite"]`},
		"a built-in name": {`"policy":"example-site"`, `"policy":"nist-800-88r2"`},
		"another name":    {`"policy":"example-site"`, `"policy":"other-site"`},
	} {
		edited := strings.Replace(string(data), edit[0], edit[1], 1)
		if _, err := read([]byte(edited)); edited == string(data) || err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A rule about drives of several kinds takes from each what the base has there, and no more.
func TestRulesOnlyTakeAway(t *testing.T) {
	d := nvmeDrive()
	d.Protocol, d.Namespaces = devices.ProtocolATA, nil
	d.Sanitize.Crypto = false
	for _, c := range []struct {
		name, rules string
		media       devices.Media
		want        string // the technique, or the reason why block erase is rejected
	}{
		{"ordered, and purge there", "purge: [block]", devices.MediaFlash, string(BlockErase)},
		{"ordered, and clear there", "purge: [block]", devices.MediaMagnetic, "reaches_less"},
		{"taken down", "levels: {block: clear}", devices.MediaFlash, "reaches_less"},
		{"forbidden", "forbid: [block]", devices.MediaFlash, "policy_forbids"},
		{"not demanded", "demand: [crypto+block, crypto]", devices.MediaFlash, "policy_demands"},
		{"not in the order", "clear: [host-overwrite]\n    purge: [crypto]", devices.MediaFlash, "policy_order"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parsePolicy(t, "policy: x\nbase: nist-800-88r1\nrules:\n  - "+c.rules+"\n")
			d.Media = c.media
			plan, err := Choose(d, "", Request{Method: Purge}, p, Rulings{})
			if err == nil && string(plan.Technique) == c.want {
				return
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) || !slices.ContainsFunc(refusal.Reasons, func(r devices.Reason) bool {
				return r.Code == c.want && strings.HasPrefix(r.Message, string(BlockErase)+":")
			}) {
				t.Errorf("%s, %v; want %s", plan.Technique, err, c.want)
			}
		})
	}
}

// An acceptance raises one technique on one kind of drive, and the plan says that it rests on it.
func TestAcceptedReadings(t *testing.T) {
	d := nvmeDrive()
	d.Protocol, d.Namespaces, d.Sanitize, d.Security = devices.ProtocolATA, nil, nil, &devices.SecurityState{Enhanced: true}
	r := Request{Method: Purge}
	if _, err := Choose(d, "", r, parsePolicy(t, "policy: x\n"), Rulings{}); err == nil {
		t.Error("an enhanced security erase of flash is purge where nobody accepted it")
	}
	p := parsePolicy(t, "policy: x\naccept: {enhanced-erase-of-flash-is-purge: true}\n")
	plan, err := Choose(d, "", r, p, Rulings{})
	if err != nil || plan.Technique != EnhancedSecurityErase || plan.RestsOn[len(plan.RestsOn)-1].Code != "accepted" {
		t.Errorf("%v, %v", plan.RestsOn, err)
	}
	if plan, err = Choose(d, "", Request{Method: Purge, Technique: SecurityErase}, p, Rulings{}); err == nil {
		t.Errorf("a security erase is %s", plan.Method)
	}
}

// FuzzParsePolicy: whatever a file holds, it is a policy that travels, or an error.
func FuzzParsePolicy(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte("policy: x\nbase: aus-ism\nrules:\n  - overwrite: gutmann\n"))
	f.Add([]byte("policy: x\naccept: {format-crypto-is-purge: true}\nrules:\n  - bus: [nvme]\n    purge: [format-crypto, format]\n"))
	f.Add([]byte("policy: &a [*a]\n"))
	f.Add([]byte("policy: x\nrules:\n  - name: a\n    when: drive.size_bytes > 5 && has(drive.wwn)\n    require_approval: 2\n    because: large\n  - {name: b, when: 'now.getHours() in [1, 2] || drive.nodes.exists(n, n.matches(\"^/dev/sd\"))', min_method: purge}\n" +
		"examples:\n  - {name: a, drive: {size_bytes: 6, nodes: [a]}, requester: {name: u, groups: [g]}, time: 2026-03-02T10:00:00Z, expect: error}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		var bad *PolicyFileError
		if err != nil {
			if !errors.As(err, &bad) || bad.Why == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		ref, err := json.Marshal(p.Ref())
		if err != nil {
			t.Fatal(err)
		}
		var again PolicyRef
		if err := json.Unmarshal(ref, &again); err != nil {
			t.Fatal(err)
		}
		q, err := again.Resolve()
		if err != nil || q.Digest() != p.Digest() || again.SHA256 != p.Digest() {
			t.Fatalf("does not travel: %v\n%s", err, ref)
		}
		if _, err := TryExamples(t.Context(), data); err != nil {
			t.Fatal(err)
		}
		// Whatever its rules are, a drive in use stays refused, and none is planned for less than without them.
		d := nvmeDrive()
		d.State, d.Reasons = devices.StateInUse, []devices.Reason{{Code: "mounted"}}
		if _, codes, _ := plannedUnder(t, q, d, Request{}, monday); !slices.Equal(codes, []string{"mounted"}) {
			t.Fatalf("a mounted drive: %v", codes)
		}
		plan, _, err := plannedUnder(t, q, nvmeDrive(), Request{Method: Purge}, monday)
		if err == nil && plan.Method != Purge {
			t.Fatalf("%s in place of purge", plan.Method)
		}
	})
}
