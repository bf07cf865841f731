package devices

import (
	"sync"
	"sync/atomic"
	"testing"
)

// Those whose drives are looked at again at once read the host together, and nobody is told of it as it was before they asked.
func TestLookoutIsOfAfterItWasAsked(t *testing.T) {
	var o lookout[int]
	var host, reads atomic.Int64
	busy, free := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = o.wait(func() (int, error) { close(busy); <-free; return 0, nil }) // somebody who looks already
	}()
	<-busy
	host.Store(1)
	var wait, asked sync.WaitGroup
	for range 40 {
		asked.Add(1)
		wait.Go(func() {
			l := o.join(func() (int, error) { reads.Add(1); return int(host.Load()), nil })
			asked.Done()
			<-l.done
			if l.saw != 1 {
				t.Errorf("told of the host as it was before")
			}
		})
	}
	asked.Wait()
	close(free)
	wait.Wait()
	if n := reads.Load(); n != 1 {
		t.Errorf("%d looks for 40 who waited together", n)
	}
}
