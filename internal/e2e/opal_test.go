package e2e

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// What we read of a self-encrypting drive is what the kernel's own stack reads of it, field by field; and a revert
// by the PSID on its label, by our stack behind a real kernel, leaves it as the kernel's own revert leaves another.
func TestOpalBesideTheKernels(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	node := map[string]string{}
	for _, x := range [][2]string{{"nvme-opal-owned", "OURS"}, {"nvme-opal-owned", "KERNELS"}, {"nvme-opal-inactive", "NEW"}} {
		node[x[1]] = "/dev/" + f.g.connect(f.add(t, virtual.Spec{Profile: x[0], Serial: x[1], SizeBytes: 4 << 20})) + "n1"
	}
	facts := func(serial string) *devices.TCG {
		t.Helper()
		shown, _ := document[struct {
			Items []devices.Drive `json:"items"`
		}](f.g, "show", serial)
		if len(shown.Items) != 1 || shown.Items[0].TCG == nil {
			t.Fatalf("%s: %+v", serial, shown.Items)
		}
		return shown.Items[0].TCG
	}
	// agree compares what both read, and returns it.
	agree := func(serial string) tcg.Facts {
		t.Helper()
		d, err := tcg.ParseDiscovery([]byte(f.g.Must("opal-discovery", node[serial])))
		if err != nil {
			t.Fatal(err)
		}
		ours, kernels := facts(serial).Facts, d.Facts()
		kernels.BufferManagement, kernels.Synchronous = ours.BufferManagement, ours.Synchronous // are not in the document
		if ours.Removal != nil && kernels.Removal != nil {
			for i := range kernels.Removal.Mechanisms {
				kernels.Removal.Mechanisms[i].Number = 0 // nor is this
			}
		}
		if !reflect.DeepEqual(ours, kernels) {
			t.Errorf("%s: we read %+v, the kernel %+v", serial, ours, kernels)
		}
		flags := 0
		for i, set := range []bool{true, ours.LockingSupported, ours.LockingEnabled, ours.Locked, ours.MBREnabled, ours.MBRDone, ours.SingleUser} {
			if set {
				flags |= 1 << i
			}
		}
		if said := strings.TrimSpace(f.g.Must("opal-status", node[serial])); said != fmt.Sprintf("%#x", flags) {
			t.Errorf("%s: the kernel's status is %s, ours %s", serial, said, fmt.Sprintf("%#x", flags))
		}
		return ours
	}
	for serial := range node {
		agree(serial)
	}

	label := func(serial string) string {
		l, err := f.rack.Label(serial)
		if err != nil {
			t.Fatal(err)
		}
		return l.PSID
	}
	a, err := f.g.do(t.Context(), request{Args: []string{"expunge", "--state", "/host/state", "run", "OURS", "--allow-fabric", "--method", "purge", "--tcg", "psid-revert", "--verify", "status",
		"--pin-file", "/tmp/psid", "--confirm", "OURS"}, Files: map[string][]byte{"/tmp/psid": []byte(label("OURS") + "\n")}})
	if err != nil || a.Code != 0 || !strings.Contains(string(a.Stdout), "PURGED status only") {
		t.Fatalf("%v, exit status %d: %s%s", err, a.Code, a.Stdout, a.Stderr)
	}
	f.g.Must("opal-psid", node["KERNELS"], label("KERNELS"))
	if d, _, code := f.run(t, "NEW", "--method", "purge", "--technique", "tcg-revert"); code != 0 || d.Outcome != "sanitized" {
		t.Errorf("exit status %d: %+v", code, d)
	}
	for serial := range node {
		m := f.medium(t, serial)
		if addressable, hidden := left(t, m); addressable+hidden != 0 || !slices.Equal(m.Begun(), []string{"tcg:revert"}) {
			t.Errorf("%s: %d canaries, %d hidden; begun %q", serial, addressable, hidden, m.Begun())
		}
	}
	if x, y := agree("OURS"), agree("KERNELS"); !reflect.DeepEqual(x, y) || x.LockingEnabled || x.Locked {
		t.Errorf("after our revert: %+v, after the kernel's: %+v", x, y)
	}
}
