package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// on runs a command line on a rack.
func on(t *testing.T, rack *virtual.Rack, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, problems bytes.Buffer
	code = (&app{stdin: strings.NewReader(""), stdout: &out, stderr: &problems, ctx: t.Context()}).execute(append([]string{"--rack", rack.Root()}, args...))
	return out.String(), problems.String(), code
}

// Whatever keeps a drive, or one of its own erases, from being used has a stable code, and `show` says
// in words what it is and what to do about it.
func TestShowExplainsEveryReason(t *testing.T) {
	for _, c := range []struct {
		code   string
		spec   virtual.Spec
		faults []string
		do     func(t *testing.T, rack *virtual.Rack, node string) // before it is shown
	}{
		{code: devices.ReasonLocked, spec: virtual.Spec{Profile: "sata-hdd-locked"}},
		{code: devices.ReasonFrozen, spec: virtual.Spec{Profile: "sata-ssd-frozen"}},
		{code: devices.ReasonBridgeOpaque, spec: virtual.Spec{Profile: "sata-fixed-sense"}},
		{code: devices.ReasonBridgeOpaque, spec: virtual.Spec{Profile: "usb-sata-drops"}},
		{code: devices.ReasonBridgeOpaque, spec: virtual.Spec{Profile: "usb-stick"}},
		{code: devices.ReasonEMMCErases, spec: virtual.Spec{Profile: "emmc"}},
		{code: devices.ReasonSDErases, spec: virtual.Spec{Profile: "sd-card"}},
		{code: devices.ReasonUFSPurge, spec: virtual.Spec{Profile: "ufs"}},
		{code: devices.ReasonNVDIMMSecurity, spec: virtual.Spec{Profile: "nvdimm"}},
		{code: devices.ReasonBridgeOpaque, spec: virtual.Spec{Profile: "sata-ssd"}, faults: []string{"registers:zero"}},
		{code: devices.ReasonHBADrops, spec: virtual.Spec{Profile: "sata-hdd"}, faults: []string{"hba-zero:count"}},
		{code: devices.ReasonHBADrops, spec: virtual.Spec{Profile: "sata-hdd"}, faults: []string{"hba-zero:lba"}},
		{code: "hidden_area", spec: virtual.Spec{Profile: "sata-hdd-hpa"}},
		{code: "hidden_area", spec: virtual.Spec{Profile: "sata-hdd-dco"}},
		{code: "hidden_area", spec: virtual.Spec{Profile: "sata-ssd-ama"}},
		{code: "hidden_unknown", spec: virtual.Spec{Profile: "usb-sata-drops"}},
		{code: "not_supported", spec: virtual.Spec{Profile: "sata-old"}},
		{code: "usb_security_erase", spec: virtual.Spec{Profile: "usb-sata"}},
		{code: "block_length", spec: virtual.Spec{Profile: "sas-520"}},
		{code: "opcodes_unreported", spec: virtual.Spec{Profile: "sas-ssd", NoOpcodeReports: true}},
		{code: "not_provable", spec: virtual.Spec{Profile: "sas-ssd", WriteAfterErase: 2}},
		{code: "not_provable", spec: virtual.Spec{Profile: "sas-ssd", WriteAfterErase: 3}},
		{code: "reserved", spec: virtual.Spec{Profile: "sas-hdd", ReservedBy: "1234"}},
		{code: "sanitize_unknown", spec: virtual.Spec{Profile: "sas-hdd"}, faults: []string{"log-zero:sanitize"}},
		{code: "sanitize_unknown", spec: virtual.Spec{Profile: "nvme-ssd"}, faults: []string{"log-missing:sanitize"}},
		{code: "reserved", spec: virtual.Spec{Profile: "nvme-ssd", ReservedBy: "1234", Registrants: 2}},
		{code: "firmware_pending", spec: virtual.Spec{Profile: "nvme-firmware-pending"}},
		{code: "read_only_medium", spec: virtual.Spec{Profile: "nvme-ssd"}, faults: []string{"smart-critical:8"}},
		{code: "critical_warning", spec: virtual.Spec{Profile: "nvme-pmr"}, faults: []string{"smart-critical:32"}},
		{code: "shared_subsystem", spec: virtual.Spec{Profile: "nvme-shared"}},
		{code: devices.ReasonCountExpired, spec: virtual.Spec{Profile: "sata-hdd-locked"}, do: func(t *testing.T, rack *virtual.Rack, _ string) {
			file := write(t, "wrong\n")
			for range 5 {
				if _, _, code := on(t, rack, "recover", "A", "--password-file", file); code != exitCannot && code != exitFailed {
					t.Errorf("a wrong password: exit %d", code)
				}
			}
		}},
		{code: devices.ReasonSanitizeFrozen, spec: virtual.Spec{Profile: "sata-ssd"}, do: send([]byte{0x85, 0x07, 0x20, 0, 0x20, 0, 0, 0x46, 0x6b, 0, 0x4c, 0, 0x72, 0x40, 0xb4, 0}, nil)},
		{code: devices.ReasonEnabled, spec: virtual.Spec{Profile: "sata-hdd"}, do: send([]byte{0x85, 0x0a, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xf1, 0}, append(make([]byte, 2), append([]byte("somebody's"), make([]byte, 500)...)...))},
		{code: "sanitize_failed", spec: virtual.Spec{Profile: "sata-ssd"}, faults: []string{"sanitize-fail:40"}, do: purge},
		{code: "sanitize_failed", spec: virtual.Spec{Profile: "sas-ssd"}, faults: []string{"sanitize-fail:40"}, do: purge},
		{code: "format_failed", spec: virtual.Spec{Profile: "sas-hdd"}, faults: []string{"sanitize-fail:40"}, do: func(t *testing.T, rack *virtual.Rack, _ string) {
			if _, _, code := on(t, rack, "run", "A", "--technique", "format", "--confirm", "A"); code != exitFailed {
				t.Errorf("exit %d", code)
			}
		}},
		{code: "format_scope", spec: virtual.Spec{Profile: "nvme-format", SecondNamespace: true}},
		{code: "unfinished", spec: virtual.Spec{Profile: "sata-hdd", HPABytes: 1 << 20, SizeAfterPowerCycle: true}, do: func(t *testing.T, rack *virtual.Rack, _ string) {
			// The state of the job: what it waits for is in `jobs`, with what to do.
			out, _, code := on(t, rack, "run", "A", "--technique", "host-overwrite", "--confirm", "A")
			if code != exitInterrupted || !strings.Contains(out, "power") {
				t.Errorf("exit %d: %s", code, out)
			}
			if out, _, _ := on(t, rack, "jobs", "--json"); !strings.Contains(out, `"power_cycle_needed"`) {
				t.Errorf("jobs does not say that a power cycle is needed: %s", out)
			}
			if out, _, _ := on(t, rack, "jobs"); !strings.Contains(out, "POWER CYCLE NEEDED") {
				t.Errorf("jobs does not say that a power cycle is needed: %s", out)
			}
			if _, _, code := on(t, rack, "rack", "power-cycle", "A"); code != exitOK {
				t.Errorf("power-cycle: exit %d", code)
			}
		}},
	} {
		name := c.code + "/" + c.spec.Profile + strings.Join(c.faults, ",")
		t.Run(name, func(t *testing.T) {
			rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
			if err != nil {
				t.Fatal(err)
			}
			c.spec.Serial, c.spec.SizeBytes, c.spec.EraseSeconds = "A", 4<<20, 1
			node, err := rack.Add(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.faults {
				f, err := virtual.ParseFault(text)
				if err == nil {
					err = rack.Fault("A", f)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if c.do != nil {
				c.do(t, rack, node)
			}
			if c.code == "unfinished" {
				return
			}
			stdout, _, code := on(t, rack, "show", node, "--json")
			var doc struct{ Items []shownDrive }
			if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != exitOK || len(doc.Items) != 1 {
				t.Fatalf("exit %d, %v: %s", code, err, stdout)
			}
			d := doc.Items[0]
			message, hint := "", ""
			for _, r := range slices.Concat(d.Reasons, d.Lacks, d.Notes) {
				if r.Code == c.code {
					message, hint = r.Message, r.Hint
				}
			}
			for _, x := range d.Techniques {
				if x.Code == c.code && message == "" {
					message, hint = x.Message, x.Message
				}
			}
			if message == "" || hint == "" {
				t.Fatalf("no %s with a hint in %s", c.code, stdout)
			}
			text, _, _ := on(t, rack, "show", node)
			for _, b := range d.Beside {
				if !strings.Contains(text, b.Message) {
					t.Errorf("what is beside its blocks, %q, is not in:\n%s", b.Message, text)
				}
			}
			if _, is := d.NotSent(); is && len(d.Beside) == 0 {
				t.Error("nothing is beside its blocks")
			}
			if !strings.Contains(text, message) || strings.Count(text, "\n") < 12 {
				t.Errorf("%q is not in:\n%s", message, text)
			}
		})
	}
}

// send has somebody else send a drive a command.
func send(cdb, data []byte) func(t *testing.T, rack *virtual.Rack, node string) {
	return func(t *testing.T, rack *virtual.Rack, node string) {
		tr, err := rack.Opener()(t.Context(), node, devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		c := &scsi.Command{CDB: cdb, Data: data, Timeout: time.Second}
		if len(data) > 0 {
			c.Direction = scsi.DataOut
		}
		if r, err := tr.SCSI(t.Context(), c); err != nil || r.HostStatus != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func purge(t *testing.T, rack *virtual.Rack, _ string) {
	if _, _, code := on(t, rack, "run", "A", "--method", "purge", "--confirm", "A"); code != exitFailed {
		t.Errorf("exit %d", code)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
