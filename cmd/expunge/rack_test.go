package main

import (
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
)

// What a virtual drive hides from the host, and what a power cycle does to one.
func TestRackHidesBlocksAndCyclesPower(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rack")
	call(t, exitOK, nil, "rack", "create", dir, "--drives", "0")
	call(t, exitOK, nil, "rack", "add", dir, "--profile", "sata-hdd", "--serial", "HPA", "--size", "4M", "--hpa", "1M")
	call(t, exitOK, nil, "rack", "add", dir, "--profile", "sata-ssd-frozen", "--serial", "ICE", "--size", "4M")
	call(t, exitOK, nil, "rack", "add", dir, "--profile", "sas-hdd", "--serial", "ODD", "--size", "4M", "--block", "520")
	for name, args := range map[string][]string{
		"HPA of a SAS drive": {"--profile", "sas-hdd", "--hpa", "1M"}, "all of it hidden": {"--profile", "sata-hdd", "--size", "4M", "--dco", "4M"},
		"520 of a SATA drive": {"--profile", "sata-hdd", "--block", "520"}, "no size": {"--profile", "sata-ssd", "--ama", "some"},
	} {
		t.Run(name, func(t *testing.T) { call(t, exitUsage, nil, append([]string{"rack", "add", dir}, args...)...) })
	}
	var drives struct{ Items []virtual.Info }
	call(t, exitOK, &drives, "rack", "power-cycle", dir, "ICE")
	if len(drives.Items) != 3 || drives.Items[0].Spec.HPABytes != 1<<20 || drives.Items[2].Spec.LogicalBlock != 520 {
		t.Errorf("%+v", drives.Items)
	}
	call(t, exitNotFound, nil, "rack", "power-cycle", dir, "NOBODY")
}
