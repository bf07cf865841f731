package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expunge-dev/expunge/cmd/internal/early"
)

// What a signal does to a command. The first asks it to stop: what only reads ends at once, a job of this process stops resumably, and
// what an agent was asked to do is waited for, since nobody can take that back. The second lets go of what is waited for, or ends the
// process. SIGQUIT counts as both. What is said then, and the exit status, is what the course of the command permits: that nothing was
// begun, where that is certain.

var (
	errStopped = errors.New("stopped by a signal")
	errLetGo   = errors.New("a second signal let go of it")
)

// printsWithin is how long a process that is ended at once takes to say so: whoever reads what it prints may read no more.
const printsWithin = time.Second

// course is how far a command has come, by what its end may say of it. Its zero value is that of a command that has begun nothing.
type course struct {
	mu      sync.Mutex
	verb    string                  // as in the schema of its document
	may     string                  // what may have been begun or done; "" is nothing, for certain
	tells   string                  // where it can be looked up
	letGo   context.CancelCauseFunc // of what an agent was asked to do; nil while nothing is waited for
	remote  bool                    // an agent does what there is to do
	stopped bool                    // the first signal has come
	log     func(words string)      // in place of people
	said    chan struct{}           // closed when the first signal has been spoken of; nil before
	ending  sync.Mutex              // held by who prints the command's end

	drawing atomic.Pointer[progress] // of the terminal, where what is said goes above it; nil while nothing is drawn
}

// asksAgent says whether it is an agent that was asked.
func (c *course) asksAgent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

// anything is what may have been done where nothing is known more exactly.
const anything = "what was asked for may have been done"

// begins says what may have been begun from now on. The error is that the command was stopped before: then nothing of it was.
func (c *course) begins(ctx context.Context, may, tells string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.beginsNow(ctx, may, tells)
}

// beginsNow is begins with mu held.
func (c *course) beginsNow(ctx context.Context, may, tells string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c.may, c.tells = may, tells
	return nil
}

// nothing says that for certain nothing came of what may have begun.
func (c *course) nothing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.may, c.tells = "", ""
}

// asks is begins for what an agent is asked to do. The context for that ends with the second signal; done has it waited for no more.
func (c *course) asks(ctx context.Context, may, tells string) (asking context.Context, done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.beginsNow(ctx, may, tells); err != nil {
		return nil, nil, err
	}
	asking, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.letGo = cancel
	return asking, func() {
		c.mu.Lock()
		c.letGo = nil
		c.mu.Unlock()
		cancel(nil)
	}, nil
}

// end is the problem of a command that a signal has ended.
func (c *course) end() *problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.may == "" {
		return &problem{code: exitSignal, name: "signal", err: fmt.Errorf("%w; nothing was begun", errStopped)}
	}
	return &problem{code: exitInterrupted, name: "signal", err: fmt.Errorf("%w; %s", errStopped, c.may), hint: c.tells}
}

// first stops the command, and returns what is said of that: all that was begun before is known, and what comes after is not begun.
func (c *course) first(cancel context.CancelCauseFunc) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	cancel(errStopped)
	switch {
	case c.letGo != nil:
		return "stopping: the agent was asked, and its answer is waited for (again to go without it)"
	case c.remote:
		return "" // nothing is in flight here that would have to stop
	case c.may == "":
		return "stopping (again to stop at once)"
	}
	return "stopping: what is in flight is waited for (again to stop at once; a job can be resumed then, too)"
}

// again lets go of what an agent was asked to do, and says whether there was such a thing.
func (c *course) again() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.letGo == nil {
		return false
	}
	c.letGo(errLetGo)
	c.letGo = nil // one more ends the process
	return true
}

// signals makes a context that the first signal ends.
func (a *app) signals() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 2)
	signal.Notify(came, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as by nohup
		signal.Notify(came, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		for {
			var s os.Signal
			select {
			case <-done:
				return
			case s = <-came:
			case s = <-early.Quit:
			}
			a.signalled(s, cancel)
		}
	}()
	return ctx, func() {
		signal.Stop(came)
		close(done)
		a.course.mu.Lock()
		said := a.course.said
		a.course.mu.Unlock()
		if said != nil {
			inTime(said)
		}
	}
}

// signalled takes one signal.
func (a *app) signalled(s os.Signal, cancel context.CancelCauseFunc) {
	c := a.course
	c.mu.Lock()
	first, log := !c.stopped, c.log
	c.mu.Unlock()
	if first {
		words := c.first(cancel)
		switch {
		case log != nil:
			log("told to stop: " + s.String())
		case words != "" && s != syscall.SIGQUIT:
			said := make(chan struct{})
			c.mu.Lock()
			c.said = said
			c.mu.Unlock()
			go func() { // who does not read it holds up no further signal
				defer close(said)
				a.say("%s", words)
			}()
		}
	}
	if first && s != syscall.SIGQUIT || c.again() {
		return
	}
	a.endAtOnce()
}

// endAtOnce ends the process. It says so, unless the command is about to say how it ended, or nobody takes what it says.
func (a *app) endAtOnce() {
	p := a.course.end()
	said := make(chan struct{})
	go func() {
		defer close(said)
		a.course.mu.Lock()
		verb, log := a.course.verb, a.course.log
		a.course.mu.Unlock()
		switch {
		case log != nil:
			log("stops at once")
		case verb != "" && a.course.ending.TryLock(): // for good
			a.printEnd(verb, answer{}, p)
		}
	}()
	inTime(said)
	os.Exit(p.code)
}

// inTime waits until something is printed, if somebody reads it.
func inTime(said <-chan struct{}) {
	select {
	case <-said:
	case <-time.After(printsWithin):
	}
}
