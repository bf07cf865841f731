// Package metrics is what Prometheus sees of an agent: a registry of its own with counters that the
// agent feeds, and gauges that are read from its Service at each scrape. docs/metrics.md lists them all.
//
// It judges nothing and asks no drive: what a gauge says is what the Service said. What could not be
// read is absent, never zero, and expunge_scrape_ok is then 0.
//
// A surprise: series that change often are labelled by device node alone. Which drive that is, says
// expunge_drive_info, so that a serial number is in one series and not in a hundred.
package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/slogadapter"
	"github.com/expunge-dev/expunge/sanitize"
)

// DefaultTimeout is how long a scrape waits for the Service: half of Prometheus' own limit of 10 s, so
// that what could be read still arrives.
const DefaultTimeout = 5 * time.Second

// Options are what a Metrics may be told. The zero value works.
type Options struct {
	Version   string        // of the program, for expunge_build_info
	GoVersion string        // that it was built with
	Timeout   time.Duration // of a scrape; 0 is DefaultTimeout
	Log       hclog.Logger  // hears of scrapes that could not be answered whole; nil hears nothing
}

// Metrics counts what an agent does. Its methods can be called from everywhere at once, and none of
// them waits for a scrape.
type Metrics struct {
	svc      api.Service
	timeout  time.Duration
	log      hclog.Logger
	registry *prometheus.Registry
	turn     chan struct{} // is full while a scrape reads the Service

	written, verified, deviceErrors, jobs, jobDrives, certificates *prometheus.CounterVec
	decisions, requests, refusals, records, audit                  *prometheus.CounterVec
	duration                                                       *prometheus.HistogramVec
	watchers, lastEvent                                            prometheus.Gauge

	mu    sync.Mutex
	tally map[driveOfJob]*tally
	last  time.Time // of the last event
}

// New makes the metrics of an agent.
func New(svc api.Service, o Options) *Metrics {
	m := &Metrics{svc: svc, timeout: o.Timeout, log: o.Log, registry: prometheus.NewRegistry(), turn: make(chan struct{}, 1), tally: map[driveOfJob]*tally{}}
	if m.timeout <= 0 {
		m.timeout = DefaultTimeout
	}
	if m.log == nil {
		m.log = hclog.NewNullLogger()
	}
	m.written = m.counter("job_bytes_written_total", "Bytes that the host wrote to drives in jobs, all passes.", "device")
	m.verified = m.counter("job_bytes_verified_total", "Bytes that were read back from drives in jobs.", "device")
	m.deviceErrors = m.counter("device_errors_total", "Errors of drives in jobs, by what was asked of them.", "device", "op")
	m.jobs = m.counter("jobs_total", "Jobs that came to an end or a stop, by the worst outcome of their drives.", "method", "outcome")
	m.jobDrives = m.counter("job_drives_total", "Drives of jobs that came to an end, by outcome.", "method", "outcome")
	m.certificates = m.counter("certificates_issued_total", "Certificates that were issued, by outcome.", "outcome")
	m.decisions = m.counter("policy_decisions_total", "Decisions of the site's rules.", "rule", "decision")
	m.requests = m.counter("requests_total", "HTTP requests, by the pattern of their route and the status of the answer.", "route", "code")
	m.refusals = m.counter("refusals_total", "Requests that were answered with a problem, by its code.", "code")
	m.records = m.counter("journal_records_total", "Records that journals of drives took, by kind.", "kind")
	m.audit = m.counter("audit_records_total", "Records that the agent's own audit journal took, by action.", "action")
	// What is to be noticed the first time, by how much a counter grew, is there before that.
	for _, o := range []sanitize.Outcome{sanitize.Failed, sanitize.Unproven, sanitize.Unknown} {
		m.jobDrives.WithLabelValues("none", string(o))
	}
	// From seconds to four days: a cryptographic erase takes seconds, three passes over 30 TB days.
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "job_duration_seconds", Help: "How long jobs worked that came to an end: the time of their slowest drive.",
		Buckets: []float64{10, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600},
	}, []string{"method", "outcome"})
	m.watchers = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "watchers", Help: "Who follows events of jobs now."})
	m.lastEvent = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "last_event_timestamp_seconds", Help: "When the last event of a job was; 0 before the first."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": label(o.Version), "go_version": label(o.GoVersion)},
	})
	build.Set(1)
	m.registry.MustRegister(m.duration, m.watchers, m.lastEvent, build)
	return m
}

const namespace = "expunge"

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

// Handler answers scrapes. Who asks is in the request's context, which the Service is given: who may
// not read gets the counters, and expunge_scrape_ok 0.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// A metric that contradicts another is left out and said in the log; the others are answered.
		promhttp.HandlerFor(m.gatherer(r.Context()), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: slogadapter.ErrorLog(m.log)}).ServeHTTP(w, r)
	})
}

// Request counts an answered request. The route is the pattern that it matched ("GET /v1/jobs/{id}"),
// never its path: everybody can make up paths. The problem is the code of the Problem that it was
// answered with, "" where it was not.
func (m *Metrics) Request(route string, status int, problem string) {
	m.requests.WithLabelValues(label(route), strconv.Itoa(status)).Inc()
	if problem != "" {
		m.refusals.WithLabelValues(label(problem)).Inc()
	}
}

// Decision counts what a rule of the site said of a drive or a plan.
func (m *Metrics) Decision(rule, decision string) {
	m.decisions.WithLabelValues(label(rule), label(decision)).Inc()
}

// Certified counts a certificate that was issued.
func (m *Metrics) Certified(outcome string) { m.certificates.WithLabelValues(label(outcome)).Inc() }

// Audited counts a record of the agent's audit journal.
func (m *Metrics) Audited(action string) { m.audit.WithLabelValues(label(action)).Inc() }

// Watch counts somebody who follows events until they call what it returns; calling that twice is
// calling it once.
func (m *Metrics) Watch() (done func()) {
	m.watchers.Inc()
	return sync.OnceFunc(m.watchers.Dec)
}

// longestLabel is how many characters of a drive's own words become a label.
const longestLabel = 128

// label makes any text one that Prometheus takes: UTF-8 without control characters, and of a length
// that a drive cannot choose.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
	if r := []rune(s); len(r) > longestLabel {
		return string(r[:longestLabel-1]) + "…"
	}
	return s
}
