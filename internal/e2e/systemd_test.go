package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// dropIn is what a site adds to the unit: where the sink is, and here also where to log, as there is no journal.
const dropIn = `[Unit]
RequiresMountsFor=/mnt/evidence
[Service]
ReadWritePaths=/mnt/evidence
StandardError=append:/host/serve.log
RestartSec=100ms
WatchdogSec=5
`

// The agent as systemd runs it, by its own unit with all that this takes away: it is started by who asks first, sees who uses drives,
// gives them every command, hears of drives that come and go, writes to its sink, and is started again whatever ends it.
func TestUnit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.image("ext4", "mkfs.ext4", "e2fsprogs", "-q", "-F", "-O", "^has_journal")
	b.add(virtual.Spec{Profile: "sata-hdd", Serial: "WRITTEN", SizeBytes: 1 << 20})
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "SANITIZED", SizeBytes: 1 << 20, EraseSeconds: 1})
	killed := b.add(virtual.Spec{Profile: "sata-hdd", Serial: "KILLED", SizeBytes: 4 << 20})
	b.add(virtual.Spec{Profile: "sata-hdd", Serial: "OPEN", SizeBytes: 1 << 20})
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "MOUNTED", SizeBytes: 4 << 20})
	late := b.next
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "LATE", SizeBytes: 1 << 20})
	b.unplug("LATE", late)
	opened, _ := b.left("OPEN")
	g := b.startSystemd("ext4")
	config, err := os.ReadFile("../../cmd/expunge/systemd/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/host/state", "/host/evidence", "/mnt/evidence", "/etc/systemd/system/expunge.service.d"} {
		g.Must("mkdir", dir)
	}
	g.Must("bind", "/host/state", "/var/lib/expunge")
	g.Must("bind", "/host/evidence", "/mnt/evidence")
	g.Must("write", "/etc/expunge/agent.yaml", string(config)+"durability: {sink: /mnt/evidence}\n")
	g.Must("write", "/etc/systemd/system/expunge.service.d/site.conf", dropIn)
	g.Must("systemctl", "daemon-reload")
	g.Must("systemctl", "start", "expunge.socket")
	if state := g.property("expunge.service", "ActiveState"); state != "inactive" {
		t.Fatalf("the agent is %s before anybody asked", state)
	}
	h := asked[api.Health](g, http.StatusOK, "GET", "/v1/health", nil)
	if !h.SafeToPowerOff || h.Status != "ok" || g.property("expunge.service", "SubState") != "running" {
		t.Fatalf("%+v, %s", h, g.Must("systemctl", "--no-pager", "status", "expunge.service"))
	}
	g.until("the kernel tells of changes", func() bool {
		return asked[api.Health](g, http.StatusOK, "GET", "/v1/health", nil).HotPlug == string(devices.ChangesByKernel)
	})
	t.Run("who uses drives is seen", func(t *testing.T) {
		g := g.in(t)
		drives := g.drives()
		for _, d := range drives {
			if d.State != devices.StateReady {
				t.Errorf("%s: %s %+v", d.Serial, d.State, d.Reasons)
			}
		}
		g.Must("hold", drives["OPEN"].Nodes[0])
		g.Must("copy", "/host/ext4", drives["MOUNTED"].Nodes[0])
		g.Must("mount", "ext4", drives["MOUNTED"].Nodes[0], "/mnt/other")
		for serial, want := range map[string]string{"OPEN": "open", "MOUNTED": "mounted"} {
			p := api.PlanRequest{Drives: []string{serial}, Request: overwrite}
			if _, body := g.http(0, "POST", "/v1/plans", p); !strings.Contains(string(body), `"code":"`+want+`"`) {
				t.Errorf("%s is planned: %s", serial, body)
			}
			g.until(serial+" is in use", func() bool {
				d := g.drives()[serial]
				return d.State == devices.StateInUse && d.Reasons[0].Code == want
			})
		}
	})
	t.Run("jobs", func(t *testing.T) {
		g := g.in(t)
		jobs := map[string]sanitize.Technique{
			g.begin(overwrite, "WRITTEN"): sanitize.HostOverwrite,
			g.begin(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}, "SANITIZED"): sanitize.BlockErase,
		}
		for job, technique := range jobs {
			g.becomes(job, api.JobEnded)
			method := sanitize.Purge
			if technique == sanitize.HostOverwrite {
				method = sanitize.Clear
			}
			for _, r := range g.proven(job, method, technique) {
				if left, _ := b.left(r.Device.Serial); left != 0 {
					t.Errorf("%s: %d canaries", r.Device.Serial, left)
				}
			}
			g.until("the sink has "+job, func() bool {
				list, err := filepath.Glob(filepath.Join(b.share, "evidence/jobs", job, "*/certificate.json"))
				return err == nil && len(list) == 1
			})
		}
	})
	t.Run("a drive that comes is noticed", func(t *testing.T) {
		g := g.in(t)
		b.target.attach(late, 0, b.open["LATE"][0])
		g.until("it is listed", func() bool { return g.drives()["LATE"].State == devices.StateReady })
	})
	t.Run("it is started again, and goes on", func(t *testing.T) {
		g := g.in(t)
		arrived, release := make(chan struct{}), make(chan struct{})
		b.after(killed, 2, isWrite, func() { close(arrived); <-release })
		job := g.begin(overwrite, "KILLED")
		<-arrived // or the test ends by its limit
		for _, end := range []string{"KILL", "STOP", "TERM"} {
			pid := g.property("expunge.service", "MainPID")
			if end == "TERM" {
				g.Must("systemctl", "stop", "expunge.service")
			} else {
				g.Must("systemctl", "kill", "-s", end, "expunge.service")
			}
			if end == "KILL" {
				close(release)
			}
			g.until("it ends after "+end, func() bool { return g.Must("ls", "/proc/"+pid) == "" })
			if result := g.property("expunge.service", "Result"); end == "TERM" && result != "success" {
				t.Errorf("stopped: %s", result)
			}
			// Who asks has it started, or waits until it is.
			if r := g.proven(job, sanitize.Clear, sanitize.HostOverwrite); r[0].Sanitization.Attempts != 2 {
				t.Errorf("%s: %d attempts", end, r[0].Sanitization.Attempts)
			}
		}
		if left, _ := b.left("KILLED"); left != 0 {
			t.Errorf("%d canaries", left)
		}
	})
	if left, _ := b.left("OPEN"); left != opened {
		t.Errorf("what was open has %d canaries, had %d", left, opened)
	}
}
