package e2e

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A second kernel's agent: an NVMe drive is pulled while it sanitizes itself, and a SCSI drive is overwritten meanwhile. When the kernel
// tells that the drive is back, the agent goes on with its job, and tells it nothing a second time.
func TestServeNVMe(t *testing.T) {
	t.Parallel()
	need(t, "kernel")
	b := newBench(t)
	b.add(virtual.Spec{Profile: "sas-hdd", Serial: "SCSI", SizeBytes: 1 << 20})
	m := hardware{target: b.target, disk: newDisk(t)}
	f := &fabric{t, b.rack, m.disk, startQEMU(t, m)}
	n := f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "NVME", SizeBytes: 1 << 20, EraseSeconds: 15})
	g := f.g
	g.connect(n, "ctrl_loss_tmo=3")
	g.serve(false)
	r := record(n, func(decide func(uint16, *nvme.Command) fate) func(uint16, *nvme.Command) fate {
		return func(queue uint16, c *nvme.Command) fate {
			then := decide(queue, c)
			if then == dropped {
				n.cut(true)
			}
			return then
		}
	}(once(2, dropped, statusLogs())))
	erased := g.begin(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase, AllowFabric: true}, "NVME")
	written := g.begin(overwrite, "SCSI")
	g.becomes(erased, api.JobInterrupted)
	h := asked[api.Health](g, http.StatusOK, "GET", "/v1/health", nil)
	if h.HotPlug != string(devices.ChangesByKernel) || h.SafeToPowerOff {
		t.Errorf("%+v", h)
	}
	g.uncertified("NVME")
	g.proven(written, sanitize.Clear, sanitize.HostOverwrite)
	if left, hidden := b.left("SCSI"); left != 0 || hidden == 0 {
		t.Errorf("%d canaries that the host can address, %d that it cannot", left, hidden)
	}
	n.powerOff()
	if err := errors.Join(b.rack.PowerCycle("NVME"), n.powerOn()); err != nil {
		t.Fatal(err)
	}
	g.connectPath(n)
	if c := g.proven(erased, sanitize.Purge, sanitize.BlockErase); c[0].Device.Fabric != "tcp" {
		t.Errorf("certificate: %+v", c[0].Device)
	}
	medium := f.medium(t, "NVME")
	if begun := medium.Begun(); !slices.Equal(begun, []string{"84:00000002"}) || r.of(nvme.Admin, opSanitize) != 1 {
		t.Errorf("the drive began %q, %d commands were sent", begun, r.of(nvme.Admin, opSanitize))
	}
	if blank, err := medium.Blank(); err != nil || !blank {
		t.Errorf("the medium is not erased: %v", err)
	}
	if addressable, hidden := left(t, medium); addressable+hidden != 0 {
		t.Errorf("%d canaries that the host can address, %d that it cannot", addressable, hidden)
	}
}
