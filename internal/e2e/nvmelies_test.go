package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// What goes wrong with a drive has the same end behind a real kernel as on a rack, and is no success where
// customer data is left that the host can address.
func TestNVMeFaults(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	for i, x := range []struct {
		profile   string
		technique sanitize.Technique
		fault     string
		reformat  int
		scope     []string // two namespaces, formatted in this scope
	}{
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "lie:nothing"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "lie:ignored"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "skip-erase:1000+800"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "sanitize-fail:40"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "sanitize-refused:2"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "log-missing:sanitize"},
		{profile: "nvme-ssd", technique: sanitize.BlockErase, fault: "log-zero:sanitize"},
		{profile: "nvme-ssd", technique: sanitize.CryptographicErase, fault: "lie:nothing"},
		{profile: "nvme-ssd", technique: sanitize.HostOverwrite, fault: "write-error:1000+4"},
		{profile: "nvme-ssd", technique: sanitize.HostOverwrite, fault: "read-error:2000+8"},
		{profile: "nvme-ssd", technique: sanitize.HostOverwrite, fault: "drop-writes"},
		{profile: "nvme-hdd", technique: sanitize.DriveOverwrite, fault: "skip-erase:1000+800"},
		{profile: "nvme-format", technique: sanitize.Format, fault: "lie:nothing"},
		{profile: "nvme-format", technique: sanitize.Format, fault: "sanitize-fail:40"},
		{profile: "nvme-format", technique: sanitize.Format, reformat: 4096},
		{profile: "nvme-format", technique: sanitize.Format, scope: []string{}},
		{profile: "nvme-format", technique: sanitize.Format, scope: []string{"fns", "sens"}},
		{profile: "nvme-format", technique: sanitize.Format, scope: []string{"fnvmbs"}},
		{profile: "nvme-write-protected", technique: sanitize.BlockErase},
		{profile: "nvme-firmware-pending", technique: sanitize.BlockErase},
		{profile: "nvme-pmr", technique: sanitize.BlockErase},
		{profile: "nvme-verify", technique: sanitize.BlockErase},
		{profile: "nvme-purge-required", technique: sanitize.BlockErase},
		{profile: "nvme-zns", technique: sanitize.BlockErase},
	} {
		t.Run(fmt.Sprint(x.profile, " ", x.technique, " ", x.fault, x.scope), func(t *testing.T) {
			f := f.in(t)
			spec := virtual.Spec{Profile: x.profile, Serial: fmt.Sprintf("FAULT-%d", i), SizeBytes: 1 << 20, EraseSeconds: 1,
				SecondNamespace: x.scope != nil, AttachAll: x.scope != nil, FormatScope: x.scope}
			request := sanitize.Request{Method: sanitize.Purge, Technique: x.technique, Verify: sanitize.VerifyFull, BlockSize: x.reformat}
			if x.technique == sanitize.HostOverwrite || x.technique == sanitize.Format {
				request.Method = sanitize.Clear
			}
			a, rack := onRack(t, spec, x.fault)
			p, err := a.Plan(t.Context(), []string{spec.Serial}, request)
			if err != nil {
				t.Fatal(err)
			}
			want := "refused"
			if len(p.Drives) > 0 {
				job, err := a.Start(t.Context(), p, agent.Started{}, agent.Observer{})
				if err != nil {
					t.Fatal(err)
				}
				want = fmt.Sprint(job.Drives[0].Outcome)
			}

			n := f.add(t, spec, x.fault)
			defer f.g.disconnect(f.g.connect(n))
			d, _, code := f.run(t, spec.Serial, scenario{request: request}.args()...)
			if d.Outcome != want {
				t.Errorf("%s in the guest (exit status %d), %s on the rack", d.Outcome, code, want)
			}
			if addressable, _ := left(t, f.medium(t, spec.Serial)); addressable > 0 && (code == 0 || d.Outcome == "sanitized") {
				t.Errorf("customer data is left %d times: %+v", addressable, d)
			}
			m, err := rack.Medium(spec.Serial)
			if err != nil {
				t.Fatal(err)
			}
			if begun := f.medium(t, spec.Serial).Begun(); !slices.Equal(begun, m.Begun()) {
				t.Errorf("the drive began %q in the guest, %q on the rack", begun, m.Begun())
			}
			t.Logf("%s, exit status %d, began %q", d.Outcome, code, m.Begun())
		})
	}
}
