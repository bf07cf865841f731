package e2e

import (
	"os"
	"path/filepath"
	"strings"
)

// targets are the units that others of systemd hang from.
var targets = []string{"basic", "sysinit", "local-fs", "sockets", "multi-user", "shutdown", "umount", "time-sync"}

// startSystemd boots User Mode Linux with systemd as its process 1 and the units of the agent installed; nothing of it is started yet.
// Its state outlives the guest.
func (b *bench) startSystemd(load ...string) *Guest {
	b.t.Helper()
	root := need(b.t, "systemd")
	files := toolsOf(b.t, root, "systemctl")
	for _, dir := range []string{"lib/systemd", "usr/lib/systemd"} {
		for _, name := range []string{"systemd", "systemd-executor"} { // newer ones start programs by the second
			program := filepath.Join(root, dir, name)
			if _, err := os.Stat(program); err != nil {
				continue
			}
			files[filepath.Join(dir, name)] = program
			if err := libraries(files, root, program); err != nil {
				b.t.Skipf("%s: %v", name, err)
			}
		}
		for _, name := range targets {
			unit := filepath.Join(dir, "system", name+".target")
			if _, err := os.Stat(filepath.Join(root, unit)); err == nil {
				files[unit] = filepath.Join(root, unit)
			}
		}
	}
	// A machine without one boots for the first time, and systemd enables what is installed.
	machine := filepath.Join(b.t.TempDir(), "machine-id")
	if err := os.WriteFile(machine, []byte("5d4e9d0c3c5a4f0e9b1f6a7c8d2e3f40\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	files["etc/machine-id"] = machine
	for at, name := range map[string]string{"usr/lib/systemd/system/": "expunge.service", "usr/lib/systemd/system//": "expunge.socket", "etc/expunge/": "agent.yaml"} {
		files[filepath.Join(at, name)] = filepath.Join("../../cmd/expunge/systemd", name)
	}
	return startUML(b.t, b.target, b.share, load, files,
		"systemd=1", "systemd.unit=multi-user.target", "systemd.show_status=0", "systemd.log_target=kmsg", "systemd.log_level=warning")
}

// property is what systemd says of a unit.
func (g *Guest) property(unit, name string) string {
	g.t.Helper()
	return strings.TrimSpace(g.Must("systemctl", "show", "--value", "-p", name, unit))
}
