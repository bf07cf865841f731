package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// driveOfJob names a drive in a job.
type driveOfJob struct {
	job string
	id  devices.ID
}

// tally is what was counted of a drive in a job that has not ended, as scrapes know.
type tally struct {
	last     sanitize.Reading
	device   string
	warm     [2]*int64 // how warm it said that it is, and its limit
	written  int64
	verified int64
	worked   bool // this process is, or was, at work on it
	ended    bool // the drive was counted
	closed   bool // and so was its job
}

// Event counts an event once. It is for whoever hands events out, not for each who is given them:
// what is replayed was counted before.
func (m *Metrics) Event(e api.Event) {
	now := time.Now()
	switch {
	case e.Type == api.EventRecord:
		m.records.WithLabelValues(label(e.Kind)).Inc()
		m.recorded(driveOfJob{e.Job, e.ID}, journal.Record{Kind: e.Kind, Data: e.Data})
		if e.Time != nil {
			now = *e.Time
		}
	case e.Type == api.EventProgress && e.Reading != nil:
		m.progress(driveOfJob{e.Job, e.ID}, "", *e.Reading)
	case e.Type == api.EventDrive && e.Drive != nil:
		m.driveEnded(e.Job, *e.Drive)
	case e.Type == api.EventJob && e.Whole != nil:
		m.JobEnded(*e.Whole)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.After(m.last) {
		m.last = now
		m.lastEvent.Set(float64(now.UnixMilli()) / 1e3)
	}
}

// of is the tally of a drive. m.mu is held.
func (m *Metrics) of(k driveOfJob) *tally {
	t := m.tally[k]
	if t == nil {
		t = &tally{}
		m.tally[k] = t
	}
	return t
}

// recorded counts what a record says of errors of its drive. Records say which node that is, too, and how warm it was.
func (m *Metrics) recorded(k driveOfJob, r journal.Record) {
	node := sanitize.NodeOf(r)
	op, errors := sanitize.DeviceErrors(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(k)
	t.worked = true
	if node != "" {
		t.device = label(node)
	}
	if degrees, limit, is := sanitize.HeatOf(r); is {
		t.warm = [2]*int64{degrees, limit}
	}
	if errors > 0 {
		m.deviceErrors.WithLabelValues(cmp.Or(t.device, "none"), op).Add(float64(errors))
	}
}

// heat is how warm a drive was and its limit, as it last told: readings have that only while heat slows it.
func (m *Metrics) heat(k driveOfJob, r sanitize.Reading) (degrees, limit *int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	warm := m.of(k).warm
	return cmp.Or(r.TemperatureC, warm[0]), cmp.Or(r.LimitC, warm[1])
}

// progress counts what was done since the last reading of the same stage.
func (m *Metrics) progress(k driveOfJob, device string, r sanitize.Reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(k)
	t.device = cmp.Or(device, t.device)
	from := r.Before
	if t.last.Stage == r.Stage && t.last.Since.Equal(r.Since) {
		from = t.last.Done
	}
	moved := r.Done - from
	if moved <= 0 || t.ended || t.device == "" {
		// Readings do not say which node it is: the next record of it or the next scrape does, and what moved until then is counted after that.
		return
	}
	t.last = r
	switch {
	case r.ByDrive: // shares of the drive's own progress, not bytes
	case r.Stage == "verify":
		m.verified.WithLabelValues(t.device).Add(float64(moved))
		t.verified += moved
	case r.Stage != "markers":
		m.written.WithLabelValues(t.device).Add(float64(moved))
		t.written += moved
	}
}

// driveEnded counts a drive of a job that has come to an end, once. One that is interrupted has not.
func (m *Metrics) driveEnded(job string, d api.JobDrive) {
	if d.Outcome == sanitize.Interrupted {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(driveOfJob{job, d.ID})
	if t.ended {
		return
	}
	t.ended = true
	m.jobDrives.WithLabelValues(method(d), label(string(d.Outcome))).Inc()
	// The readings missed what came after the last of them. The evidence has it, and where there was one
	// attempt, which this process made, all of it was this process's.
	if device := cmp.Or(t.device, nodeOf(d.Nodes)); d.Attempts == 1 && t.worked {
		m.written.WithLabelValues(device).Add(float64(max(0, d.BytesWritten-t.written)))
		if d.Verification != nil {
			m.verified.WithLabelValues(device).Add(float64(max(0, d.Verification.Bytes-t.verified)))
		}
	}
}

// JobEnded counts a job that nobody is at work on any more. One that is interrupted and resumed counts
// each time. Its drives were counted by the events of their ends: of those that ended in an earlier
// process this one has none.
func (m *Metrics) JobEnded(j api.Job) {
	if len(j.Drives) == 0 {
		return
	}
	seconds, how := 0.0, method(j.Drives[0])
	for _, d := range j.Drives {
		seconds = max(seconds, d.Seconds)
		if method(d) != how {
			how = "mixed"
		}
	}
	worst := slices.MinFunc(j.Drives, func(a, b api.JobDrive) int { return cmp.Compare(weight(a.Outcome), weight(b.Outcome)) }).Outcome
	m.jobs.WithLabelValues(how, label(string(worst))).Inc()
	if j.State != api.JobEnded {
		return
	}
	m.duration.WithLabelValues(how, label(string(worst))).Observe(seconds)
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.tally {
		t.closed = t.closed || k.job == j.ID
	}
}

// forget drops what was counted of jobs of which both this and a list say that they have ended. Not
// before: a list that was read while a job ended may still say how far it was, and that was counted.
func (m *Metrics) forget(jobs []api.Job) {
	ended := map[string]bool{}
	for _, j := range jobs {
		ended[j.ID] = j.State == api.JobEnded
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.tally {
		if ended[k.job] && t.closed {
			delete(m.tally, k)
		}
	}
}

// weight orders outcomes, the worst first. What nobody knows is the worst.
func weight(o sanitize.Outcome) int {
	order := []sanitize.Outcome{sanitize.Unknown, sanitize.Unproven, sanitize.Failed, sanitize.Interrupted, sanitize.Exceptions, sanitize.RefusedRun, sanitize.Sanitized}
	return slices.Index(order, o)
}

// method is what was achieved on a drive: "none" where nothing was.
func method(d api.JobDrive) string { return label(cmp.Or(string(d.Method), "none")) }

// nodeOf is the node that a drive is labelled by, "none" where the host has none for it.
func nodeOf(nodes []string) string {
	if len(nodes) == 0 {
		return "none"
	}
	return label(nodes[0])
}
