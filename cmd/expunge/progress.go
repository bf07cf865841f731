package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

// How often progress is told: on a terminal, and elsewhere.
const (
	terminalEvery = 250 * time.Millisecond
	plainEvery    = 30 * time.Second
	streamEvery   = time.Second
)

// progress tells how far the drives of a run have come. Drives report through meters; one
// goroutine reads them.
type progress struct {
	app      *app
	terminal bool
	stop     chan struct{}
	stopped  sync.WaitGroup
	width    int // of the terminal; the telling goroutine's alone

	mu     sync.Mutex // guards the rest
	drives []*metered
	lines  int // drawn on the terminal
}

type metered struct {
	drive sanitize.DrivePlan
	meter *sanitize.Meter
	last  sanitize.Reading
	at    time.Time
	rate  float64 // bytes per second, smoothed
}

// follow begins to tell progress.
func (a *app) follow() *progress {
	f, ok := a.stderr.(*os.File)
	p := &progress{app: a, terminal: ok && terminal.Is(f), stop: make(chan struct{})}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	every := plainEvery
	switch {
	case a.json == "stream":
		every, p.terminal = streamEvery, false
	case p.terminal:
		every = terminalEvery
	}
	p.stopped.Go(func() {
		defer signal.Stop(asked)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.tell(p.terminal)
			case <-asked:
				p.tell(false)
			}
		}
	})
	return p
}

func (p *progress) observer() agent.Observer {
	return agent.Observer{
		Begun: func(d sanitize.DrivePlan, m *sanitize.Meter) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.drives = append(p.drives, &metered{drive: d, meter: m, at: time.Now()})
		},
		Ended: func(r agent.DriveResult) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.drives = slices.DeleteFunc(p.drives, func(m *metered) bool { return m.drive.ID == r.Drive.ID })
		},
	}
}

// end stops telling and removes what was drawn.
func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	p.erase()
}

func (p *progress) erase() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines > 0 {
		fmt.Fprintf(p.app.stderr, "\x1b[%dA\x1b[J", p.lines)
		p.lines = 0
	}
}

// tell prints one line per drive, over the last ones on a terminal.
func (p *progress) tell(redraw bool) {
	if f, ok := p.app.stderr.(*os.File); ok && redraw {
		p.erase()
		p.width = terminal.Width(f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, m := range p.drives {
		if p.app.json == "stream" {
			p.event(m)
			continue
		}
		line := []rune("expunge: " + m.line(time.Now()))
		if redraw && p.width > 0 {
			line = line[:min(len(line), p.width-1)] // a line that wraps could not be drawn over
		}
		fmt.Fprintln(&b, string(line))
	}
	if redraw {
		p.lines = len(p.drives)
	}
	fmt.Fprint(p.app.stderr, b.String())
}

// event prints a drive's progress as an object.
func (p *progress) event(m *metered) {
	enc := json.NewEncoder(p.app.stdout)
	err := enc.Encode(struct {
		Type   string `json:"type"`
		ID     string `json:"id"`
		Serial string `json:"serial"`
		sanitize.Reading
	}{"progress", string(m.drive.ID), m.drive.Serial, m.meter.Read()})
	if err != nil {
		p.app.say("write progress: %v", err)
	}
}

// line reads the meter: stage, share, rate and how long it will take at that rate.
func (m *metered) line(now time.Time) string {
	r := m.meter.Read()
	switch took := now.Sub(m.at).Seconds(); {
	case r.Stage != m.last.Stage || m.rate == 0:
		// The first reading of a stage: the average since it began.
		if all := now.Sub(r.Since).Seconds(); all > 0 {
			m.rate = float64(r.Done-r.Before) / all
		}
		m.last, m.at = r, now
	case took > 0.1:
		m.rate += 0.3 * (float64(r.Done-m.last.Done)/took - m.rate)
		m.last, m.at = r, now
	}
	if r.Stage == "" {
		return m.drive.Serial + ": starting"
	}
	line := fmt.Sprintf("%s: %s %5.1f %%", m.drive.Serial, r.Stage, 100*float64(r.Done)/float64(max(1, r.Total)))
	if r.ByDrive {
		return line + "  by the drive itself"
	}
	line += fmt.Sprintf("  %s of %s", size(r.Done), size(r.Total))
	if m.rate > 0 {
		left := time.Duration(float64(r.Total-r.Done) / m.rate * float64(time.Second)).Round(time.Second)
		line += fmt.Sprintf("  %s/s  %v left", size(int64(m.rate)), left)
	}
	if r.Bad > 0 {
		line += fmt.Sprintf("  %s BAD", size(r.Bad))
	}
	return line
}
