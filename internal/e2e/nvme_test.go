package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// scenario is a drive and what is done to it.
type scenario struct {
	name    string
	spec    virtual.Spec
	request sanitize.Request
	begun   []string // what the drive must have done by itself
	hidden  bool     // blocks that the host cannot address keep what they had
	blank   bool     // every cell is in the erased state
}

var scenarios = []scenario{
	{name: "crypto and block", spec: virtual.Spec{Profile: "nvme-ssd"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptoThenBlock},
		begun: []string{"84:00000204", "84:00000002"}, blank: true},
	{name: "block", spec: virtual.Spec{Profile: "nvme-ssd"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase},
		begun: []string{"84:00000002"}, blank: true},
	{name: "crypto", spec: virtual.Spec{Profile: "nvme-ssd"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptographicErase},
		begun: []string{"84:00000204"}},
	{name: "two namespaces, one unattached", spec: virtual.Spec{Profile: "nvme-two-namespaces"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptoThenBlock},
		begun: []string{"84:00000204", "84:00000002"}, blank: true},
	{name: "two namespaces with nodes", spec: virtual.Spec{Profile: "nvme-two-namespaces", AttachAll: true}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptoThenBlock},
		begun: []string{"84:00000204", "84:00000002"}, blank: true},
	{name: "format", spec: virtual.Spec{Profile: "nvme-format"}, request: sanitize.Request{Method: sanitize.Clear, Technique: sanitize.Format},
		begun: []string{"80:00000200@1"}, blank: true},
	{name: "overwrite by the drive", spec: virtual.Spec{Profile: "nvme-hdd"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite},
		begun: []string{"84:00000213"}},
	{name: "a zoned namespace", spec: virtual.Spec{Profile: "nvme-zns"}, request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.CryptoThenBlock},
		begun: []string{"84:00000204", "84:00000202"}, blank: true},
	{name: "a zoned namespace, by the host", spec: virtual.Spec{Profile: "nvme-zns"}, request: sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite},
		hidden: true},
	{name: "overwrite by the host", spec: virtual.Spec{Profile: "nvme-ssd"}, request: sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull},
		hidden: true},
}

// args are the flags that ask for the same.
func (s scenario) args() []string {
	list := []string{"--method", string(s.request.Method), "--technique", string(s.request.Technique)}
	if s.request.Verify != "" {
		list = append(list, "--verify", string(s.request.Verify))
	}
	if s.request.BlockSize != 0 {
		list = append(list, "--block-size", fmt.Sprint(s.request.BlockSize))
	}
	return list
}

// What the shipped program decides and does behind a real kernel is what it decides and does on a rack, and
// what it certifies is so.
func TestNVMe(t *testing.T) {
	t.Parallel()
	f := newFabric(t, hardware{})
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			f := f.in(t)
			s.spec.Serial, s.spec.SizeBytes = fmt.Sprintf("E2E-%d", i), 8<<20
			controller := f.g.connect(f.add(t, s.spec))
			defer f.g.disconnect(controller)

			file := "/tmp/" + s.spec.Serial + ".json"
			f.g.Must(append([]string{"expunge", "--state", "/host/state", "plan", s.spec.Serial, "--allow-fabric", "-o", file}, s.args()...)...)
			samePlan(t, f.g.Must("cat", file), s.spec, s.request)

			d, _, code := f.run(t, s.spec.Serial, s.args()...)
			if code != 0 || d.Outcome != "sanitized" || d.Method != string(s.request.Method) || d.Technique != string(s.request.Technique) {
				t.Fatalf("exit status %d: %+v", code, d)
			}
			m := f.medium(t, s.spec.Serial)
			if begun := m.Begun(); !slices.Equal(begun, s.begun) {
				t.Errorf("the drive began %q, want %q", begun, s.begun)
			}
			addressable, hidden := left(t, m)
			if addressable != 0 || (hidden != 0) != s.hidden {
				t.Errorf("%d times customer data in blocks of the host, %d in others", addressable, hidden)
			}
			if blank, err := m.Blank(); err != nil || s.blank && !blank {
				t.Errorf("the medium is not erased: %v", err)
			}
			result, kinds := certified(t, f.g, d)
			if result.Outcome.Status != "sanitized" || result.Outcome.Method != d.Method || result.Device.Fabric != "tcp" || result.Device.Serial != d.Serial {
				t.Errorf("certificate: %+v %+v", result.Outcome, result.Device)
			}
			if n := count(kinds, "operation_ended"); n != len(s.begun) || count(kinds, "operation_begun") != n || kinds[len(kinds)-1] != "finished" {
				t.Errorf("journal: %q", kinds)
			}
		})
	}
}

// samePlan compares a plan with that for the same drive on a rack: what is decided does not depend on the
// kernel that is in between. Names of nodes do, and that the drive is reached over a fabric.
func samePlan(t *testing.T, file string, spec virtual.Spec, request sanitize.Request) {
	t.Helper()
	got, err := sanitize.ParsePlan([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := onRack(t, spec, "")
	want, err := a.Plan(t.Context(), []string{spec.Serial}, request)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Drives) != 1 || len(want.Drives) != 1 {
		t.Fatalf("planned %d drives in the guest, %d on the rack: %+v %+v", len(got.Drives), len(want.Drives), got.Refused, want.Refused)
	}
	x, y := got.Drives[0], want.Drives[0]
	if x.Fabric != "tcp" {
		t.Errorf("the drive is reached by %q", x.Fabric)
	}
	x.Nodes, y.Nodes, x.Fabric = nil, nil, ""
	if !reflect.DeepEqual(x, y) {
		a, _ := json.MarshalIndent(x, "", " ")
		b, _ := json.MarshalIndent(y, "", " ")
		t.Errorf("in the guest: %s\non the rack: %s", a, b)
	}
}

// onRack is an agent on a rack with one drive like that of a guest, and a fault that it has.
func onRack(t *testing.T, spec virtual.Spec, fault string) (*agent.Agent, *virtual.Rack) {
	t.Helper()
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	addTo(t, rack, spec, fault)
	a, err := agent.Open(agent.Options{Host: rack.Host(nil), StateDir: filepath.Join(dir, "state"), Owner: agent.Owner{Kind: "rack", ID: rack.ID()}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return a, rack
}
