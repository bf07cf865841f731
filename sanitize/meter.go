package sanitize

import (
	"sync"
	"sync/atomic"
	"time"
)

// Meter tells how far a run has come, for displays. The zero value is ready; its methods may be
// called from any goroutine. It is never evidence: the journal is.
type Meter struct {
	moved atomic.Int64 // bytes since begin
	bad   atomic.Int64 // bytes failed or mismatched, in all

	mu     sync.Mutex // guards the rest
	stage  string
	total  int64
	before int64 // done in earlier attempts
	since  time.Time
	own    bool // the drive does it
	pace   string
	warm   [2]*int64 // degrees Celsius of the drive, and the limit that its pace is for
}

// Reading is what a Meter says at one moment.
type Reading struct {
	Stage string `json:"stage"` // "pass 1/3", "verify"; empty before the first step
	Done  int64  `json:"done_bytes"`
	Total int64  `json:"total_bytes"`
	Bad   int64  `json:"bad_bytes"`
	// Since is when the stage began, and Before what had been done of it by then: the average rate
	// is (Done - Before) over the time since.
	Since  time.Time `json:"since"`
	Before int64     `json:"before_bytes"`
	// ByDrive: the drive does it, and Done and Total are shares of its own progress, not bytes.
	ByDrive bool `json:"by_drive,omitempty"`
	// Pace is "slowed" or "paused" while the drive is too warm to be worked as fast as it could be.
	Pace string `json:"pace,omitempty"`
	// TemperatureC and LimitC are how warm it was then, and its own limit, where it told them.
	TemperatureC *int64 `json:"temperature_c,omitempty"`
	LimitC       *int64 `json:"limit_c,omitempty"`
}

func (m *Meter) begin(stage string, total, before int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stage, m.total, m.before, m.since, m.own, m.pace = stage, total, before, time.Now(), false, ""
	m.warm = [2]*int64{}
	m.moved.Store(0)
}

// wholeProgress is what a drive counts its progress to (NVMe base 2.0, SPROG).
const wholeProgress = 1 << 16

// beginOwn begins a stage that the drive itself carries out.
func (m *Meter) beginOwn(stage string) {
	m.begin(stage, wholeProgress, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = true
}

// setPace says that heat slows the stage, or stops it.
func (m *Meter) setPace(pace string, degrees, limit *int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pace, m.warm = pace, [2]*int64{degrees, limit}; pace == PaceFull {
		m.pace, m.warm = "", [2]*int64{}
	}
}

// set says how far a stage is that the drive itself carries out.
func (m *Meter) set(done int64) { m.moved.Store(done) }

// Read reads the meter.
func (m *Meter) Read() Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := min(m.before+m.moved.Load(), m.total)
	return Reading{m.stage, done, m.total, m.bad.Load(), m.since, m.before, m.own, m.pace, m.warm[0], m.warm[1]}
}
