package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// newNVMeCLI boots a guest that has nvme-cli.
func newNVMeCLI(t *testing.T) *fabric {
	t.Helper()
	return newFabric(t, hardware{files: peerTools(t, "nvme")})
}

// agree compares what nvme-cli prints with what our codecs make of the same page, field by field. Numbers
// are compared as text, because some of nvme-cli's are.
func agree(t *testing.T, page, out string, ours map[string]any) {
	t.Helper()
	var theirs map[string]any
	answerOf(t, out, &theirs)
	for name, want := range ours {
		got, ok := theirs[name]
		if n, isNumber := got.(float64); isNumber {
			got = fmt.Sprintf("%.0f", n)
		}
		if !ok || strings.TrimSpace(fmt.Sprint(got)) != fmt.Sprint(want) {
			t.Errorf("%s: %s is %v to nvme-cli and %v to us", page, name, got, want)
		}
	}
}

// What another program reads from the same drives by the same kernel is what our codecs read.
func TestNVMeCLIReadsTheSame(t *testing.T) {
	f := newNVMeCLI(t)
	raw := func(t *testing.T, args ...string) []byte {
		return []byte(f.g.Must(append([]string{"nvme"}, append(args, "--raw-binary")...)...))
	}
	for i, spec := range []virtual.Spec{{Profile: "nvme-ssd"}, {Profile: "nvme-two-namespaces", AttachAll: true, LogicalBlock: 4096}, {Profile: "nvme-format"},
		{Profile: "nvme-hdd"}, {Profile: "nvme-verify"}, {Profile: "nvme-boot"}, {Profile: "nvme-ssd", NoDeallocateInhibited: true, Sanitize: []string{"block"}}} {
		t.Run(fmt.Sprint(i, spec.Profile), func(t *testing.T) {
			f := f.in(t)
			spec.Serial, spec.SizeBytes, spec.EraseSeconds = fmt.Sprintf("CLI-%d", i), 4<<20, 1
			n := f.add(t, spec)
			name := f.g.connect(n)
			defer f.g.disconnect(name)
			controller := "/dev/" + name
			json := func(args ...string) string {
				return f.g.Must(append([]string{"nvme"}, append(args, "--output-format=json")...)...)
			}

			c, err := nvme.ParseController(raw(t, "id-ctrl", controller))
			if err != nil {
				t.Fatal(err)
			}
			agree(t, "id-ctrl", json("id-ctrl", controller), map[string]any{
				"vid": c.VID, "sn": c.SN, "mn": c.MN, "fr": c.FR, "cmic": c.CMIC, "mdts": c.MDTS, "cntlid": c.CNTLID, "ver": c.VER, "cntrltype": c.CNTRLTYPE,
				"oacs": c.OACS, "tnvmcap": c.TNVMCAP, "unvmcap": c.UNVMCAP, "rpmbs": c.RPMBS, "sanicap": c.SANICAP, "nn": c.NN, "oncs": c.ONCS, "fna": c.FNA,
				"vwc": c.VWC, "subnqn": c.SUBNQN,
			})

			list, _, err := nvme.ParseNamespaceList(pageOf(t, n, nvme.NamespaceList{}.Command()), 0)
			if err != nil {
				t.Fatal(err)
			}
			var lists struct {
				List []struct {
					NSID uint32 `json:"nsid"`
				} `json:"nsid_list"`
			}
			answerOf(t, json("list-ns", controller), &lists)
			var theirs []uint32
			for _, x := range lists.List {
				theirs = append(theirs, x.NSID)
			}
			if !slices.Equal(theirs, list) {
				t.Errorf("list-ns: %v to nvme-cli and %v to us", theirs, list)
			}
			for _, id := range list {
				ns := fmt.Sprintf("--namespace-id=%d", id)
				x, err := nvme.ParseNamespace(raw(t, "id-ns", controller, ns))
				if err != nil {
					t.Fatal(err)
				}
				out := json("id-ns", controller, ns)
				agree(t, "id-ns", out, map[string]any{"nsze": x.NSZE, "ncap": x.NCAP, "nuse": x.NUSE, "flbas": x.FLBAS, "dps": x.DPS, "nmic": x.NMIC, "fpi": x.FPI,
					"dlfeat": x.DLFEAT, "nsattr": x.NSATTR, "nguid": fmt.Sprintf("%x", x.NGUID), "eui64": fmt.Sprintf("%x", x.EUI64)})
				var formats struct {
					List []struct {
						MS, DS int
					} `json:"lbafs"`
				}
				answerOf(t, out, &formats)
				if at := int(x.FLBAS & 15); at >= len(formats.List) || formats.List[at].DS != int(x.LBADS) || formats.List[at].MS != int(x.MS) {
					t.Errorf("id-ns: formats %+v to nvme-cli; %d is of 2^%d bytes to us", formats.List, at, x.LBADS)
				}
			}

			smart, err := nvme.ParseSMART(raw(t, "smart-log", controller))
			if err != nil {
				t.Fatal(err)
			}
			agree(t, "smart-log", json("smart-log", controller), map[string]any{
				"critical_warning": smart.CriticalWarning, "temperature": smart.Temperature, "avail_spare": smart.AvailableSpare, "spare_thresh": smart.SpareThreshold,
				"percent_used": smart.PercentageUsed, "data_units_read": smart.DataRead, "data_units_written": smart.DataWritten, "power_cycles": smart.PowerCycles,
				"power_on_hours": smart.PowerOnHours, "unsafe_shutdowns": smart.UnsafeShutdowns, "media_errors": smart.MediaErrors,
			})
			firmware := raw(t, "fw-log", controller)
			var slots map[string]map[string]any
			answerOf(t, json("fw-log", controller), &slots)
			for _, slot := range slots {
				if got := fmt.Sprint(slot["Active Firmware Slot (afi)"]); got != fmt.Sprint(firmware[0]) {
					t.Errorf("fw-log: %v, page %x", slot, firmware[:32])
				}
			}
			if c.SANICAP == 0 {
				return
			}
			f.sameSanitizeLog(t, controller)
		})
	}
}

// sameSanitizeLog compares the log as nvme-cli prints it with what we make of it, and returns the latter.
// Of SSTAT it prints three bits and what it knows of the others, and FFFFFFFFh as -1.
func (f *fabric) sameSanitizeLog(t *testing.T, controller string) nvme.SanitizeStatus {
	t.Helper()
	s, err := nvme.ParseSanitizeStatus([]byte(f.g.Must("nvme", "sanitize-log", controller, "--raw-binary")))
	if err != nil {
		t.Fatal(err)
	}
	var logs map[string]map[string]any
	answerOf(t, f.g.Must("nvme", "sanitize-log", controller, "--output-format=json"), &logs)
	if len(logs) != 1 {
		t.Fatalf("sanitize-log: %v", logs)
	}
	for _, x := range logs {
		for name, want := range map[string]uint32{"sprog": uint32(s.SPROG), "cdw10_info": s.SCDW10, "time_over_write": s.ETO, "time_block_erase": s.ETBE,
			"time_crypto_erase": s.ETCE, "time_over_write_no_dealloc": s.ETOND, "time_block_erase_no_dealloc": s.ETBEND, "time_crypto_erase_no_dealloc": s.ETCEND} {
			if got, ok := x[name].(float64); !ok || uint32(int64(got)) != want {
				t.Errorf("sanitize-log: %s is %v to nvme-cli and %d to us", name, x[name], want)
			}
		}
		state, _ := x["sstat"].(map[string]any)
		word, _ := state["status"].(string)
		if !strings.HasPrefix(word, fmt.Sprintf("(%d)", s.Status())) || state["global_erased"] != float64(s.SSTAT>>8&1) || state["no_cmplted_passes"] != float64(s.SSTAT>>3&31) {
			t.Errorf("sanitize-log: %v to nvme-cli and SSTAT %#x to us", state, s.SSTAT)
		}
	}
	return s
}

// The states of a sanitize are the same to both, in a time that stands still while they are read.
func TestNVMeCLISanitizeLog(t *testing.T) {
	f := newNVMeCLI(t)
	var seconds atomic.Int64
	began := time.Now()
	f.rack.Clock = func() time.Time { return began.Add(time.Duration(seconds.Load()) * time.Second) }
	for i, x := range []struct {
		name, profile, fault string
		args                 []string
		end                  nvme.SOS
	}{
		{"block erase", "nvme-ssd", "", []string{"--sanact=2"}, nvme.SanitizeSucceeded},
		{"overwrite in four passes", "nvme-hdd", "", []string{"--sanact=3", "--owpass=4", "--ovrpat=0"}, nvme.SanitizeSucceeded},
		{"failure", "nvme-ssd", "sanitize-fail:80", []string{"--sanact=2", "--ause"}, nvme.SanitizeFailed},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := f.in(t)
			serial := fmt.Sprintf("LOG-%d", i)
			name := f.g.connect(f.add(t, virtual.Spec{Profile: x.profile, Serial: serial, SizeBytes: 1 << 20, EraseSeconds: 600}, x.fault))
			defer f.g.disconnect(name)
			f.g.Must(append([]string{"nvme", "sanitize", "/dev/" + name}, x.args...)...)
			if s := f.sameSanitizeLog(t, "/dev/"+name); s.Status() != nvme.SanitizeInProgress || s.SPROG != 0 {
				t.Errorf("at its beginning: %+v", s)
			}
			seconds.Add(420)
			if s := f.sameSanitizeLog(t, "/dev/"+name); s.Status() != nvme.SanitizeInProgress || s.SPROG == 0 {
				t.Errorf("on its way: %+v", s)
			}
			seconds.Add(2400)
			if s := f.sameSanitizeLog(t, "/dev/"+name); s.Status() != x.end || s.GlobalDataErased() != (x.end == nvme.SanitizeSucceeded) {
				t.Errorf("at its end: %+v", s)
			}
		})
	}
}

// pageOf asks the drive behind a target.
func pageOf(t *testing.T, n *nvmeTarget, c *nvme.Command) []byte {
	t.Helper()
	n.mu.Lock()
	door := n.admin
	n.mu.Unlock()
	done, err := door.NVMe(t.Context(), c)
	if err != nil || done.Status != 0 {
		t.Fatalf("command %02xh: %v %v", c.Opcode, done.Err(), err)
	}
	return c.Data
}

// Another program's commands do to a drive what ours do.
func TestNVMeCLIErasesTheSame(t *testing.T) {
	f := newNVMeCLI(t)
	for i, x := range []struct {
		name, profile string
		args          []string
		begun         string
		blank         bool
	}{
		{"block erase", "nvme-ssd", []string{"sanitize", "--sanact=2"}, "84:00000002", true},
		{"crypto erase, no deallocation", "nvme-ssd", []string{"sanitize", "--sanact=4", "--no-dealloc"}, "84:00000204", false},
		{"overwrite", "nvme-hdd", []string{"sanitize", "--sanact=3", "--owpass=1", "--ovrpat=0", "--no-dealloc"}, "84:00000213", false},
		{"format", "nvme-format", []string{"format", "--ses=1", "--namespace-id=1", "--force"}, "80:00000200@1", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := f.in(t)
			serial := fmt.Sprintf("BY-CLI-%d", i)
			n := f.add(t, virtual.Spec{Profile: x.profile, Serial: serial, SizeBytes: 4 << 20, EraseSeconds: 1})
			name := f.g.connect(n)
			defer f.g.disconnect(name)
			f.g.Must(append([]string{"nvme", x.args[0], "/dev/" + name}, x.args[1:]...)...)
			f.g.until("the erase is over", func() bool {
				addressable, hidden := left(t, f.medium(t, serial))
				return addressable == 0 && hidden == 0
			})
			m := f.medium(t, serial)
			if begun := m.Begun(); !slices.Equal(begun, []string{x.begun}) {
				t.Errorf("the drive began %q, want %s", begun, x.begun)
			}
			if blank, err := m.Blank(); err != nil || x.blank && !blank {
				t.Errorf("the medium is not erased: %v", err)
			}
		})
	}
}
