package metrics

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// What is read from the Service at each scrape.
var (
	scrapeOK       = desc("scrape_ok", "1 if the agent could be read for this scrape; 0 and some of its gauges are absent.")
	scrapeDuration = desc("scrape_duration_seconds", "How long reading the agent took for this scrape.")
	halted         = desc("halted", "1 while the agent begins nothing destructive because somebody halted it.")
	degraded       = desc("degraded", "1 while the agent has problems that somebody should look at.")
	simulated      = desc("simulated", "1 if the host is a rack of virtual drives.")
	safeToPowerOff = desc("safe_to_power_off", "1 while nothing is at work and all records are on stable media.")
	started        = desc("start_time_seconds", "When the agent was started.")
	atWork         = desc("running_drives", "Drives that the agent is at work on.")
	driveInfo      = desc("drive_info", "Always 1; the labels say which drive a device is.", "device", "bus", "model", "firmware", "serial")
	drives         = desc("drives", "Drives of the host, by what they could be chosen for.", "state")
	notReached     = desc("drives_not_reached", "What the host has and no node reaches.")
	jobStates      = desc("jobs", "Jobs that the agent keeps, by how they stand.", "state")
	temperature    = desc("drive_temperature_celsius", "How warm a drive was that is worked on, by itself.", "device")
	limit          = desc("drive_temperature_limit_celsius", "The temperature limit of a drive that is worked on, by itself.", "device")
	paced          = desc("drive_slowed", "1 while a drive is too warm to be worked as fast as it could be.", "device")
	progress       = desc("drive_stage_progress_ratio", "How much of its present stage is done, of a drive that is worked on.", "device")
	bad            = desc("drive_bad_bytes", "Bytes that could not be written or read, of a drive that is worked on.", "device")
)

// read is what a Service said within the time limit. What is nil could not be read.
type read struct {
	health *api.Health
	drives *api.Drives
	jobs   []api.Job
	ok     bool
	took   time.Duration
}

// read asks the Service for everything. A Service that ignores its limit holds up the scrapes after
// this one, which say that they could not read, and never more than one goroutine.
func (m *Metrics) read(ctx context.Context) read {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	begun := time.Now()
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		m.log.Warn("agent could not be read for a scrape", "err", ctx.Err(), "took", time.Since(begun))
		return read{took: time.Since(begun)}
	}
	// Health is the cheapest and drives are the dearest: what was read before the limit is told.
	parts := make(chan func(*read), 3)
	go func() {
		defer func() { <-m.turn }()
		defer close(parts)
		if h, err := m.svc.Health(ctx); m.could("health", err) {
			parts <- func(r *read) { r.health = &h }
		}
		if j, err := m.svc.Jobs(ctx); m.could("jobs", err) {
			parts <- func(r *read) { r.jobs = append([]api.Job{}, j...) }
		}
		if d, err := m.svc.Drives(ctx); m.could("drives", err) {
			parts <- func(r *read) { r.drives = &d }
		}
	}()
	var r read
	for open := true; open; {
		var part func(*read)
		select {
		case part, open = <-parts:
			if open {
				part(&r)
			}
		case <-ctx.Done():
			open = false
		}
	}
	r.ok, r.took = r.health != nil && r.jobs != nil && r.drives != nil, time.Since(begun)
	return r
}

// could says whether a part could be read, and the log why not.
func (m *Metrics) could(part string, err error) bool {
	if err != nil {
		m.log.Warn("agent could not be read for a scrape", "part", part, "err", err)
	}
	return err == nil
}

// gatherer reads the agent for one scrape.
func (m *Metrics) gatherer(ctx context.Context) prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	s := &sheet{seen: map[string]bool{}}
	s.fill(m.read(ctx), m)
	if err := registry.Register(s); err != nil {
		m.log.Error("gauges could not be registered", "err", err)
	}
	return prometheus.Gatherers{m.registry, registry}
}

// sheet is the gauges of one scrape.
type sheet struct {
	metrics []prometheus.Metric
	seen    map[string]bool
}

// Describe describes nothing: which gauges there are depends on what could be read.
func (s *sheet) Describe(chan<- *prometheus.Desc) {}

// Collect hands out what was read.
func (s *sheet) Collect(to chan<- prometheus.Metric) {
	for _, m := range s.metrics {
		to <- m
	}
}

// set adds a gauge; of two with the same labels the first, for Prometheus takes no two.
func (s *sheet) set(d *prometheus.Desc, value float64, labels ...string) {
	for i := range labels {
		labels[i] = label(labels[i])
	}
	key := strings.Join(append([]string{d.String()}, labels...), "\xff")
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	metric, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(d, err)
	}
	s.metrics = append(s.metrics, metric)
}

func (s *sheet) truth(d *prometheus.Desc, yes bool, labels ...string) {
	value := 0.0
	if yes {
		value = 1
	}
	s.set(d, value, labels...)
}

func (s *sheet) fill(r read, m *Metrics) {
	s.truth(scrapeOK, r.ok)
	s.set(scrapeDuration, r.took.Seconds())
	if h := r.health; h != nil {
		s.truth(halted, h.Halted)
		s.truth(degraded, len(h.Problems) > 0 || h.Status == "degraded")
		s.truth(simulated, h.Simulated)
		s.truth(safeToPowerOff, h.SafeToPowerOff)
		s.set(atWork, float64(h.Drives))
		if t, err := time.Parse(time.RFC3339, h.Started); err == nil {
			s.set(started, float64(t.Unix()))
		}
	}
	nodes := map[devices.ID]string{}
	if r.drives != nil {
		s.drives(*r.drives, nodes)
	}
	if r.jobs != nil {
		s.jobs(r.jobs, nodes, m)
	}
}

func (s *sheet) drives(d api.Drives, nodes map[devices.ID]string) {
	states := map[string]int{}
	for _, state := range []devices.State{devices.StateReady, devices.StateInUse, devices.StateSystem, devices.StateBlocked, devices.StateUnreadable} {
		states[string(state)] = 0
	}
	for _, x := range d.Items {
		states[string(x.State)]++
		nodes[x.ID] = nodeOf(x.Nodes)
		s.set(driveInfo, 1, nodeOf(x.Nodes), string(x.Protocol), x.Model, x.Firmware, x.Serial)
	}
	for state, n := range states {
		s.set(drives, float64(n), state)
	}
	s.set(notReached, float64(len(d.NotReached)))
}

func (s *sheet) jobs(jobs []api.Job, nodes map[devices.ID]string, m *Metrics) {
	states := map[string]int{api.JobRunning: 0, api.JobInterrupted: 0, api.JobStopped: 0, api.JobEnded: 0, api.JobUnreadable: 0}
	for _, j := range jobs {
		states[j.State]++
		for _, d := range j.Drives {
			p := d.Progress
			if j.State != api.JobRunning || p == nil {
				continue
			}
			// A plan has the node of its day; the listing has today's.
			device := cmp.Or(nodes[d.ID], nodeOf(d.Nodes))
			m.progress(driveOfJob{j.ID, d.ID}, device, *p)
			degrees, most := m.heat(driveOfJob{j.ID, d.ID}, *p)
			if degrees != nil {
				s.set(temperature, float64(*degrees), device)
			}
			if most != nil {
				s.set(limit, float64(*most), device)
			}
			s.truth(paced, p.Pace != "", device)
			s.set(bad, float64(p.Bad), device)
			if p.Total > 0 {
				s.set(progress, float64(p.Done)/float64(p.Total), device)
			}
		}
	}
	m.forget(jobs)
	for state, n := range states {
		s.set(jobStates, float64(n), state)
	}
}
