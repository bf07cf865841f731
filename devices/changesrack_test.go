package devices_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// watch runs Changes until the test ends, and gives each change.
func watch(t *testing.T, host *devices.Host) <-chan devices.Change {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan devices.Change, 1000), make(chan error, 1)
	go func() { done <- host.Changes(ctx, func(c devices.Change) { changes <- c }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watching ended with %v", err)
		}
	})
	return changes
}

// Whoever lists again at each change knows of every drive that came and went.
func TestChangesOfARack(t *testing.T) {
	rack := rackOf(t, nvmeSpec("FIRST"), virtual.Spec{Profile: "sas-hdd", Serial: "A", SizeBytes: 4 << 20, Slot: 1})
	host := rack.Host(nil)
	changes := watch(t, host)
	until := func(what string, want ...string) {
		t.Helper()
		for {
			c := <-changes // a test that gets none ends with its time limit
			drives, err := host.Drives(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var serials []string
			for _, d := range drives {
				serials = append(serials, d.Serial)
			}
			slices.Sort(serials)
			if c.Source != devices.ChangesByNames || c.Why != nil {
				t.Errorf("%+v", c)
			}
			if slices.Equal(serials, want) {
				return
			}
			t.Logf("%s: %+v: %v", what, c, serials)
		}
	}
	until("begun", "A", "FIRST")
	if _, err := rack.Add(nvmeSpec("NEW")); err != nil {
		t.Fatal(err)
	}
	until("added", "A", "FIRST", "NEW")
	pull(t, rack, "A")
	until("pulled", "FIRST", "NEW")
	if err := rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	until("put back", "A", "FIRST", "NEW")
	if len(changes) > 1 {
		t.Errorf("%d changes more, and nothing changed", len(changes))
	}
}
