package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

var errStopped = errors.New("stopped by a signal")

// signals makes a context that the first SIGINT or SIGTERM ends, so that what runs can stop
// resumably; a person is told so, unless quiet. A second one ends the process at once; a job is resumable then, too.
func signals(stderr io.Writer, quiet *atomic.Bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 2)
	signal.Notify(came, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case <-came:
			}
			if !first {
				os.Exit(exitSignal)
			}
			if !quiet.Load() {
				fmt.Fprintln(stderr, "expunge: stopping: what is in flight is waited for (again to stop at once; the job can be resumed)")
			}
			cancel(errStopped)
		}
	}()
	return ctx, func() { signal.Stop(came); close(done) }
}
