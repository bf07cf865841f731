package devices_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

func nvmeSpec(serial string) virtual.Spec {
	return virtual.Spec{Profile: "nvme-ssd", Serial: serial, SizeBytes: 4 << 20}
}

// Those who ask while somebody looks get one look together, and it begins after they asked: what came
// meanwhile is in it.
func TestListingsAreSharedAndNeverOld(t *testing.T) {
	rack := rackOf(t, nvmeSpec("A"))
	var looks atomic.Int64
	began, release := make(chan struct{}), make(chan struct{})
	host := devices.NewHost(rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		if node == "/dev/nvme0n1" && looks.Add(1) == 1 {
			close(began)
			<-release
		}
		return rack.Opener()(ctx, node, access)
	}, nil)
	var wait sync.WaitGroup
	wait.Go(func() {
		if list, err := host.Drives(t.Context()); err != nil || len(list) == 0 {
			t.Errorf("the first saw %d drives: %v", len(list), err)
		}
	})
	<-began
	if _, err := rack.Add(nvmeSpec("B")); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := host.Drives(stopped); err == nil {
		t.Error("a listing for somebody who has gone")
	}
	var asked sync.WaitGroup
	for range 40 {
		asked.Add(1)
		wait.Go(func() {
			asked.Done()
			list, err := host.Drives(t.Context())
			if err != nil || len(list) != 2 || list[1].Serial != "B" {
				t.Errorf("%d drives: %v", len(list), err)
				return
			}
			list[0].Reasons = append(list[0].Reasons, devices.Reason{Code: "mine"})
			list[0].Namespaces[0].Node = "mine"
		})
	}
	asked.Wait()
	time.Sleep(50 * time.Millisecond) // all but surely they have all asked; more looks than needed are no fault
	close(release)
	wait.Wait()
	if n := looks.Load(); n < 2 || n > 20 {
		t.Errorf("%d looks for 41 callers", n)
	}
}

// A drive that answers nothing is unreadable. It holds up one listing, and not the next.
func TestListingGoesOnWithoutADriveThatHangs(t *testing.T) {
	rack := rackOf(t, nvmeSpec("A"), nvmeSpec("B"), nvmeSpec("C"))
	release := make(chan struct{})
	host := devices.NewHost(rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		if node == "/dev/nvme1n1" {
			<-release
		}
		return rack.Opener()(ctx, node, access)
	}, nil)
	states := func() (list [3]devices.State, code string, took time.Duration) {
		began := time.Now()
		drives, err := host.Drives(t.Context())
		if err != nil || len(drives) != 3 {
			t.Fatalf("%d drives: %v", len(drives), err)
		}
		for i, d := range drives {
			list[i] = d.State
		}
		if len(drives[1].Reasons) > 0 {
			code = drives[1].Reasons[0].Code
		}
		return list, code, time.Since(began)
	}
	host.Impatient(300 * time.Millisecond)
	want := [3]devices.State{devices.StateReady, devices.StateUnreadable, devices.StateReady}
	if got, code, _ := states(); got != want || code != "unanswered" {
		t.Errorf("%v, %s", got, code)
	}
	host.Impatient(time.Hour)
	if got, code, took := states(); got != want || code != "unanswered" || took > time.Minute {
		t.Errorf("%v, %s after %v", got, code, took)
	}
	close(release)
	want[1] = devices.StateReady
	for range 100 {
		if got, _, _ := states(); got == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the drive answers again, and is not asked")
}
