package overwrite

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// adapter is what drives share the bandwidth of; 0 is without end.
type adapter struct {
	mu   sync.Mutex
	rate float64 // bytes a second
	free time.Time
}

// reserve is when so many bytes will have gone through.
func (a *adapter) reserve(n int) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.rate == 0 {
		return now
	}
	if a.free.Before(now) {
		a.free = now
	}
	a.free = a.free.Add(time.Duration(float64(n) / a.rate * float64(time.Second)))
	return a.free
}

// simulated is a drive in virtual time: it moves so many bytes a second, one request after the other, and tells each
// after so long.
type simulated struct {
	adapter
	latency time.Duration
	through *adapter
	hangs   chan struct{} // requests never end before it is closed; nil: they do
	fails   error

	ended    chan blockio.Completion
	inFlight int
}

const simulatedDepth = 17

func (s *simulated) Depth() int   { return simulatedDepth }
func (s *simulated) Close() error { return nil }

func (s *simulated) Submit(r blockio.Request) error {
	at := s.reserve(len(r.Data))
	if through := s.through.reserve(len(r.Data)); through.After(at) {
		at = through
	}
	s.inFlight++
	c := blockio.Completion{Tag: r.Tag, N: len(r.Data), Err: s.fails}
	takes := time.Until(at) + s.latency
	go func() {
		time.Sleep(takes)
		if s.hangs != nil {
			<-s.hangs
		}
		s.ended <- c
	}()
	return nil
}

func (s *simulated) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	select {
	case done[0] = <-s.ended:
		s.inFlight--
		return 1, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

const (
	mega = 1e6
	mib  = 1 << 20
)

// writes fills so many bytes of each drive and returns how long each took in virtual time.
func writes(t *testing.T, size int64, budget int, tuner func(int) *Tuner, drives ...*simulated) []time.Duration {
	t.Helper()
	took := make([]time.Duration, len(drives))
	b := NewBudget(budget)
	var all sync.WaitGroup
	for i, d := range drives {
		d.ended = make(chan blockio.Completion, simulatedDepth)
		if d.through == nil {
			d.through = &adapter{}
		}
		all.Go(func() {
			from := time.Now()
			err := Fill(t.Context(), d, []Extent{{0, size}}, nothing{}, Options{Block: 4096, Budget: b, Tuner: tuner(i)})
			if !errors.Is(err, d.fails) {
				t.Errorf("drive %d: %v", i, err)
			}
			took[i] = time.Since(from)
		})
	}
	all.Wait()
	return took
}

// A drive that needs more in flight gets it, one that needs less gives it up, and nobody is slower for the trying.
func TestTunerFindsWhatADriveNeeds(t *testing.T) {
	for name, x := range map[string]struct {
		rate        float64
		latency     time.Duration
		least, most int // in flight, in the end
	}{
		"a fast drive far away":         {8000 * mega, 2 * time.Millisecond, 16, 16},
		"one that eight keep busy":      {2000 * mega, 3 * time.Millisecond, 8, 16},
		"one that two requests satisfy": {400 * mega, 100 * time.Microsecond, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 6 << 30
				fixed := writes(t, size, 64, func(int) *Tuner { return NewTuner(&Group{}, 8, 8) }, &simulated{adapter: adapter{rate: x.rate}, latency: x.latency})[0]
				tuner := NewTuner(&Group{}, 8, 16)
				tuned := writes(t, size, 64, func(int) *Tuner { return tuner }, &simulated{adapter: adapter{rate: x.rate}, latency: x.latency})[0]
				if tuner.depth < x.least || tuner.depth > x.most || !tuner.settled {
					t.Errorf("%d in flight in the end, want %d to %d", tuner.depth, x.least, x.most)
				}
				if tuned > fixed*102/100 {
					t.Errorf("it took %v, and %v without the trying", tuned, fixed)
				}
			})
		})
	}
}

// Behind an adapter that is busy no drive takes another's share: not by trying, and not for longer than the trial.
func TestCrowdedAdapterIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group, through := &Group{}, &adapter{rate: 2000 * mega}
		var drives []*simulated
		for range 8 {
			drives = append(drives, &simulated{adapter: adapter{rate: 1000 * mega}, latency: time.Millisecond, through: through})
		}
		const size = 1 << 30
		took := writes(t, size, 128, func(int) *Tuner { return NewTuner(group, 8, 16) }, drives...)
		ideal := time.Duration(float64(8*size) / through.rate * float64(time.Second))
		for i, d := range took {
			if d < ideal*80/100 || d > ideal*103/100 {
				t.Errorf("drive %d took %v, its even share is %v", i, d, ideal)
			}
		}
	})
}

// A drive that hangs, one that fails everywhere, and a slow one hold up no other.
func TestSickDrivesHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 256 << 20
		hang := make(chan struct{})
		good := func() *simulated { return &simulated{adapter: adapter{rate: 250 * mega}, latency: time.Millisecond} }
		alone := writes(t, size, 64, func(int) *Tuner { return nil }, good())[0]
		hung, slow := good(), good()
		hung.hangs, slow.rate = hang, mega
		drives := []*simulated{hung, slow}
		for range 20 {
			drives = append(drives, good())
		}
		go func() {
			time.Sleep(time.Hour)
			close(hang)
		}()
		for i, d := range writes(t, size, 64, func(int) *Tuner { return NewTuner(&Group{}, 4, 8) }, drives...)[2:] {
			if d > alone*105/100 {
				t.Errorf("drive %d took %v beside sick ones, %v alone", i, d, alone)
			}
		}
	})
}

// When a settled drive's rate changes for long it is tried again.
func TestTunerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &simulated{adapter: adapter{rate: 40 * mega}, latency: time.Millisecond}
		tuner := NewTuner(&Group{}, 8, 16)
		few := 0
		var once sync.Once
		d.ended = make(chan blockio.Completion, simulatedDepth)
		d.through = &adapter{}
		err := Fill(t.Context(), d, []Extent{{0, 16 << 30}}, nothing{}, Options{Block: 4096, Tuner: tuner, CommitEvery: time.Second, Commit: func(Progress) error {
			if tuner.settled && tuner.usual > 0 {
				once.Do(func() { few, d.latency, d.rate = tuner.depth, 80*time.Millisecond, 800*mega })
			}
			return nil
		}})
		if err != nil || few == 0 || tuner.depth <= few || tuner.depth < 16 {
			t.Errorf("%v: %d in flight at first, %d when it was further away", err, few, tuner.depth)
		}
	})
}

// nothing is a pattern that takes no time.
type nothing struct{}

func (nothing) Fill([]byte, int64)       {}
func (nothing) Equal([]byte, int64) bool { return true }

// A drive that hangs while it is tried does not keep its neighbours from being tried.
func TestTurnOfADriveThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := &Group{}
		far := func() *simulated {
			return &simulated{adapter: adapter{rate: 800 * mega}, latency: 20 * time.Millisecond}
		}
		hung := NewTuner(group, 8, 16)
		for n := 0; group.trying.Load() != hung; n++ {
			hung.ended(time.Now(), 1<<20)
		}
		tuner := NewTuner(group, 8, 16)
		writes(t, 8<<30, 64, func(int) *Tuner { return tuner }, far())
		if tuner.depth != 16 {
			t.Errorf("%d in flight in the end", tuner.depth)
		}
		hung.ended(time.Now(), 1<<20) // it goes on: its trial is over
		if hung.turn || hung.trial != 0 && group.trying.Load() != hung {
			t.Errorf("it tries out of turn: %+v", hung)
		}
	})
}
