package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often the drives' counters are looked at, and so how exact a span is.
const watchEvery = 2 * time.Millisecond

// busyStep is how much a program must move between two looks to be at work: its log is less.
const busyStep = 64 << 10

// watch sees when the drives of a run were at work. Some programs sleep before and after; for those the
// time from the first write to the end of the last request is counted.
type watch struct {
	pid  atomic.Int64 // of the program, when it is one
	stop chan struct{}
	seen chan seen
}

// seen is what a watch saw.
type seen struct {
	span  time.Duration // from the first write to the end of the last request; 0 when there was none
	read  int64         // bytes that the drives were asked to read
	cpu   time.Duration // that the watching took
	error error
}

func watchDrives(loops []Loop) *watch {
	w := &watch{stop: make(chan struct{}), seen: make(chan seen, 1)}
	go func() {
		runtime.LockOSThread()
		w.seen <- w.look(loops)
	}()
	return w
}

func (w *watch) end() seen {
	close(w.stop)
	return <-w.seen
}

func (w *watch) look(loops []Loop) (s seen) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			s.error = errors.Join(s.error, f.Close())
		}
	}()
	for _, l := range loops {
		f, err := os.Open(fmt.Sprintf("/sys/dev/block/%d:%d/stat", loopMajor, l.minor))
		if err != nil {
			return seen{error: err}
		}
		files = append(files, f)
	}
	begin, err := counters(files)
	if err != nil {
		return seen{error: err}
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var first, last time.Time
	before, moved, previous := begin, int64(0), time.Now()
	for stopped := false; !stopped; {
		select {
		case <-tick.C:
		case <-w.stop:
			stopped = true
		}
		now := time.Now()
		c, err := counters(files)
		if err != nil {
			return seen{error: err}
		}
		m := w.moved()
		byItself := m-moved >= busyStep
		if first.IsZero() && (c.written != begin.written || byItself) {
			first = previous
		}
		if c != before || byItself {
			last = now
		}
		if m > 0 {
			moved = m
		}
		before, previous = c, now
	}
	s.read = before.read - begin.read
	if !first.IsZero() {
		s.span = last.Sub(first)
	}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		return seen{error: fmt.Errorf("time of a thread: %w", err)}
	}
	s.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return s
}

// counts is what a drive's counters say, in bytes and requests.
type counts struct{ read, written, flushes int64 }

// counters sums /sys/block/X/stat (Documentation/block/stat.rst): sectors are of 512 bytes.
func counters(files []*os.File) (counts, error) {
	var sum counts
	var line [512]byte
	for _, f := range files {
		n, err := f.ReadAt(line[:], 0)
		if n == 0 {
			return sum, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		fields := bytes.Fields(line[:n])
		if len(fields) < 16 {
			return sum, fmt.Errorf("%s has %d fields", f.Name(), len(fields))
		}
		var v [3]int64
		for i, at := range [...]int{2, 6, 15} {
			if v[i], err = strconv.ParseInt(string(fields[at]), 10, 64); err != nil {
				return sum, fmt.Errorf("%s: %w", f.Name(), err)
			}
		}
		sum.read, sum.written, sum.flushes = sum.read+v[0]*512, sum.written+v[1]*512, sum.flushes+v[2]
	}
	return sum, nil
}

// moved is what the program asked the kernel to read and write, also what went to memory alone. It is 0
// when it cannot be told any more.
func (w *watch) moved() int64 {
	pid := w.pid.Load()
	if pid == 0 {
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	var sum int64
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "rchar" || name == "wchar" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return 0
			}
			sum += n
		}
	}
	return sum
}
