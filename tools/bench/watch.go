package main

import (
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

// watchEvery is how often the counters of a drive are looked at, and so how exact a span is. Several drives
// are looked at less often: looking takes time from those that are measured.
const watchEvery = 2 * time.Millisecond

// busyStep is how much a program must move between two looks to be at work: its log is less.
const busyStep = 64 << 10

// watch sees when the drives of a run were at work. Some programs sleep before and after; for those the
// time from the first write to the end of the last request is counted.
type watch struct {
	pid  atomic.Int64 // of the program, when it is one
	stop atomic.Bool
	seen chan seen
}

// seen is what a watch saw.
type seen struct {
	span time.Duration // from the first write to the end of the last request; 0 when there was none
	read int64         // bytes that the drives were asked to read
	idle time.Duration // processor time of the program before its first write
	cpu  time.Duration // that the watching took
	err  error
}

func watchDrives(loops []Loop) *watch {
	w := &watch{seen: make(chan seen, 1)}
	go func() {
		runtime.LockOSThread() // it sleeps in the kernel, and its time is the thread's
		w.seen <- w.look(loops)
	}()
	return w
}

func (w *watch) end() seen {
	w.stop.Store(true)
	return <-w.seen
}

func (w *watch) look(loops []Loop) (s seen) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			s.err = errors.Join(s.err, f.Close())
		}
	}()
	for _, l := range loops {
		f, err := os.Open(fmt.Sprintf("/sys/dev/block/%d:%d/stat", loopMajor, l.minor))
		if err != nil {
			return seen{err: err}
		}
		files = append(files, f)
	}
	began, err := usedBy(unix.RUSAGE_THREAD)
	if err != nil {
		return seen{err: err}
	}
	begin, err := counters(files)
	if err != nil {
		return seen{err: err}
	}
	pause := unix.NsecToTimespec(int64(watchEvery) * int64(1+len(loops)/8))
	var first, last time.Time
	before, moved, previous := begin, int64(0), time.Now()
	for stopped := false; !stopped; {
		if stopped = w.stop.Load(); !stopped {
			_ = unix.Nanosleep(&pause, nil) // woken early, it looks early
		}
		now, spent := time.Now(), w.spent()
		c, err := counters(files)
		if err != nil {
			return seen{err: err}
		}
		m := w.moved()
		byItself := m-moved >= busyStep
		if first.IsZero() && (c.written != begin.written || byItself) {
			first = previous
		}
		if first.IsZero() {
			s.idle = spent
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
	used, err := usedBy(unix.RUSAGE_THREAD)
	s.cpu, s.err = used-began, err
	return s
}

// usedBy is the processor time of this process or of this thread so far, whatever it did before.
func usedBy(who int) (time.Duration, error) {
	var used unix.Rusage
	if err := unix.Getrusage(who, &used); err != nil {
		return 0, fmt.Errorf("ask for processor time: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// spent is the processor time of all threads of the program so far, 0 when it is not one or has ended.
func (w *watch) spent() time.Duration {
	pid := w.pid.Load()
	if pid == 0 {
		return 0
	}
	var t unix.Timespec
	// The clock of another process, CPUCLOCK_SCHED (linux/posix-timers.h).
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// counts is what a drive's counters say, in bytes and requests.
type counts struct{ read, written, flushes int64 }

// counters sums /sys/block/X/stat (Documentation/block/stat.rst): sectors are of 512 bytes.
func counters(files []*os.File) (counts, error) {
	var sum counts
	var line [512]byte
	for _, f := range files {
		n, err := unix.Pread(int(f.Fd()), line[:], 0)
		if err != nil {
			return sum, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		var v [17]int64
		if fields := numbers(line[:n], v[:]); fields < 16 {
			return sum, fmt.Errorf("%s has %d fields", f.Name(), fields)
		}
		sum.read, sum.written, sum.flushes = sum.read+v[2]*512, sum.written+v[6]*512, sum.flushes+v[15]
	}
	return sum, nil
}

// numbers reads decimal numbers with spaces between them and returns how many there were.
func numbers(text []byte, to []int64) (n int) {
	within := false
	for _, b := range text {
		switch digit := b >= '0' && b <= '9'; {
		case digit && !within && n == len(to):
			return n
		case digit && !within:
			to[n], within, n = int64(b-'0'), true, n+1
		case digit:
			to[n-1] = to[n-1]*10 + int64(b-'0')
		default:
			within = false
		}
	}
	return n
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
