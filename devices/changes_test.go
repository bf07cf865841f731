package devices

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// made are messages that a test makes.
type made struct {
	in     chan heard
	broken chan error
	mu     sync.Mutex
	limit  *time.Timer
	closed bool
}

func newMade() *made {
	return &made{in: make(chan heard, 1000), broken: make(chan error, 1), limit: time.NewTimer(time.Hour)}
}

func (m *made) receive() (heard, error) {
	select {
	case err := <-m.broken:
		return heard{}, err
	default:
	}
	select {
	case h := <-m.in:
		return h, nil
	case err := <-m.broken:
		return heard{}, err
	case <-m.limit.C:
		return heard{}, os.ErrDeadlineExceeded
	}
}

func (m *made) deadline(t time.Time) error { m.limit.Reset(time.Until(t)); return nil }

func (m *made) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// names are those of a host, as a test has them.
type shown struct {
	mu   sync.Mutex
	text string
	err  error
}

func (s *shown) set(text string) { s.mu.Lock(); s.text = text; s.mu.Unlock() }

func (s *shown) look() (string, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.text, s.err }

// watching runs a watcher in time that tests make, and gives what it told so far.
func watching(t *testing.T, m messages, s *shown) (told func() []Change, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	var mu sync.Mutex
	var list []Change
	done := make(chan error, 1)
	w := watcher{messages: m, look: s.look, every: 10 * time.Second, log: hclog.NewNullLogger(), Change: Change{Source: ChangesByKernel}}
	go func() {
		done <- w.run(ctx, func(c Change) { mu.Lock(); list = append(list, c); mu.Unlock() })
	}()
	told = func() []Change {
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
	cause := errors.New("enough")
	return told, func() error {
		cancel(cause)
		if err := <-done; !errors.Is(err, cause) {
			return err
		}
		return nil
	}
}

// One change for a burst, none for what is no drive's, one for what was lost, and for what no message told of.
func TestBurstsAreOneChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMade(), &shown{text: "a"}
		told, end := watching(t, m, s)
		expect := func(what string, want ...Change) {
			t.Helper()
			got := told()
			for i := range got {
				got[i].Source = ""
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %+v, want %+v", what, got, want)
			}
		}
		list := []Change{{Begun: true}}
		expect("it has begun", list...)
		for range 60 {
			m.in <- heard{counts: true}
			m.in <- heard{}
		}
		list = append(list, Change{Events: 60})
		expect("a burst", list...)
		m.in <- heard{}
		expect("of something else", list...)
		m.in <- heard{counts: true, lost: true}
		list = append(list, Change{Lost: true})
		expect("more than was kept", list...)
		m.in <- heard{counts: true, malformed: true}
		list = append(list, Change{Events: 1, Malformed: 1})
		expect("cannot be read", list...)

		s.set("b")
		time.Sleep(20 * time.Second)
		list = append(list, Change{Names: true})
		expect("told by no message", list...)
		time.Sleep(time.Hour)
		expect("nothing happens", list...)

		// Messages of something else, without an end, do not keep it from looking.
		stop := time.Now().Add(30 * time.Second)
		s.set("c")
		for time.Now().Before(stop) {
			m.in <- heard{}
			time.Sleep(50 * time.Millisecond)
		}
		list = append(list, Change{Names: true})
		expect("in a flood of others", list...)

		// A burst without an end is told in its course.
		for range 100 {
			m.in <- heard{counts: true}
			time.Sleep(50 * time.Millisecond)
		}
		if got := len(told()) - len(list); got < 10 {
			t.Errorf("five seconds of messages made %d changes", got)
		}
		asked := time.Now()
		if err := end(); err != nil || !m.closed || time.Since(asked) > 0 {
			t.Errorf("%v, closed %v, after %v in the test's own time", err, m.closed, time.Since(asked))
		}
	})
}

// A socket that breaks is a change, and names are looked at from then on.
func TestBrokenSocketFallsBackToNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMade(), &shown{text: "a"}
		told, end := watching(t, m, s)
		told()
		cut := errors.New("cut")
		m.broken <- cut
		got := told()
		if len(got) != 2 || !got[1].Lost || got[1].Source != ChangesByNames || !errors.Is(got[1].Why, cut) || !m.closed {
			t.Fatalf("%+v", got)
		}
		time.Sleep(time.Minute)
		s.set("b")
		time.Sleep(time.Minute)
		if got = told(); len(got) != 3 || !got[2].Names || got[2].Source != ChangesByNames || !errors.Is(got[2].Why, cut) {
			t.Fatalf("%+v", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestHostThatCannotBeWatched(t *testing.T) {
	err := NewHost(t.TempDir(), nil, nil).Changes(t.Context(), func(Change) { t.Error("it has begun") })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: a host without /sys/block is not one on which nothing changes", err)
	}
}
