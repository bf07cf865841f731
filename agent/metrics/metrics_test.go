package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a Service that says what it is told. Whatever else is asked of it ends the test.
type agent struct {
	api.Service
	health api.Health
	drives api.Drives
	jobs   []api.Job
	err    error // of Drives
	hang   chan struct{}
	asked  []api.Principal
}

func (a *agent) Health(ctx context.Context) (api.Health, error) {
	a.asked = append(a.asked, api.PrincipalOf(ctx))
	return a.health, nil
}
func (a *agent) Jobs(context.Context) ([]api.Job, error) { return a.jobs, nil }
func (a *agent) Drives(context.Context) (api.Drives, error) {
	if a.hang != nil {
		<-a.hang
	}
	return a.drives, a.err
}

func number(n int64) *int64 { return &n }

var since = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

// busy is an agent at work on one drive, whose node is another than in its plan.
func busy() *agent {
	file := "certificate.json"
	return &agent{
		health: api.Health{Status: "ok", Version: "1.2.3", SafeToPowerOff: false, Running: 1, Drives: 1, Started: "2026-11-28T09:00:00Z"},
		drives: api.Drives{Items: []devices.Drive{
			{ID: "a", Nodes: []string{"/dev/sdb"}, Serial: "ZC1", Model: "ST4000", Firmware: "SN04", Protocol: devices.ProtocolATA, State: devices.StateInUse},
			{ID: "b", Nodes: []string{"/dev/nvme0n1"}, Serial: "S6", Model: "PM9A3", Firmware: "G1", Protocol: devices.ProtocolNVMe, State: devices.StateReady},
			{ID: "c", Serial: "", State: devices.StateUnreadable}, {ID: "d", Serial: "", State: devices.StateUnreadable},
		}, NotReached: []devices.NotReached{{Name: "megaraid_sas"}}},
		jobs: []api.Job{
			{ID: "j1", State: api.JobRunning, Drives: []api.JobDrive{{
				ID: "a", Nodes: []string{"/dev/sda"}, Serial: "ZC1", Outcome: sanitize.Interrupted, Attempts: 1,
				Progress: &sanitize.Reading{Stage: "pass 1/1", Done: 3e9, Total: 4e9, Bad: 512, Since: since, Pace: "slowed", TemperatureC: number(61), LimitC: number(60)},
			}}},
			{ID: "j0", State: api.JobEnded, Drives: []api.JobDrive{{ID: "b", Outcome: sanitize.Sanitized, Certificate: &file}}},
		},
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	r := httptest.NewRequestWithContext(api.WithPrincipal(t.Context(), api.Principal{Name: "uid:7", Roles: []api.Role{api.Read}}), "GET", "/metrics", nil)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+page, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}

// fed is metrics with something in each of them.
func fed(a *agent) *Metrics {
	m := New(a, Options{Version: "1.2.3", GoVersion: "go1.26.8"})
	m.Request("GET /v1/jobs/{id}", 200, "")
	m.Request("POST /v1/jobs", 409, "halted")
	m.Decision("two-people", "require_approval")
	m.Audited("plan")
	at := since
	for _, r := range []api.Event{
		{Kind: "attempt"},
		{Kind: "reidentified", Data: []byte(`{"id":"b","node":"/dev/nvme0n1","size_bytes":1000000,"before":"pass 1"}`)},
		{Kind: "extents_done", Data: []byte(`{"pass":1,"done":null,"failed":[{"offset":0,"length":512},{"offset":4096,"length":512}],"error":"EIO"}`)},
	} {
		r.Type, r.Job, r.ID, r.Time = api.EventRecord, "j0", "b", &at
		m.Event(r)
	}
	end(m, "j0", api.JobDrive{
		ID: "b", Nodes: []string{"/dev/nvme1n1"}, Outcome: sanitize.Sanitized, Method: sanitize.Purge, Attempts: 1, BytesWritten: 1e6, Seconds: 40, Verification: &api.Verification{Bytes: 1e5},
	})
	m.Certified("sanitized")
	return m
}

// end ends a job, with the ends of its drives.
func end(m *Metrics, job string, drives ...api.JobDrive) {
	j := api.Job{ID: job, State: api.JobEnded, Drives: drives}
	for _, d := range drives {
		m.driveEnded(job, d)
		if d.Outcome == sanitize.Interrupted {
			j.State = api.JobInterrupted
		}
	}
	m.JobEnded(j)
}

func TestAScrapeSaysWhatTheAgentSays(t *testing.T) {
	a := busy()
	m := fed(a)
	done := m.Watch()
	// A reading has a temperature only while heat slows the drive: what it said before counts until then.
	warm, cool := *a.jobs[0].Drives[0].Progress, *a.jobs[0].Drives[0].Progress
	cool.TemperatureC, cool.LimitC, cool.Pace = nil, nil, ""
	a.jobs[0].Drives[0].Progress = &cool
	if page := scrape(t, m); strings.Contains(page, "temperature") {
		t.Error("a temperature that nobody told is told")
	}
	at := since
	m.Event(api.Event{Type: api.EventRecord, Job: "j1", ID: "a", Time: &at, Kind: "health", Data: []byte(`{"when":"before","health":{"temperature_c":34,"warning_temperature_c":60}}`)})
	has(t, scrape(t, m), `expunge_drive_temperature_celsius{device="/dev/sdb"} 34`, `expunge_drive_temperature_limit_celsius{device="/dev/sdb"} 60`, `expunge_drive_slowed{device="/dev/sdb"} 0`)
	a.jobs[0].Drives[0].Progress = &warm
	page := scrape(t, m)
	has(t, page,
		`expunge_scrape_ok 1`, `expunge_build_info{go_version="go1.26.8",version="1.2.3"} 1`, `expunge_halted 0`, `expunge_degraded 0`, `expunge_simulated 0`, `expunge_safe_to_power_off 0`,
		`expunge_start_time_seconds 1.7958564e+09`, `expunge_running_drives 1`,
		`expunge_drive_info{bus="ata",device="/dev/sdb",firmware="SN04",model="ST4000",serial="ZC1"} 1`,
		`expunge_drives{state="ready"} 1`, `expunge_drives{state="in_use"} 1`, `expunge_drives{state="unreadable"} 2`, `expunge_drives{state="blocked"} 0`, `expunge_drives_not_reached 1`,
		`expunge_jobs{state="running"} 1`, `expunge_jobs{state="ended"} 1`, `expunge_jobs{state="unreadable"} 0`,
		`expunge_drive_temperature_celsius{device="/dev/sdb"} 61`, `expunge_drive_temperature_limit_celsius{device="/dev/sdb"} 60`, `expunge_drive_slowed{device="/dev/sdb"} 1`,
		`expunge_drive_stage_progress_ratio{device="/dev/sdb"} 0.75`, `expunge_drive_bad_bytes{device="/dev/sdb"} 512`,
		`expunge_job_bytes_written_total{device="/dev/sdb"} 3e+09`, `expunge_job_bytes_written_total{device="/dev/nvme0n1"} 1e+06`, `expunge_job_bytes_verified_total{device="/dev/nvme0n1"} 100000`,
		`expunge_jobs_total{method="purge",outcome="sanitized"} 1`, `expunge_job_drives_total{method="purge",outcome="sanitized"} 1`, `expunge_certificates_issued_total{outcome="sanitized"} 1`,
		`expunge_job_duration_seconds_bucket{method="purge",outcome="sanitized",le="10"} 0`, `expunge_job_duration_seconds_bucket{method="purge",outcome="sanitized",le="60"} 1`, `expunge_job_duration_seconds_sum{method="purge",outcome="sanitized"} 40`,
		`expunge_policy_decisions_total{decision="require_approval",rule="two-people"} 1`, `expunge_requests_total{code="200",route="GET /v1/jobs/{id}"} 1`, `expunge_requests_total{code="409",route="POST /v1/jobs"} 1`, `expunge_refusals_total{code="halted"} 1`,
		`expunge_device_errors_total{device="/dev/nvme0n1",op="write"} 2`, `expunge_audit_records_total{action="plan"} 1`, `expunge_journal_records_total{kind="extents_done"} 1`,
		`expunge_watchers 1`, `expunge_last_event_timestamp_seconds 1.79586e+09`,
	)
	if got := strings.Count(page, "ZC1"); got != 1 {
		t.Errorf("the serial is in %d series", got)
	}
	if a.asked[0].Name != "uid:7" {
		t.Errorf("the agent was asked by %q", a.asked[0].Name)
	}
	done()
	done()
	a.health.Halted, a.health.SafeToPowerOff, a.health.Status = true, true, "degraded"
	has(t, scrape(t, m), `expunge_watchers 0`, `expunge_halted 1`, `expunge_safe_to_power_off 1`, `expunge_degraded 1`)
}

// What an operator would lose: an alert on the first drive that fails. A series that begins with 1 has not grown.
func TestDrivesThatHoldDataAreCountedFromZero(t *testing.T) {
	page := scrape(t, New(busy(), Options{}))
	for _, o := range []sanitize.Outcome{sanitize.Failed, sanitize.Unproven, sanitize.Unknown} {
		has(t, page, `expunge_job_drives_total{method="none",outcome="`+string(o)+`"} 0`)
	}
}

func TestNamesAreAsPrometheusWants(t *testing.T) {
	problems, err := testutil.GatherAndLint(fed(busy()).gatherer(t.Context()))
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Every metric is in the page, with its type and labels, and nothing else is.
func TestMetricsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(expunge_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(data), -1) {
		told[row[1]] = row[2] + " " + strings.NewReplacer("`", "", ",", "").Replace(row[3])
	}
	m := fed(busy())
	families, err := m.gatherer(t.Context()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		there[f.GetName()] = strings.TrimSpace(strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, " "))
	}
	for name, what := range there {
		if strings.TrimSpace(told[name]) != what {
			t.Errorf("%s is %q, and docs/metrics.md says %q", name, what, told[name])
		}
	}
	for name := range told {
		if there[name] == "" {
			t.Errorf("docs/metrics.md has %s, and nobody else", name)
		}
	}
	if len(there) < 25 {
		t.Errorf("only %d: %v", len(there), slices.Sorted(maps.Keys(there)))
	}
}

// What could not be read is absent: a zero would say that nothing runs.
func TestWhatCannotBeReadIsAbsent(t *testing.T) {
	a := busy()
	a.err = errors.New("open /sys/block: permission denied")
	var log bytes.Buffer
	m := New(a, Options{Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	page := scrape(t, m)
	has(t, page, `expunge_scrape_ok 0`, `expunge_halted 0`, `expunge_jobs{state="running"} 1`, `expunge_drive_temperature_celsius{device="/dev/sda"} 61`)
	if strings.Contains(page, "expunge_drives") || strings.Contains(page, "expunge_drive_info") {
		t.Errorf("drives that were not read are told:\n%s", page)
	}
	if !strings.Contains(log.String(), "permission denied") {
		t.Errorf("nobody was told: %s", &log)
	}
}

// A drive that hangs holds up neither a scrape nor the next one, and what is known is told.
func TestAScrapeDoesNotWaitForAListingThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := busy()
		a.hang = make(chan struct{})
		m := fed(a)
		has(t, scrape(t, m), `expunge_scrape_ok 0`, `expunge_scrape_duration_seconds 5`, `expunge_safe_to_power_off 0`, `expunge_jobs{state="running"} 1`, `expunge_refusals_total{code="halted"} 1`)
		page := scrape(t, m)
		has(t, page, `expunge_scrape_ok 0`, `expunge_refusals_total{code="halted"} 1`)
		if strings.Contains(page, "safe_to_power_off") {
			t.Error("what could not be read is told")
		}
		close(a.hang)
		synctest.Wait()
		has(t, scrape(t, m), `expunge_scrape_ok 1`)
	})
}

// Drives say what they want, and the other metrics are answered all the same.
func TestHostileDrivesAreLabelsAtMost(t *testing.T) {
	a := busy()
	same := devices.Drive{ID: "x", Serial: strings.Repeat("S", 10_000), Model: "\xff\x00\"\n} 1\nexpunge_halted 1", Nodes: []string{"/dev/sdx"}}
	a.drives.Items = append(a.drives.Items, same, same)
	page := scrape(t, fed(a))
	has(t, page, `expunge_scrape_ok 1`, `expunge_halted 0`, `expunge_drives{state="unreadable"} 2`)
	if strings.Contains(page, "\nexpunge_halted 1") || strings.Contains(page, "\x00") || strings.Contains(page, strings.Repeat("S", longestLabel)) {
		t.Error(page)
	}
}

// Bytes are counted once, whatever mixture of readings and ends tells of them.
func TestBytesAreCountedOnce(t *testing.T) {
	a := busy()
	m := New(a, Options{})
	drive := &a.jobs[0].Drives[0]
	written := func() float64 { return testutil.ToFloat64(m.written.WithLabelValues("/dev/sdb")) }
	verified := func() float64 { return testutil.ToFloat64(m.verified.WithLabelValues("/dev/sdb")) }
	m.Event(api.Event{Type: api.EventRecord, Job: "j1", ID: "a", Kind: "attempt"})
	for _, x := range []struct {
		what      string
		reading   sanitize.Reading
		scrape    bool
		want, ver float64
	}{
		{"no scrape said yet which node it is", sanitize.Reading{Stage: "pass 1/2", Since: since, Done: 1e9, Total: 4e9}, false, 0, 0},
		{"first scrape", sanitize.Reading{Stage: "pass 1/2", Since: since, Done: 2e9, Total: 4e9}, true, 2e9, 0},
		{"the same again", sanitize.Reading{Stage: "pass 1/2", Since: since, Done: 2e9, Total: 4e9}, true, 2e9, 0},
		{"an event", sanitize.Reading{Stage: "pass 1/2", Since: since, Done: 3e9, Total: 4e9}, false, 3e9, 0},
		{"a second attempt counts what is new", sanitize.Reading{Stage: "pass 1/2", Since: since.Add(time.Hour), Before: 3e9, Done: 3.5e9, Total: 4e9}, true, 3.5e9, 0},
		{"the next pass", sanitize.Reading{Stage: "pass 2/2", Since: since.Add(2 * time.Hour), Done: 1e9, Total: 4e9}, true, 4.5e9, 0},
		{"markers are no pass", sanitize.Reading{Stage: "markers", Since: since, Done: 7e9, Total: 8e9}, true, 4.5e9, 0},
		{"the drive's own progress is no bytes", sanitize.Reading{Stage: "block erase", Since: since, Done: 9e9, Total: 9e9, ByDrive: true}, true, 4.5e9, 0},
		{"reading back", sanitize.Reading{Stage: "verify", Since: since.Add(3 * time.Hour), Done: 1e8, Total: 4e8}, true, 4.5e9, 1e8},
	} {
		drive.Progress = &x.reading
		if x.scrape {
			scrape(t, m)
		} else {
			m.Event(api.Event{Type: api.EventProgress, Job: "j1", ID: "a", Reading: &x.reading})
		}
		if written() != x.want || verified() != x.ver {
			t.Fatalf("%s: %v written, %v verified", x.what, written(), verified())
		}
	}
	ended := *drive
	ended.Outcome, ended.BytesWritten, ended.Progress, ended.Verification = sanitize.Sanitized, 8e9, nil, &api.Verification{Bytes: 4e8}
	m.Event(api.Event{Type: api.EventDrive, Job: "j1", ID: "a", Drive: &ended})
	job := api.Job{ID: "j1", State: api.JobEnded, Drives: []api.JobDrive{ended}}
	running := a.jobs[0]
	scrape(t, m) // the list is behind, and still says that it runs
	a.jobs[0] = job
	scrape(t, m) // or ahead of the event
	m.Event(api.Event{Type: api.EventJob, Job: "j1", Whole: &job})
	a.jobs[0] = running
	scrape(t, m)
	scrape(t, m)
	a.jobs[0] = job
	scrape(t, m)
	if written() != 8e9 || verified() != 4e8 {
		t.Errorf("%v written, %v verified", written(), verified())
	}
	if n := testutil.ToFloat64(m.jobDrives.WithLabelValues("none", "sanitized")); n != 1 {
		t.Errorf("the drive was counted %v times", n)
	}
	if len(m.tally) != 0 {
		t.Errorf("%d drives are kept of jobs that have ended", len(m.tally))
	}
}

// A job that goes on is no end, and its drives that had ended do not end again.
func TestInterruptedJobs(t *testing.T) {
	m := New(&agent{}, Options{})
	drives := []api.JobDrive{
		{ID: "a", Outcome: sanitize.Failed, Seconds: 5},
		{ID: "b", Outcome: sanitize.Interrupted, Seconds: 7},
		{ID: "c", Outcome: sanitize.Failed, Seconds: 1, Attempts: 1, BytesWritten: 1e9}, // given up: of its one attempt there was no record here
	}
	end(m, "j", drives...)
	m.Event(api.Event{Type: api.EventRecord, Job: "j", ID: "b", Kind: "attempt"})
	drives[1].Outcome, drives[1].Method, drives[1].Attempts, drives[1].BytesWritten = sanitize.Sanitized, sanitize.Clear, 2, 1e9
	end(m, "j", drives...)
	page := scrape(t, m)
	has(t, page,
		`expunge_jobs_total{method="none",outcome="failed"} 1`, `expunge_jobs_total{method="mixed",outcome="failed"} 1`,
		`expunge_job_drives_total{method="none",outcome="failed"} 2`, `expunge_job_drives_total{method="clear",outcome="sanitized"} 1`,
		`expunge_job_duration_seconds_count{method="mixed",outcome="failed"} 1`,
	)
	if strings.Contains(page, `bytes_written`) {
		t.Error("bytes of an earlier process are counted as this one's")
	}
}

// What nobody has a word for is no success.
func TestTheWorstOutcomeNamesTheJob(t *testing.T) {
	for _, x := range []struct {
		outcomes []sanitize.Outcome
		want     sanitize.Outcome
	}{
		{[]sanitize.Outcome{sanitize.Sanitized, sanitize.RefusedRun}, sanitize.RefusedRun},
		{[]sanitize.Outcome{sanitize.Sanitized, sanitize.Failed, sanitize.Unproven}, sanitize.Unproven},
		{[]sanitize.Outcome{sanitize.Sanitized, "brand new"}, "brand new"},
	} {
		m := New(&agent{}, Options{})
		j := api.Job{ID: "j", State: api.JobEnded}
		for _, o := range x.outcomes {
			j.Drives = append(j.Drives, api.JobDrive{ID: devices.ID(o), Outcome: o})
		}
		m.JobEnded(j)
		if n := testutil.ToFloat64(m.jobs.WithLabelValues("none", string(x.want))); n != 1 {
			t.Errorf("%v is not %s", x.outcomes, x.want)
		}
	}
}

// Scrapes, events and requests come at once.
func TestMetricsAtOnce(t *testing.T) {
	m := fed(busy())
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	done := make(chan error)
	for range 4 {
		go func() {
			for range 20 {
				m.Event(api.Event{Type: api.EventProgress, Job: "j1", ID: "a", Reading: &sanitize.Reading{Stage: "pass 1/1", Since: since, Done: 3e9}})
				m.Request("GET /", 200, "")
			}
			response, err := server.Client().Get(server.URL)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	has(t, scrape(t, m), `expunge_job_bytes_written_total{device="/dev/sdb"} 3e+09`, `expunge_requests_total{code="200",route="GET /"} 80`)
}
