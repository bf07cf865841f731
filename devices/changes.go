package devices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ChangeSource says how changes of a host's drives are seen.
type ChangeSource string

const (
	// ChangesByKernel: the kernel tells of them as they happen; names are looked at as well, rarely.
	ChangesByKernel ChangeSource = "kernel"
	// ChangesByNames: the names of drives in sysfs are looked at again and again.
	ChangesByNames ChangeSource = "names"
)

// Change says that the drives of a host may not be what they were: whoever listens lists them again.
type Change struct {
	// Begun marks the first: nothing need have changed, but what changes from now on is told.
	Begun  bool
	Source ChangeSource
	Why    error // why not by the kernel; nil when by it, or on a rack

	// What follows is for logs; each of it is a change.
	Events    int  // messages of the kernel that were taken together
	Malformed int  // of them, those that could not be read
	Lost      bool // there were more messages than could be kept
	Names     bool // the drives' names, sizes or slots are others
}

// How often names are looked at, and how long after the first message of a burst others are taken together with it.
const (
	everyRack   = 500 * time.Millisecond
	everyAlone  = 3 * time.Second
	everyBeside = 10 * time.Second // slots are filled in without a message, and messages may not reach a container
	taken       = 200 * time.Millisecond
)

// Changes calls changed once when it has begun to watch, and then each time that drives of the host came, went or
// changed, until ctx ends; it returns the cause of that. Many changes in a short time are one call, and what happens
// while changed runs makes another call after it. A change that is told need not be one of the drives'.
//
// On a real host the kernel's messages are listened to, and where they cannot be had names are looked at every few
// seconds; Change says which. On a rack names are looked at. The error is that of a host whose drives cannot be
// listed at all. No drive is opened.
func (h *Host) Changes(ctx context.Context, changed func(Change)) error {
	w := watcher{look: h.fs.look, every: everyRack, log: h.log, Change: Change{Source: ChangesByNames}}
	if filepath.Clean(h.fs.root) == "/" {
		m, err := openUevents()
		if err != nil {
			w.every, w.Why = everyAlone, err
		} else {
			w.messages, w.every, w.Source = m, everyBeside, ChangesByKernel
		}
	}
	return w.run(ctx, changed)
}

// messages are those of the kernel, one at a time.
type messages interface {
	// receive waits for the next; the error is os.ErrDeadlineExceeded after the deadline, which may be moved meanwhile.
	receive() (heard, error)
	deadline(time.Time) error
	io.Closer
}

// watcher is one call of Changes.
type watcher struct {
	messages messages // nil: names alone
	look     func() (string, error)
	every    time.Duration // between looks at names
	log      hclog.Logger
	Change   // the next one to be told
}

func (w *watcher) run(ctx context.Context, changed func(Change)) (err error) {
	defer func() {
		if w.messages != nil {
			err = errors.Join(err, w.messages.Close())
		}
	}()
	seen, err := w.look()
	if err != nil {
		return fmt.Errorf("watch drives: %w", err)
	}
	w.log.Info("watching for drives", "by", string(w.Source), "err", w.Why)
	w.Begun = true
	w.tell(changed)
	next := time.Now().Add(w.every)
	for {
		quiet, err := w.wait(ctx, next)
		if err != nil {
			return err
		}
		if quiet {
			next = time.Now().Add(w.every)
			// What cannot be looked at is a name like any other: it is told once, and the listing says what is wrong.
			if now, _ := w.look(); now == seen {
				continue
			}
		} else if w.Events == 0 && !w.Lost {
			continue // of something else
		}
		for end := time.Now().Add(taken); ; {
			if quiet, err = w.wait(ctx, end); err != nil {
				return err
			} else if quiet {
				break
			}
		}
		now, _ := w.look() // once more: a file that was being written is no change
		w.Names = now != seen
		if seen = now; w.Names || w.Events > 0 || w.Lost {
			w.tell(changed)
		}
	}
}

// tell hands the change over, and begins another.
func (w *watcher) tell(changed func(Change)) {
	changed(w.Change)
	w.Change = Change{Source: w.Source, Why: w.Why}
}

// wait notes the next message, or is quiet when there is none until then.
func (w *watcher) wait(ctx context.Context, until time.Time) (quiet bool, err error) {
	if w.messages == nil {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-timer.C:
			return true, nil
		}
	}
	if err = w.messages.deadline(until); err == nil {
		// After the deadline is set, so that an end of ctx ends the wait whenever it comes.
		socket := w.messages
		stop := context.AfterFunc(ctx, func() {
			_ = socket.deadline(time.Unix(1, 0)) // fails when it is closed, and nobody waits then
		})
		var m heard
		m, err = socket.receive()
		stop()
		if err == nil && m.counts {
			w.note(m)
		}
	}
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return true, nil
	case err != nil:
		err = fmt.Errorf("kernel events ended: %w", errors.Join(err, w.messages.Close()))
		w.log.Warn("watching for drives by their names alone", "err", err)
		w.messages, w.every = nil, everyAlone
		w.Source, w.Why, w.Lost = ChangesByNames, err, true
	}
	return false, nil
}

func (w *watcher) note(m heard) {
	w.Lost = w.Lost || m.lost
	if m.lost {
		return
	}
	w.Events++
	if m.malformed {
		w.Malformed++
	}
}

// look is all that names tell of a host's drives, as one text: block devices with the number of their medium and their
// size, NVMe controllers, and which slots hold what. It opens no device and sends no command. The text is another one
// when something cannot be read.
func (s sysfs) look() (string, error) {
	var b strings.Builder
	blocks, err := names(s.root, "sys/block")
	if err == nil {
		_, err = os.Stat(s.path("sys/block"))
	}
	for _, name := range blocks {
		dir := s.path("sys/block", name)
		fmt.Fprintf(&b, "%q %q %q %q\n", name, text(dir, "dev"), text(dir, "diskseq"), text(dir, "size"))
	}
	controllers, failed := names(s.root, "sys/class/nvme")
	err = errors.Join(err, failed)
	fmt.Fprintf(&b, "%q\n", controllers)
	enclosures, failed := names(s.root, "sys/class/enclosure")
	err = errors.Join(err, failed)
	for _, name := range enclosures {
		slots, failed := names(s.root, "sys/class/enclosure", name)
		err = errors.Join(err, failed)
		for _, slot := range slots {
			if target, err := os.Readlink(s.path("sys/class/enclosure", name, slot, "device")); err == nil {
				fmt.Fprintf(&b, "%q %q %q\n", name, slot, target)
			}
		}
	}
	if err != nil {
		return fmt.Sprintf("%s%v", b.String(), err), fmt.Errorf("look at the names of drives: %w", err)
	}
	return b.String(), nil
}
