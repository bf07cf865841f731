package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// recentMost is how many records of a job are kept in memory for those who watch. Whoever is further behind reads the journals.
const recentMost = 1024

// hub lets many watch one running job. It never waits for any of them: they come and take what is new.
type hub struct {
	job     string
	drives  []sanitize.DrivePlan
	journal func(sanitize.DrivePlan) string

	mu       sync.Mutex // guards the rest
	counts   []int64    // of each drive, the records that came
	before   []int64    // of each drive, the records that came before the first of recent
	recent   []told     // in the order in which they came
	first    int64      // how many came before recent
	ends     []api.Event
	over     bool
	ticks    int64
	progress []api.Event // as of the last tick
	changed  chan struct{}
}

// told is a record as it is told: by which drive, which of its records, and how many of each drive there are with it.
type told struct {
	drive int
	seq   int64
	event api.Event
}

func newHub(job string, drives []sanitize.DrivePlan, file func(sanitize.DrivePlan) string) (*hub, error) {
	h := &hub{job: job, drives: drives, journal: file, counts: make([]int64, len(drives)), changed: make(chan struct{})}
	for i, d := range drives {
		records, err := readJournal(file(d))
		if err != nil {
			// The drive's own outcome says that its journal is damaged: nothing of it can be told.
			continue
		}
		h.counts[i] = int64(len(records))
	}
	h.before = slices.Clone(h.counts)
	return h, nil
}

// readJournal reads the records of a journal; none when there is no journal yet.
func readJournal(file string) ([]journal.Record, error) {
	parsed, err := journal.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return parsed.Records, err
}

func (h *hub) index(id devices.ID) int {
	return slices.IndexFunc(h.drives, func(d sanitize.DrivePlan) bool { return d.ID == id })
}

// came is how many records of each drive came.
func (h *hub) came() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.counts)
}

// record tells a record that is on disk. Those before it that nobody told are read from there.
func (h *hub) record(id devices.ID, r journal.Record) error {
	i := h.index(id)
	if i < 0 {
		return fmt.Errorf("drive %s is not of job %s", id, h.job)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Seq > h.counts[i]+1 {
		if err := h.catchUp(i, r.Seq-1); err != nil {
			return err
		}
	}
	if r.Seq == h.counts[i]+1 {
		h.add(i, r)
	}
	h.wake()
	return nil
}

// catchUp adds the records up to one from the journal.
func (h *hub) catchUp(i int, upTo int64) error {
	records, err := readJournal(h.journal(h.drives[i]))
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Seq > h.counts[i] && r.Seq <= upTo {
			h.add(i, r)
		}
	}
	return nil
}

func (h *hub) add(i int, r journal.Record) {
	h.counts[i] = r.Seq
	e := recordEvent(h.job, h.drives[i], r)
	e.Cursor = cursor(h.counts).of(h.job)
	if len(h.recent) >= recentMost {
		gone := recentMost / 2
		for _, t := range h.recent[:gone] {
			h.before[t.drive] = t.seq
		}
		h.recent, h.first = slices.Clone(h.recent[gone:]), h.first+int64(gone)
	}
	h.recent = append(h.recent, told{i, r.Seq, e.Encoded()})
}

func recordEvent(job string, d sanitize.DrivePlan, r journal.Record) api.Event {
	at := r.Time
	return api.Event{Type: api.EventRecord, Job: job, ID: d.ID, Serial: d.Serial, Seq: r.Seq, Time: &at, Kind: r.Kind, Data: r.Data}
}

// wake lets those who watch look. It is called with mu held.
func (h *hub) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *hub) driveEnded(r agent.DriveResult) error {
	i := h.index(r.Drive.ID)
	if i < 0 {
		return fmt.Errorf("drive %s is not of job %s", r.Drive.ID, h.job)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if r.Evidence != nil {
		err = h.catchUp(i, r.Evidence.JournalRecords)
	}
	d := api.DriveOf(r)
	h.ends = append(h.ends, api.Event{Type: api.EventDrive, Job: h.job, ID: d.ID, Serial: d.Serial, Drive: &d, Cursor: cursor(h.counts).of(h.job)}.Encoded())
	h.wake()
	return err
}

func (h *hub) tick(progress []api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ticks++
	h.progress = progress
	h.wake()
}

func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.wake()
}

// watcher is somebody who watches: what they have seen, and how far they are in what the hub has.
type watcher struct {
	seen  cursor
	at    int64 // of what came, how much was taken
	ends  int
	ticks int64
}

// news is what came since a watcher looked last.
type news struct {
	records  []told
	behind   cursor // the records up to here are to be read from the journals first
	ends     []api.Event
	progress []api.Event
	over     bool
	changed  <-chan struct{}
}

func (h *hub) take(w *watcher) news {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := news{over: h.over, changed: h.changed}
	if w.at < h.first || w.at == 0 {
		// Behind what is kept, or new here.
		n.behind = slices.Clone(h.before)
		w.at = h.first
	}
	n.records = slices.Clone(h.recent[w.at-h.first:])
	w.at = h.first + int64(len(h.recent))
	n.ends, w.ends = slices.Clone(h.ends[w.ends:]), len(h.ends)
	if w.ticks != h.ticks {
		n.progress, w.ticks = h.progress, h.ticks
	}
	return n
}

// watch tells a watcher what happens until the job is over or ctx ends. It returns false when the watcher has gone.
func (h *hub) watch(ctx context.Context, w *watcher, yield func(api.Event, error) bool) bool {
	w.at, w.ends, w.ticks = 0, 0, 0 // what was taken was another run's: what was seen counts
	for {
		n := h.take(w)
		if n.behind != nil {
			if !replay(h.job, h.drives, h.journal, w.seen, n.behind, yield) {
				return false
			}
		}
		for _, t := range n.records {
			if t.seq <= w.seen[t.drive] {
				continue
			}
			w.seen[t.drive] = t.seq
			e := t.event
			if c := w.seen.of(h.job); c != e.Cursor {
				e = e.At(c) // this watcher has seen more of other drives
			}
			if !yield(e, nil) {
				return false
			}
		}
		for _, e := range slices.Concat(n.ends, n.progress) {
			if !yield(e, nil) {
				return false
			}
		}
		if n.over {
			return true
		}
		select {
		case <-ctx.Done():
			yield(api.Event{}, context.Cause(ctx))
			return false
		case <-n.changed:
		}
	}
}

// replay tells the records of journals after what was seen, up to others; nil is all there are.
func replay(job string, drives []sanitize.DrivePlan, file func(sanitize.DrivePlan) string, seen, upTo cursor, yield func(api.Event, error) bool) bool {
	for i, d := range drives {
		if upTo != nil && upTo[i] <= seen[i] {
			continue
		}
		records, err := readJournal(file(d))
		if err != nil {
			continue // its outcome says so
		}
		for _, r := range records {
			if r.Seq <= seen[i] || upTo != nil && r.Seq > upTo[i] {
				continue
			}
			seen[i] = r.Seq
			e := recordEvent(job, d, r)
			e.Cursor = seen.of(job)
			if !yield(e, nil) {
				return false
			}
		}
	}
	return true
}
