package sanitize

import (
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices"
)

// clearAtMost says of a technique, by hand from the tables of the standards and not from those of
// the policies, whether a base lets it reach clear at most on a kind of drive.
func clearAtMost(base string, t Technique, d devices.Drive) bool {
	says := d.Identity == devices.IdentityDrive
	magnetic, flash := says && d.Media == devices.MediaMagnetic, says && d.Media == devices.MediaFlash
	switch {
	case base == "aus-ism" || t == HostOverwrite || t == SecurityErase:
		return true
	case t == EnhancedSecurityErase:
		return !magnetic
	case t == Format || t == CryptographicFormat:
		return base == DefaultPolicy || !flash || d.Protocol != devices.ProtocolNVMe
	case base == DefaultPolicy:
		return false
	case t == BlockErase: // SP 800-88r1: table A-8, and not A-5
		return !flash
	case t == DriveOverwrite: // A-5, and not A-8
		return !magnetic
	}
	return false
}

// drawDrive draws a drive with any set of capabilities, whether such drives are built or not.
func drawDrive(t *rapid.T) devices.Drive {
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	d := drive()
	d.Model = rapid.SampledFrom([]string{"M", "Known 1", "Known 2"}).Draw(t, "model")
	d.Media = rapid.SampledFrom(mediaKinds).Draw(t, "media")
	d.Protocol = rapid.SampledFrom(slices.Concat(buses, buses[:3], buses[:3])).Draw(t, "bus")
	d.SizeBytes = rapid.SampledFrom([]int64{1 << 20, 14_999_999_488, 15_000_002_560, 1 << 42}).Draw(t, "size")
	d.Identity = rapid.SampledFrom([]devices.Identity{devices.IdentityDrive, devices.IdentityDrive, devices.IdentityHost}).Draw(t, "identity")
	d.Format, d.FormatFailed = yes("format"), rapid.IntRange(0, 9).Draw(t, "format failed") == 0
	if yes("sanitize") {
		reads := func(label string) devices.ReadBack {
			return rapid.SampledFrom([]devices.ReadBack{devices.ReadsConstant, devices.ReadsZeros, devices.ReadsAnything, devices.ReadsNothing}).Draw(t, label)
		}
		d.Sanitize = &devices.SanitizeSupport{Crypto: yes("crypto"), Block: yes("block"), Overwrite: yes("overwrite"), NoDeallocate: yes("no deallocate"),
			AfterBlock: reads("after block"), AfterCrypto: reads("after crypto"), State: devices.SanitizeIdle}
		if rapid.IntRange(0, 9).Draw(t, "sanitize failed") == 0 {
			d.Sanitize.State = devices.SanitizeFailed
		}
	}
	if yes("security") {
		d.Security = &devices.SecurityState{Supported: true, Enhanced: yes("enhanced")}
	}
	switch d.Protocol {
	case devices.ProtocolNVMe:
		for i := range rapid.IntRange(1, 3).Draw(t, "namespaces") {
			d.Namespaces = append(d.Namespaces, devices.Namespace{NSID: uint32(i + 1), Attached: i == 0 || yes("attached"), SizeBytes: 1 << 20, LogicalBlock: 512})
			if n := &d.Namespaces[i]; n.Attached && yes("zoned") {
				n.Zoned, n.Zones = true, rapid.SampledFrom([]devices.Zones{{Count: 4, SizeBytes: 256 << 10, CapacityBytes: 256 << 10}, {Count: 16, SizeBytes: 64 << 10, CapacityBytes: 40 << 10}}).Draw(t, "zones")
			}
		}
		if yes("format NVM") {
			d.FormatNVM = &devices.FormatNVM{ErasesAll: yes("erases all"), Crypto: yes("format crypto"), NSID: 1<<32 - 1, CDW10: 1 << 9}
			if !d.FormatNVM.ErasesAll && slices.ContainsFunc(d.Namespaces, func(n devices.Namespace) bool { return !n.Attached }) {
				d.FormatNVM.Bars = "a namespace is attached to no controller"
			}
		}
		d.Unallocated = rapid.SampledFrom([]int64{0, 0, 1 << 20}).Draw(t, "unallocated")
	case devices.ProtocolSCSI:
		if yes("units") {
			d.Units = []devices.LogicalUnit{{LUN: 0, SizeBytes: d.SizeBytes / 2, LogicalBlock: 512}, {LUN: 1, SizeBytes: d.SizeBytes / 2, LogicalBlock: 512}}
		}
	case devices.ProtocolATA:
		if yes("hidden") {
			d.Hidden = []devices.HiddenArea{{Kind: "HPA", FromBytes: d.SizeBytes, NativeBytes: 2 * d.SizeBytes, Locked: yes("area locked")}}
		}
	}
	for _, code := range []string{devices.ReasonFrozen, devices.ReasonSanitizeFrozen, devices.ReasonNodeSmaller, devices.ReasonHiddenFrozen} {
		if rapid.IntRange(0, 9).Draw(t, code) == 0 {
			d.Lacks = append(d.Lacks, devices.Reason{Code: code, Message: code})
		}
	}
	if yes("depopulated") {
		n := int64(1)
		d.Depopulated = &n
	}
	if rapid.IntRange(0, 4).Draw(t, "unseen") == 0 {
		d.Unseen = 512
	}
	if d.Protocol == devices.ProtocolMMC || d.Protocol == devices.ProtocolUFS { // flash, whoever says so
		d.Media, d.Identity = devices.MediaFlash, devices.IdentityHost
		d.Lacks = append(d.Lacks, devices.Reason{Code: devices.ReasonEMMCErases, Message: "not sent", Hint: "destroy it"})
	}
	return d
}

// drawFile draws a policy file; not every one is a policy.
func drawFile(t *rapid.T) PolicyFile {
	some := func(label string, most int) []Technique {
		// The strong ones more often, for they are what is chosen.
		return rapid.SliceOfNDistinct(rapid.SampledFrom(append(Techniques(), Techniques()[:4]...)), 0, most, func(t Technique) Technique { return t }).Draw(t, label)
	}
	f := PolicyFile{Name: "drawn", Base: rapid.SampledFrom(policyNames()).Draw(t, "base")}
	if f.Base == DefaultPolicy && rapid.Bool().Draw(t, "accepts") {
		f.Accept = map[string]bool{rapid.SampledFrom(acceptanceNames()).Draw(t, "acceptance"): true}
	}
	if rapid.Bool().Draw(t, "conditions") {
		f.CryptoConditions, f.Acknowledged = "demanded", []Acknowledgement{{"Known*", "a letter"}}
	}
	if rapid.Bool().Draw(t, "verifies") {
		v := rapid.SampledFrom([]VerifyMode{VerifyStatus, VerifySampled, VerifyFull}).Draw(t, "verify")
		f.Verify = map[Method]VerifyMode{Purge: v, Clear: v}
	}
	for range rapid.IntRange(0, 3).Draw(t, "rules") {
		var r PolicyRule
		if rapid.Bool().Draw(t, "by media") {
			r.Media = []devices.Media{rapid.SampledFrom(mediaKinds).Draw(t, "rule media")}
		}
		if rapid.Bool().Draw(t, "by bus") {
			r.Bus = []devices.Protocol{rapid.SampledFrom(buses[:3]).Draw(t, "rule bus")}
		}
		kind := rapid.IntRange(0, 4).Draw(t, "kind")
		switch kind {
		case 0:
			r.Purge = some("purge", 3)
		case 1:
			r.Clear = some("clear", 6)
		case 2:
			r.Demand = some("demand", 3)
		case 3:
			r.Levels = map[Technique]Method{}
			for _, t := range some("lowered", 4) {
				r.Levels[t] = Clear
			}
		}
		if kind == 4 || rapid.IntRange(0, 3).Draw(t, "and forbids") == 0 {
			r.Forbid = some("forbid", 2)
		}
		f.Rules = append(f.Rules, r)
	}
	return f
}

func flashByBus(d devices.Drive) bool {
	return d.Protocol == devices.ProtocolMMC || d.Protocol == devices.ProtocolUFS
}

// ruleOf is the first rule about a drive, found without the table that was made of the rules.
func ruleOf(f *PolicyFile, d devices.Drive) PolicyRule {
	if d.Identity != devices.IdentityDrive && !flashByBus(d) {
		d.Media = devices.MediaUnknown
	}
	for _, r := range f.Rules {
		if (len(r.Media) == 0 || slices.Contains(r.Media, d.Media)) && (len(r.Bus) == 0 || slices.Contains(r.Bus, d.Protocol)) {
			return r
		}
	}
	return PolicyRule{}
}

// Whatever a drive can do and a policy says: what is chosen reaches what was asked for, is allowed by
// the first rule about the drive, is read back as demanded, and the plan names all that it touches.
func TestChooseStaysWithinPolicyAndPlan(t *testing.T) {
	chosen := map[Technique]int{}
	bySite := 0
	many := flag.Lookup("rapid.checks")
	if many.Value.String() == many.DefValue {
		defer func() { _ = many.Value.Set(many.DefValue) }()
		if err := many.Value.Set("10000"); err != nil { // every technique has to come up
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := drawDrive(t)
		p, err := drawFile(t).compile()
		if err != nil { // contradicts itself: then a built-in one
			p = rapid.SampledFrom(Policies()).Draw(t, "policy")
		}
		f := p.file
		if f == nil {
			f = &PolicyFile{Base: p.Name}
		}
		r := Request{
			Method: rapid.SampledFrom([]Method{"", Clear, Purge, Purge}).Draw(t, "method"),
			Verify: rapid.SampledFrom([]VerifyMode{"", "", VerifyStatus, VerifySampled, VerifyFull}).Draw(t, "verify asked"),
			Scheme: rapid.SampledFrom([]string{"", "", "", "ism-flash", "gutmann"}).Draw(t, "scheme"),
		}
		if rapid.IntRange(0, 3).Draw(t, "one technique") == 0 && r.Scheme == "" {
			r.Technique = rapid.SampledFrom(Techniques()).Draw(t, "technique")
		}
		plan, err := Choose(d, strings.Repeat("0", 64), r, p, Rulings{})
		var refusal *Refusal
		if err != nil {
			if !errors.As(err, &refusal) || len(refusal.Reasons) == 0 || refusal.Reasons[0].Message == "" {
				t.Fatalf("an error that is no refusal: %v", err)
			}
			return
		}
		chosen[plan.Technique]++
		if f.Rules != nil {
			bySite++
		}
		withinPolicy(t, f, p, d, r, plan)
		withinPlan(t, d, plan)
	})
	for _, technique := range Techniques() {
		if technique != TCGRevert && chosen[technique] == 0 {
			t.Errorf("%s was never chosen: the test says nothing about it", technique)
		}
	}
	if bySite < 20 {
		t.Errorf("policies with rules have chosen %d times only", bySite)
	}
}

func withinPolicy(t *rapid.T, f *PolicyFile, p Policy, d devices.Drive, r Request, plan DrivePlan) {
	rule, technique := ruleOf(f, d), plan.Technique
	_, acknowledged := p.acknowledged(d.Model)
	accepted := slices.ContainsFunc(slices.Collect(maps.Keys(f.Accept)), func(name string) bool {
		return name == "enhanced-erase-of-flash-is-purge" && technique == EnhancedSecurityErase && d.Media == devices.MediaFlash && d.Protocol == devices.ProtocolATA ||
			name == "format-crypto-is-purge" && technique == CryptographicFormat && d.Media == devices.MediaFlash && d.Protocol == devices.ProtocolNVMe
	})
	order := map[Method][]Technique{Purge: rule.Purge, Clear: rule.Clear}[plan.Method]
	asked := max(r.Verify.rank(), VerifyStatus.rank())
	steps := technique.Steps()
	for _, o := range plan.Operations {
		steps = append(steps, o.Technique)
	}
	switch {
	case r.Method != "" && plan.Method != r.Method:
		t.Fatalf("%s was asked for, %s is planned", r.Method, plan.Method)
	case plan.Method == Purge && clearAtMost(f.Base, technique, d) && !accepted:
		t.Fatalf("%s is no purge on %s, %s under %s", technique, d.Media, d.Protocol, f.Base)
	case plan.Method == Purge && (technique == Format || technique == CryptographicFormat) && d.Unallocated > 0:
		t.Fatal("a format purges a drive with capacity that belongs to no namespace")
	case plan.Method == Purge && rule.Levels[technique] == Clear:
		t.Fatalf("%s is taken down to clear, and purges", technique)
	case plan.Method == Purge && (technique == CryptographicErase || technique == CryptographicFormat) && f.CryptoConditions == "demanded" && !acknowledged:
		t.Fatalf("%s alone purges model %s, whose conditions nobody acknowledges", technique, d.Model)
	case f.Base == "aus-ism" && technique != HostOverwrite:
		t.Fatalf("%s under the ISM", technique)
	case slices.ContainsFunc(steps, func(s Technique) bool { return slices.Contains(rule.Forbid, s) }) || slices.Contains(rule.Forbid, technique):
		t.Fatalf("%s is forbidden, or a step of it", technique)
	case len(rule.Demand) > 0 && !slices.Contains(rule.Demand, technique):
		t.Fatalf("%s is not among what is demanded, %v", technique, rule.Demand)
	case order != nil && !slices.Contains(order, technique):
		t.Fatalf("%s is not in the order %v", technique, order)
	case r.Technique != "" && technique != r.Technique:
		t.Fatalf("%s was asked for, %s is planned", r.Technique, technique)
	case plan.Verification.rank() < f.Verify[plan.Method].rank() || plan.Verification.rank() < asked || f.Base == "aus-ism" && plan.Verification != VerifyFull:
		t.Fatalf("verification %s, asked %q, demanded %q", plan.Verification, r.Verify, f.Verify[plan.Method])
	case f.Base == "aus-ism" && (d.Media != devices.MediaMagnetic || d.Identity != devices.IdentityDrive) && !slices.Equal(plan.Passes[max(0, len(plan.Passes)-2):], passes("random", "random")):
		t.Fatalf("the ISM asks for two random passes on flash: %v", plan.Passes)
	case f.Base == "aus-ism" && (d.Media != devices.MediaFlash || d.Identity != devices.IdentityDrive) && !flashByBus(d) && d.SizeBytes < 15_000_000_000 && len(plan.Passes) < 3:
		t.Fatalf("the ISM asks for three passes below 15 GB: %v", plan.Passes)
	}
}

// withinPlan: what the technique reaches is in the plan, and what it leaves is, too.
func withinPlan(t *rapid.T, d devices.Drive, plan DrivePlan) {
	names := func(list []devices.Reason, code string) bool {
		return slices.ContainsFunc(list, func(r devices.Reason) bool { return r.Code == code })
	}
	for _, n := range d.Namespaces {
		if !slices.Contains(plan.Namespaces, planned(n)) {
			t.Fatalf("namespace %d is not in the plan", n.NSID)
		}
		switch {
		case !n.Attached && plan.Technique == HostOverwrite:
			t.Fatalf("namespace %d is attached to no controller, and the host shall overwrite it", n.NSID)
		case !n.Attached && !names(plan.RestsOn, "namespace_not_read"):
			t.Fatalf("namespace %d cannot be read, and nothing says so", n.NSID)
		}
	}
	taken := map[int]int{}
	for _, o := range plan.Operations {
		taken[o.Unit]++
	}
	for i, u := range d.Units {
		switch {
		case !slices.Contains(plan.Units, Unit{u.LUN, u.SizeBytes, u.LogicalBlock}):
			t.Fatalf("unit %d is not in the plan", u.LUN)
		case plan.Technique != HostOverwrite && taken[i] != len(plan.Technique.Steps()):
			t.Fatalf("unit %d takes %d commands", u.LUN, taken[i])
		}
	}
	for _, a := range d.Hidden {
		switch {
		case !a.Locked && !slices.Contains(plan.Restore, a):
			t.Fatalf("hidden blocks are not made accessible")
		case a.Locked && plan.Technique == HostOverwrite:
			t.Fatal("hidden blocks that stay hidden shall be overwritten by the host")
		case a.Locked && !names(plan.Excludes, "hidden_area_not_read"):
			t.Fatal("hidden blocks stay hidden, and nothing says so")
		}
	}
	switch {
	case plan.Technique == HostOverwrite && (len(plan.Operations) > 0 || len(plan.Passes) == 0 || !names(plan.Excludes, "unaddressable")):
		t.Fatalf("host overwrite: %+v", plan)
	case plan.Technique != HostOverwrite && (len(plan.Operations) == 0 || len(plan.Passes) > 0 || !names(plan.RestsOn, "drive_report") || len(plan.Excludes) == 0):
		t.Fatalf("%s: %+v", plan.Technique, plan)
	case plan.Technique == CryptographicFormat && (d.Protocol != devices.ProtocolNVMe || !d.FormatNVM.Crypto || d.FormatNVM.Bars != "" || plan.Operations[0].Code != 2<<9 || !names(plan.RestsOn, "cryptographic_erase")),
		plan.Technique == Format && d.Protocol == devices.ProtocolNVMe && plan.Operations[0].Code != 1<<9:
		t.Fatalf("%s by %+v, resting on %v", plan.Technique, plan.Operations, plan.RestsOn)
	case plan.Technique != HostOverwrite && d.Identity != devices.IdentityDrive, plan.Scope == ScopeDevice && d.Identity != devices.IdentityDrive:
		t.Fatalf("%s of a drive that does not say what it is, scope %s", plan.Technique, plan.Scope)
	case d.Depopulated != nil && !names(plan.Excludes, "depopulated"), d.Unseen > 0 && !names(plan.Excludes, "not_read_back"):
		t.Fatalf("left out, and not said: %v", plan.Excludes)
	}
}

// The tables hold together: what purges clears, both in sequence come before either, and what is
// read back for a method has a word.
func TestTablesHoldTogether(t *testing.T) {
	for _, p := range Policies() {
		last := p.Rows[len(p.Rows)-1]
		if last.Media != "" || last.Bus != "" || last.BelowBytes != 0 {
			t.Errorf("%s: drives that no row is about", p.Name)
		}
		for i, r := range p.Rows {
			if len(distinct(slices.Clone(p.Rows[:i+1]))) != i+1 {
				t.Errorf("%s: row %d is never used", p.Name, i)
			}
			for _, technique := range r.Purge {
				if !slices.Contains(r.Clear, technique) {
					t.Errorf("%s: %s purges and does not clear", p.Name, technique)
				}
			}
			for _, order := range [][]Technique{r.Purge, r.Clear} {
				both := slices.Index(order, CryptoThenBlock)
				for _, one := range CryptoThenBlock.Steps() {
					if at := slices.Index(order, one); at >= 0 && (both < 0 || at < both) {
						t.Errorf("%s: %s alone before both", p.Name, one)
					}
				}
			}
			if _, err := SchemeByName(r.Scheme); r.Scheme != "" && err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
		if p.Verify[Clear] == "" || len(p.Required) != 3 {
			t.Errorf("%s: %v, %v", p.Name, p.Verify, p.Required)
		}
	}
}
