package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// kept are the codes of what a certificate of each kind says was not reached.
var kept = map[string][]string{
	"emmc":    {"unaddressable", "boot_partitions", "rpmb"},
	"sd-card": {"unaddressable", "protected_area"},
	"ufs":     {"unaddressable", "rpmb"},
	"nvdimm":  {"unaddressable", "label_area", "fsdax_metadata"},
}

// After the passes that r1 asks for, nothing of the customer's data is left where a host can address it.
// What is left elsewhere, and in truth is still there, is in plan and certificate.
func TestCardsAreClearedAndSayWhatIsLeft(t *testing.T) {
	for profile, codes := range kept {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.add(virtual.Spec{Profile: profile, Serial: "A", SizeBytes: 4 << 20, HiddenBytes: 256 << 10})
			p := s.plan(sanitize.Request{Method: sanitize.Clear, Policy: "nist-800-88r1"}, s.drive().Nodes[0])
			if len(p.Drives) != 1 {
				t.Fatalf("%+v", p.Refused)
			}
			d := p.Drives[0]
			passes := 2
			if profile == "nvdimm" {
				passes = 1
			}
			if d.Technique != sanitize.HostOverwrite || len(d.Passes) != passes || d.Scope != sanitize.ScopeLogical {
				t.Errorf("%s %v, scope %s", d.Technique, d.Passes, d.Scope)
			}
			for _, code := range codes {
				if !slices.ContainsFunc(d.Excludes, func(r devices.Reason) bool { return r.Code == code }) {
					t.Errorf("the plan does not say %s: %+v", code, d.Excludes)
				}
			}
			r := s.run(p)
			want(t, r, sanitize.Sanitized, "")
			if addressable, hidden := s.canaries(); addressable != 0 || hidden == 0 {
				t.Errorf("%d times where the host can address it, %d elsewhere", addressable, hidden)
			}
			report := s.verify(r)
			said := strings.Join(report.Result.Sanitization.Excludes, "\n")
			if report.Code != attest.CodeOK || report.Result.Sanitization.Method != string(sanitize.Clear) {
				t.Errorf("certificate: %d %v %s", report.Code, report.Reasons, report.Result.Sanitization.Method)
			}
			for _, x := range d.Excludes {
				if !strings.Contains(said, x.Message) {
					t.Errorf("the certificate does not say %q:\n%s", x.Message, said)
				}
			}
		})
	}
}

// A purge is refused with what is left to do, and nothing was touched.
func TestPurgeOfCardsIsRefused(t *testing.T) {
	whole(t)
	for profile, code := range map[string]string{"emmc": devices.ReasonEMMCErases, "sd-card": devices.ReasonSDErases, "ufs": devices.ReasonUFSPurge, "nvdimm": devices.ReasonNVDIMMSecurity} {
		for _, policy := range []string{"nist-800-88r2", "nist-800-88r1"} {
			s := newSite(t)
			s.add(virtual.Spec{Profile: profile, Serial: "A", SizeBytes: 1 << 20})
			before, hidden := s.canaries()
			p := s.plan(sanitize.Request{Method: sanitize.Purge, Policy: policy}, s.drive().Nodes[0])
			if len(p.Drives) != 0 || len(p.Refused) != 1 || !p.Refused[0].Cannot {
				t.Fatalf("%s under %s: %+v", profile, policy, p)
			}
			if first := p.Refused[0].Reasons[0]; first.Code != code || !strings.Contains(first.Hint, "destroy it") {
				t.Errorf("%s under %s: %+v", profile, policy, first)
			}
			if r := p.Refused[0].Reasons; slices.ContainsFunc(r, func(x devices.Reason) bool { return x.Code == "other_protocol" }) {
				t.Errorf("%s under %s: commands of other drives are no reason: %+v", profile, policy, r)
			}
			if a, h := s.canaries(); a != before || h != hidden || a == 0 {
				t.Errorf("%s under %s: %d and %d times, were %d and %d", profile, policy, a, h, before, hidden)
			}
		}
	}
}

// An area of an eMMC that is mounted speaks against all of the drive, though it is another block device.
func TestMountedAreaOfACard(t *testing.T) {
	whole(t)
	for _, use := range []string{"area-mounted:boot0:/srv", "area-mounted:gp0:/srv", "partition-mounted:/srv"} {
		s := newSite(t)
		s.add(virtual.Spec{Profile: "emmc", Serial: "A", SizeBytes: 1 << 20})
		p := s.plan(sanitize.Request{Method: sanitize.Clear}, "/dev/mmcblk0")
		if err := s.rack.Use("A", use); err != nil {
			t.Fatal(err)
		}
		s.refuses(sanitize.Request{Method: sanitize.Clear}, "/dev/mmcblk0", "mounted")
		if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); err == nil {
			t.Errorf("%s: an older plan was carried out", use)
		}
		if holds(t, s.rack, "A") == 0 {
			t.Errorf("%s: it was erased", use)
		}
	}
}
