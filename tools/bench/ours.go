package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// opened is a drive of ours with its queue.
type opened struct {
	blockio.Queue
	node devices.Transport
}

// openQueue opens a loop device of ours as the program opens a drive.
func openQueue(ctx context.Context, l Loop) (*opened, error) {
	if err := l.Own(); err != nil {
		return nil, err
	}
	node, err := devices.OpenNode(ctx, l.Node, devices.Exclusive)
	if err != nil {
		return nil, err
	}
	// It is held now, so that what is true of it stays so.
	if n := node.Number(); n.Major != loopMajor || n.Minor != l.minor {
		return nil, errors.Join(fmt.Errorf("%s is %v now: %w", l.Node, n, ErrNotOurs), node.Close())
	}
	if err := l.Own(); err != nil {
		return nil, errors.Join(err, node.Close())
	}
	q, err := node.Queue(overwrite.QueueDepth)
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return &opened{q, node}, nil
}

func (o *opened) close() error { return errors.Join(o.Queue.Close(), o.node.Close()) }

// engineName is the row that the others are compared with.
const engineName = "expunge's engine"

// engine writes all drives at once in this process.
func engine() tool {
	return tool{name: engineName, clock: byProcess, does: func(Pass) bool { return true },
		run: func(ctx context.Context, s *set, pass Pass, _ *watch) (time.Duration, error) {
			before, err := usedBy(unix.RUSAGE_SELF)
			if err != nil {
				return 0, err
			}
			shared := overwrite.NewBudget(overwrite.DefaultBudget)
			errs := make([]error, len(s.loops))
			var all sync.WaitGroup
			for i, l := range s.loops {
				all.Go(func() { errs[i] = sanitizeOne(ctx, l, pass, shared) })
			}
			all.Wait()
			after, err := usedBy(unix.RUSAGE_SELF)
			return after - before, errors.Join(append(errs, err)...)
		}}
}

// sanitizeOne does a pass to one drive.
func sanitizeOne(ctx context.Context, l Loop, pass Pass, shared *overwrite.Budget) (err error) {
	pattern, err := patternOf(pass)
	if err != nil {
		return err
	}
	q, err := openQueue(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	all := []overwrite.Extent{{Offset: 0, Length: l.Size}}
	o, done := reckoned(loopBlock, shared, flash())
	if err := overwrite.Fill(ctx, q, all, pattern, o); err != nil {
		return err
	}
	if *done != l.Size {
		return fmt.Errorf("%s: %d of %d bytes were written", l.Node, *done, l.Size)
	}
	if pass != Verify {
		return nil
	}
	if err := q.node.DropCaches(ctx); err != nil {
		return err
	}
	o, done = reckoned(loopBlock, shared, flash())
	if err := overwrite.Check(ctx, q, all, pattern, o); err != nil {
		return err
	}
	if *done != l.Size {
		return fmt.Errorf("%s: %d of %d bytes were read", l.Node, *done, l.Size)
	}
	return nil
}

func patternOf(pass Pass) (overwrite.Pattern, error) {
	if pass == Zeros {
		return overwrite.NewRepeating([]byte{0})
	}
	key := make([]byte, overwrite.KeySize)
	rand.Read(key)
	return overwrite.NewKeystream(key)
}

// flash finds out how many requests a drive without a head needs, as the program does.
func flash() *overwrite.Tuner {
	return overwrite.NewTuner(nil, overwrite.UsualRequests, overwrite.MostRequests)
}

// reckoned are options that count what was done, and end with the first block that was not.
func reckoned(block int, shared *overwrite.Budget, tuner *overwrite.Tuner) (overwrite.Options, *int64) {
	done := new(int64)
	return overwrite.Options{Block: block, Budget: shared, Tuner: tuner, Gone: devices.IsGone, Commit: func(p overwrite.Progress) error {
		if len(p.Failed) > 0 || len(p.Mismatch) > 0 {
			return fmt.Errorf("blocks failed at %v, differ at %v: %v", p.Failed, p.Mismatch, p.Cause)
		}
		*done += overwrite.NewSet(p.Done...).Bytes()
		return nil
	}}, done
}
