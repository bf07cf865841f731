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
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

// How often progress is told: on a terminal, and elsewhere.
const (
	terminalEvery = 250 * time.Millisecond
	plainEvery    = 30 * time.Second
	streamEvery   = time.Second
	endsEvery     = time.Second // drives of many that ended well, together
)

// speaker begins every line for people.
const speaker = "expunge: "

// progress tells how far the drives of a run have come. Drives report through meters; one
// goroutine reads them.
type progress struct {
	app      *app
	terminal bool
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu    sync.Mutex // guards the rest
	order map[devices.ID]int
	// what is to be done to each
	expected map[devices.ID]sanitize.DrivePlan
	drives   []*metered // at work, in the order of the plan
	good     int        // have ended, and nothing is left to do
	trouble  []string   // the others that have ended, a line each
	untold   []string   // have ended well since the last line about that
	lines    int        // drawn on the terminal
}

// follow begins to tell progress.
func (a *app) follow() *progress {
	p := &progress{app: a, terminal: onTerminal(a.stderr), stop: make(chan struct{}), order: map[devices.ID]int{}, expected: map[devices.ID]sanitize.DrivePlan{}}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	// Whoever reads what is printed may go first, as when a terminal is closed. That does not end what is under way, nor does it change
	// an exit status that is not 0.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	every := plainEvery
	switch {
	case a.json == "stream":
		every, p.terminal = streamEvery, false
	case p.terminal:
		every = terminalEvery
	}
	p.stopped.Go(func() {
		defer signal.Stop(asked)
		tick, ends := time.NewTicker(every), time.NewTicker(endsEvery)
		defer tick.Stop()
		defer ends.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.tell(p.terminal)
			case <-ends.C:
				p.tellEnds()
			case <-asked:
				p.tell(false)
			}
		}
	})
	if p.terminal && a.course != nil {
		a.course.drawing.Store(p)
	}
	return p
}

// expect says which drives a job works on, as far as is known what is done to them.
func (p *progress) expect(drives []sanitize.DrivePlan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range drives {
		p.order[d.ID] = len(p.order)
		p.expected[d.ID] = d
	}
}

// begun is told of a drive that is being worked on.
func (p *progress) begun(id devices.ID, g gauge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.expected[id]
	d.ID = id
	p.drives = append(p.drives, &metered{drive: d, meter: g})
	slices.SortStableFunc(p.drives, func(a, b *metered) int { return p.order[a.drive.ID] - p.order[b.drive.ID] })
}

// endedBy is told of a drive's end.
func (p *progress) endedBy(d api.JobDrive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drives = slices.DeleteFunc(p.drives, func(m *metered) bool { return m.drive.ID == d.ID })
	p.ended(d)
}

// observer tells it of what this process does by itself.
func (p *progress) observer() agent.Observer {
	return agent.Observer{
		Planned: p.expect,
		Begun:   func(d sanitize.DrivePlan, m *sanitize.Meter) { p.begun(d.ID, m) },
		Ended:   func(r agent.DriveResult) { p.endedBy(api.DriveOf(r)) },
	}
}

// ended takes a drive's outcome. What needs somebody is told at once.
func (p *progress) ended(i api.JobDrive) {
	if urgency(i) == 0 {
		p.good++
		p.untold = append(p.untold, i.Serial)
		return
	}
	line := i.Serial + ": " + i.Words
	if i.ExitStatus == exitInternal {
		line += ", and NOT CERTIFIED"
	}
	p.trouble = append(p.trouble, line)
	if p.byEvent() {
		p.app.say("%s (%s)", line, p.count())
	}
}

// byEvent says whether ends are told as they come: there are many drives and nothing is drawn.
func (p *progress) byEvent() bool {
	return len(p.order) > many && !p.terminal && p.app.json != "stream"
}

// count says how many drives have ended.
func (p *progress) count() string {
	text := fmt.Sprintf("%d of %d done", p.good, len(p.order))
	if n := len(p.trouble); n > 0 {
		text += fmt.Sprintf(", %d ended otherwise", n)
	}
	return text
}

// tellEnds tells which drives ended well lately, in one line.
func (p *progress) tellEnds() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.byEvent() || len(p.untold) == 0 {
		return
	}
	const named = 3
	text := strings.Join(p.untold[:min(named, len(p.untold))], ", ")
	if n := len(p.untold) - named; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	p.app.say("%s: done (%s)", text, p.count())
	p.untold = nil
}

// end stops telling and removes what was drawn.
func (p *progress) end() {
	if p.app.course != nil {
		p.app.course.drawing.Store(nil)
	}
	close(p.stop)
	p.stopped.Wait()
	p.tellEnds()
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.app.stderr, p.erasure())
}

// over prints a text for good where the drawing is, which comes again below it.
func (p *progress) over(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.app.stderr, p.erasure()+text)
}

// stopping says whether a signal has told this process to stop what it does itself.
func (p *progress) stopping() bool {
	c := p.app.course
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped && !c.remote
}

// erasure takes the cursor back to where the drawing began, also from behind what a terminal shows of a key (^C).
func (p *progress) erasure() string {
	if p.lines == 0 {
		return ""
	}
	up := fmt.Sprintf("\r\x1b[%dA\x1b[J", p.lines)
	p.lines = 0
	return up
}

// tell says how far the drives are, over what was said last on a terminal.
func (p *progress) tell(redraw bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.app.json == "stream" {
		for _, m := range p.drives {
			p.event(m)
		}
		return
	}
	columns, rows := 0, len(p.drives)+len(p.trouble)+2
	if f, ok := p.app.stderr.(*os.File); ok && redraw {
		columns, rows = terminal.Size(f)
	}
	var b strings.Builder
	room := 0
	if columns > 0 {
		room = max(1, columns-1-len(speaker)) // a line that wraps could not be drawn over
	}
	lines := p.frame(time.Now(), rows-1, room, redraw)
	for _, text := range lines {
		line := []rune(speaker + text)
		if columns > 0 {
			line = line[:min(len(line), columns-1)]
		}
		fmt.Fprintln(&b, string(line))
	}
	if redraw {
		erase := p.erasure()
		p.lines = len(lines)
		fmt.Fprint(p.app.stderr, erase+b.String()) // in one go: it would flicker
		return
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
