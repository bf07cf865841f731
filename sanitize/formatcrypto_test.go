package sanitize

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// formatDrive is an NVMe drive of one namespace, without a sanitize command, that can do both formats.
func formatDrive() devices.Drive {
	d := nvmeDrive()
	d.Model, d.Sanitize = "Known", nil
	d.FormatNVM = &devices.FormatNVM{NSID: 1, CDW10: 1 << 9, Crypto: true}
	return d
}

// What each policy takes a format for, with either way of erasing: the technique and method that are
// chosen, or why the cryptographic one is not.
func TestCryptographicFormatByPolicy(t *testing.T) {
	const accepts = "policy: x\naccept: {format-crypto-is-purge: true}\n"
	for _, c := range []struct {
		name   string
		policy string // a built-in one, or a file
		r      Request
		change func(*devices.Drive)
		want   Technique // "" is none
		why    string
	}{
		{name: "before a user data erase", policy: DefaultPolicy, want: CryptographicFormat},
		{name: "no purge by itself", policy: DefaultPolicy, r: Request{Method: Purge}, why: "reaches_less"},
		{name: "the drive does not encrypt", policy: DefaultPolicy, change: func(d *devices.Drive) { d.FormatNVM.Crypto = false }, want: Format, why: "not_supported"},
		{name: "asked for, and the drive does not encrypt", policy: DefaultPolicy, r: Request{Technique: CryptographicFormat},
			change: func(d *devices.Drive) { d.FormatNVM.Crypto = false }, why: "not_supported"},
		{name: "one namespace at a time", policy: DefaultPolicy, change: func(d *devices.Drive) { d.FormatNVM.Bars = "it formats one namespace at a time" }, want: HostOverwrite, why: "format_scope"},
		{name: "magnetic media that encrypt", policy: DefaultPolicy, change: func(d *devices.Drive) { d.Media = devices.MediaMagnetic }, want: CryptographicFormat},
		{name: "after a sanitize", policy: DefaultPolicy, change: func(d *devices.Drive) {
			d.Sanitize = &devices.SanitizeSupport{Block: true, State: devices.SanitizeIdle, AfterBlock: devices.ReadsConstant}
		}, want: BlockErase},
		{name: "an earlier sanitize failed", policy: DefaultPolicy, r: Request{Technique: CryptographicFormat}, change: func(d *devices.Drive) {
			d.Sanitize = &devices.SanitizeSupport{State: devices.SanitizeFailed}
		}, why: "sanitize_failed"},
		{name: "accepted as purge", policy: accepts, r: Request{Method: Purge}, want: CryptographicFormat},
		{name: "accepted, capacity belongs to nobody", policy: accepts, r: Request{Method: Purge}, change: func(d *devices.Drive) { d.Unallocated = 1 << 20 }, why: "unallocated"},
		{name: "accepted, on magnetic media", policy: accepts, r: Request{Method: Purge}, change: func(d *devices.Drive) { d.Media = devices.MediaMagnetic }, why: "reaches_less"},
		{name: "accepted, a user data erase", policy: accepts, r: Request{Method: Purge, Technique: Format}, why: "not_asked"},
		{name: "accepted, conditions of nobody", policy: accepts + "crypto-conditions: demanded\n", r: Request{Method: Purge}, why: "crypto_conditions"},
		{name: "accepted, conditions acknowledged", policy: accepts + "crypto-conditions: demanded\nacknowledged:\n  - {model: Known, statement: s}\n", r: Request{Method: Purge}, want: CryptographicFormat},
		{name: "forbidden", policy: "policy: x\nrules:\n  - forbid: [format-crypto]\n", want: Format, why: "policy_forbids"},
		{name: "demanded", policy: "policy: x\nrules:\n  - bus: [nvme]\n    demand: [cryptographic-format]\n", want: CryptographicFormat},
		{name: "ordered otherwise", policy: "policy: x\nrules:\n  - bus: [nvme]\n    clear: [format, format-crypto]\n", want: Format},
		{name: "r1 purges by it", policy: "nist-800-88r1", r: Request{Method: Purge}, want: CryptographicFormat},
		{name: "r1, capacity belongs to nobody", policy: "nist-800-88r1", r: Request{Method: Purge}, change: func(d *devices.Drive) { d.Unallocated = 1 << 20 }, why: "unallocated"},
		{name: "r1, taken down", policy: "policy: x\nbase: nist-800-88r1\nrules:\n  - levels: {format-crypto: clear}\n", r: Request{Method: Purge}, want: Format, why: "reaches_less"},
		{name: "the ISM overwrites", policy: "aus-ism", want: HostOverwrite, why: "policy_order"},
		{name: "a SCSI drive", policy: DefaultPolicy, change: func(d *devices.Drive) {
			d.Protocol, d.Format, d.FormatNVM, d.Namespaces = devices.ProtocolSCSI, true, nil, nil
		}, want: Format, why: "other_protocol"},
		{name: "an ATA drive", policy: DefaultPolicy, change: func(d *devices.Drive) { d.Protocol, d.FormatNVM, d.Namespaces = devices.ProtocolATA, nil, nil }, want: HostOverwrite, why: "other_protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := PolicyByName(c.policy)
			if strings.Contains(c.policy, "\n") {
				p, err = parsePolicy(t, c.policy), nil
			}
			if err != nil {
				t.Fatal(err)
			}
			d := formatDrive()
			if c.change != nil {
				c.change(&d)
			}
			r, err := c.r.Normal()
			if err != nil {
				t.Fatal(err)
			}
			plan, err := Choose(d, "", r, p, Rulings{})
			var refusal *Refusal
			if err != nil && !errors.As(err, &refusal) || plan.Technique != c.want {
				t.Fatalf("%s, %v; want %q", plan.Technique, err, c.want)
			}
			m := Clear
			if r.Method != "" {
				m = r.Method
			}
			for _, w := range weigh(m, d, r, p) {
				if w.Technique == CryptographicFormat && w.Code != c.why {
					t.Errorf("cryptographic format: %s %s, want %q", w.Code, w.Message, c.why)
				}
			}
		})
	}
}

// The plan of a cryptographic format says what it sends, what it leaves and on what it rests.
func TestCryptographicFormatPlanned(t *testing.T) {
	d := formatDrive()
	d.FormatNVM.CDW10, d.Unallocated = 1<<9|0x11, 4096
	plan, err := Choose(d, "", Request{}, Policies()[0], Rulings{})
	if err != nil {
		t.Fatal(err)
	}
	o := plan.Operations[0]
	if o.Kind != NVMeFormat || o.Technique != CryptographicFormat || o.Code != 2<<9|0x11 || o.NSID != 1 || !strings.Contains(o.Command, "cryptographic erase") || plan.Leaves != devices.ReadsAnything {
		t.Errorf("%+v, leaves %s", plan.Operations, plan.Leaves)
	}
	has := func(list []devices.Reason, code string) bool {
		return slices.ContainsFunc(list, func(r devices.Reason) bool { return r.Code == code })
	}
	if !has(plan.RestsOn, "cryptographic_erase") || !has(plan.RestsOn, "drive_report") || !has(plan.Excludes, "unallocated") || !has(plan.Excludes, "outside_format") {
		t.Errorf("rests on %v, excludes %v", plan.RestsOn, plan.Excludes)
	}
	// A plan whose words and code do not agree is not carried out.
	for name, change := range map[string]func(*DrivePlan){
		"the other erase": func(p *DrivePlan) { p.Operations[0].Code = 1<<9 | 0x11 }, "another technique": func(p *DrivePlan) { p.Operations[0].Technique = Format },
		"another format": func(p *DrivePlan) { p.Operations[0].Code = 2 << 9 }, "another namespace": func(p *DrivePlan) { p.Operations[0].NSID = 2 },
	} {
		changed := plan
		changed.Operations = slices.Clone(plan.Operations)
		change(&changed)
		if err := changed.formatsAs(d); !errors.Is(err, ErrPlanChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := plan.formatsAs(d); err != nil {
		t.Error(err)
	}
	// Where a format purges, it only clears a drive with capacity that it does not reach.
	for _, bytes := range []int64{0, 4096} {
		d.Unallocated = bytes
		for _, x := range Explain(d, Policies()[1]) {
			if x.Technique.formats() && (x.Method == Clear) != (bytes > 0) {
				t.Errorf("%d bytes unallocated: %s reaches %s (%s)", bytes, x.Technique, x.Method, x.Message)
			}
		}
	}
}
