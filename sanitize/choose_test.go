package sanitize

import (
	"errors"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

func drive() devices.Drive {
	return devices.Drive{ID: devices.NewID("M", "S", ""), Nodes: []string{"/dev/vda"}, Model: "M", Serial: "S", Protocol: devices.ProtocolVirtio,
		Media: devices.MediaUnknown, Identity: devices.IdentityHost, State: devices.StateReady, Reasons: []devices.Reason{},
		Geometry: devices.Geometry{SizeBytes: 1 << 20, LogicalBlock: 512, PhysicalBlock: 4096}}
}

func choose(t testing.TB, r Request) DrivePlan {
	t.Helper()
	r, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Choose(drive(), strings.Repeat("0", 64), r, p, Rulings{})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestMethodsByPolicy(t *testing.T) {
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{}, "clear"}, {Request{Method: Purge}, "purge"}, {Request{Category: Low, Disposition: Reuse}, "clear"},
		{Request{Category: Low, Disposition: Decommission}, "purge"}, {Request{Category: Moderate, Disposition: Decommission}, "purge"},
		{Request{Category: High, Disposition: Reuse}, "purge"}, {Request{Category: High, Disposition: Decommission}, "refused"},
		{Request{Method: Purge, Category: High, Disposition: Decommission}, "refused"}, {Request{Method: Clear, Category: High, Disposition: Reuse}, "refused"},
		{Request{Method: Purge, Category: Low, Disposition: Reuse}, "purge"}, {Request{Category: High}, "usage"}, {Request{Disposition: Reuse}, "usage"},
	} {
		got, err := p.method(c.r)
		var refusal *Refusal
		var usage *RequestError
		switch {
		case errors.As(err, &refusal):
			got = "refused"
		case errors.As(err, &usage):
			got = "usage"
		}
		if string(got) != c.want {
			t.Errorf("%+v: %s, want %s", c.r, got, c.want)
		}
	}
	if a, b := Policies()[0].Digest(), Policies()[1].Digest(); a == b || len(a) != 64 {
		t.Errorf("policy digests %s and %s", a, b)
	}
}

// The passes of the old standards, as their sources have them.
func TestSchemes(t *testing.T) {
	want := map[string]string{
		"dod-5220.22-m":       "char:a not:a random",
		"dod-ece":             "char:a not:a random char:b char:c not:c random",
		"bsi-vsitr":           "hex:00 hex:ff hex:00 hex:ff hex:00 hex:ff hex:aa",
		"hmg-is5-baseline":    "hex:00",
		"hmg-is5-enhanced":    "hex:00 hex:ff random",
		"ops-ii":              "hex:00 hex:ff hex:00 hex:ff hex:00 hex:ff random",
		"csec-itsg-06":        "hex:ff hex:00 random",
		"ar-380-19":           "random char:a not:a",
		"afssi-5020":          "hex:00 hex:ff random",
		"schneier":            "hex:ff hex:00 random random random random random",
		"gost":                "hex:00 random",
		"nzsit-402":           "random",
		"ism-magnetic":        "random",
		"ism-flash":           "random random",
		"bmb21-2019":          "hex:ff hex:00 random random random hex:ff",
		"nist-800-88r1-flash": "char:a not:a",
	}
	for name, passes := range want {
		s, err := SchemeByName(strings.ToUpper(name))
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, p := range s.Passes {
			got = append(got, p.Pattern)
		}
		if strings.Join(got, " ") != passes {
			t.Errorf("%s: %v", name, got)
		}
		if plan := choose(t, Request{Scheme: name}); plan.Method != Clear {
			t.Errorf("%s reaches %s", name, plan.Method)
		}
	}
	g, err := SchemeByName("gutmann")
	if err != nil || len(g.Passes) != 35 || len(gutmannPatterns) != 27 {
		t.Errorf("Gutmann has %d passes, %d patterns, %v", len(g.Passes), len(gutmannPatterns), err)
	}
}

func TestChooseRefuses(t *testing.T) {
	policy, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*devices.Drive)
		r      Request
		cannot bool
	}{
		"purge":              {func(*devices.Drive) {}, Request{Method: Purge}, true},
		"another technique":  {func(*devices.Drive) {}, Request{Technique: BlockErase}, true},
		"in use":             {func(d *devices.Drive) { d.State, d.Reasons = devices.StateInUse, []devices.Reason{{Code: "mounted"}} }, Request{}, false},
		"blocked, no reason": {func(d *devices.Drive) { d.State = devices.StateBlocked }, Request{}, false},
		"no state":           {func(d *devices.Drive) { d.State = "" }, Request{}, false},
		"read-only":          {func(d *devices.Drive) { d.ReadOnly = true }, Request{}, false},
		"no size":            {func(d *devices.Drive) { d.SizeBytes = 0 }, Request{}, false},
		"odd size":           {func(d *devices.Drive) { d.SizeBytes = 1000 }, Request{}, false},
		"odd blocks":         {func(d *devices.Drive) { d.LogicalBlock = 520 }, Request{}, false},
		"fabric": {func(d *devices.Drive) {
			d.State, d.Fabric, d.Reasons = devices.StateBlocked, "tcp", []devices.Reason{{Code: "fabric"}}
		}, Request{}, false},
		"fabric allowed, and mounted": {func(d *devices.Drive) {
			d.State, d.Fabric, d.Reasons = devices.StateInUse, "tcp", []devices.Reason{{Code: "fabric"}, {Code: "mounted"}}
		}, Request{AllowFabric: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive()
			c.change(&d)
			plan, err := Choose(d, "", c.r, policy, Rulings{})
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Cannot != c.cannot || len(refusal.Reasons) == 0 {
				t.Fatalf("%+v, %v", plan, err)
			}
		})
	}
	d := drive()
	d.State, d.Fabric, d.Reasons = devices.StateBlocked, "tcp", []devices.Reason{{Code: "fabric"}}
	if plan, err := Choose(d, "", Request{AllowFabric: true}, policy, Rulings{}); err != nil || plan.Fabric != "tcp" {
		t.Fatalf("fabric, allowed: %+v, %v", plan, err)
	}
}
