package devices_test

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

// The kernel of this machine tells of a loop device that is attached: a file of the test's own, and no drive is opened.
func TestChangesOfThisMachine(t *testing.T) {
	changes := watch(t, devices.NewHost("/", nil, nil))
	c := <-changes
	if !c.Begun {
		t.Fatalf("%+v", c)
	}
	if c.Source != devices.ChangesByKernel {
		t.Skipf("no socket of kernel events can be had here: %v", c.Why)
	}
	devicetest.Loop(t, 1<<20, nil) // skips without root
	for c.Events == 0 {
		c = <-changes // a test that gets none ends with its time limit
	}
	t.Logf("%+v", c)
}
