package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// residentAgent is expunge serve of a rack in this process.
type residentAgent struct {
	*client.Client
	t    *testing.T
	http *http.Client
	stop func()
}

// serveHere serves a rack until the test ends or it is stopped.
func serveHere(t *testing.T, rack, configuration string) *residentAgent {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	text := fmt.Sprintf("access: [{uid: %d, roles: [read, operate, approve]}]\n", os.Getuid()) + configuration
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(rack, "agent", "agent.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	a := &residentAgent{client.Unix(socket), t, &http.Client{Transport: transport}, nil}
	ctx, cancel := context.WithCancelCause(context.Background())
	var log bytes.Buffer
	code := make(chan int, 1)
	go func() {
		x := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &log, ctx: ctx, testOnlyCloses: 10 * time.Second}
		code <- x.execute([]string{"--rack", rack, "serve", "--config", file})
	}()
	stopped := false
	a.stop = func() {
		if stopped {
			return
		}
		stopped = true
		a.Close()
		transport.CloseIdleConnections()
		cancel(errStopped)
		if c := <-code; c != exitOK {
			t.Errorf("the agent ended with %d:\n%s", c, &log)
		}
	}
	t.Cleanup(a.stop)
	until(t, "the agent answers", func() bool { _, err := a.Health(t.Context()); return err == nil })
	return a
}

// until waits for what others bring about.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for n := 0; n < 3000; n++ {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never came to this: %s", what)
}

// get asks for what no client of the program asks for.
func (a *residentAgent) get(method, at string) (status int, body string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, "http://agent"+at, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	answer, err := a.http.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// scraped is a page of metrics: values by series.
type scraped map[string]float64

func (a *residentAgent) scrape() scraped {
	a.t.Helper()
	status, page := a.get("GET", "/v1/metrics")
	if status != http.StatusOK {
		a.t.Fatalf("%d %s", status, page)
	}
	s := scraped{}
	for line := range strings.Lines(page) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			a.t.Fatalf("%q: %v", line, err)
		}
		s[line[:at]] = value
	}
	return s
}

// sum is of all series of a metric.
func (s scraped) sum(name string) (sum float64, there bool) {
	for series, value := range s {
		if series == name || strings.HasPrefix(series, name+"{") {
			sum, there = sum+value, true
		}
	}
	return sum, there
}

// nodes are those of the drives of a rack, by serial number.
func nodes(t *testing.T, rack *virtual.Rack) map[string]string {
	t.Helper()
	list, err := rack.Drives()
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	for _, d := range list {
		of[d.Spec.Serial] = "/dev/" + d.Name
	}
	return of
}

func faulty(t *testing.T, rack *virtual.Rack, serial, text string) {
	t.Helper()
	f, err := virtual.ParseFault(text)
	if err == nil {
		err = rack.Fault(serial, f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What an operator would lose: a metric that docs/metrics.md names, and that nothing feeds. An alert on it never fires.
func TestEveryMetricIsFed(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20}, virtual.Spec{Serial: "B", SizeBytes: 4 << 20}, virtual.Spec{Serial: "MOUNTED", SizeBytes: 1 << 20},
		virtual.Spec{Serial: "SLOW", Profile: "nvme-ssd", SizeBytes: 64 << 20})
	faulty(t, rack, "B", "write-error:2048+8")
	faulty(t, rack, "SLOW", "slow:4000000")
	if err := rack.Use("MOUNTED", "mounted:/srv"); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("policy: site\nrules:\n- name: museum\n  when: drive.serial == 'KEEP'\n  deny: it is kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := serveHere(t, dir, "policy: "+policy+"\n")
	at := nodes(t, rack)
	ctx := t.Context()
	overwrite := func(drives int, names ...string) api.Job {
		p, err := a.Plan(ctx, api.PlanRequest{Drives: names, Request: sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite, Pattern: "zero", Verify: sanitize.VerifyFull}})
		if err != nil {
			t.Fatal(err)
		}
		j, err := a.Start(ctx, api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: drives})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := overwrite(2, "A", "B", "MOUNTED")
	if end := ends(t, a, j.ID); end.Drives[0].Outcome != sanitize.Sanitized || end.Drives[1].Outcome != sanitize.Exceptions {
		t.Fatalf("%+v", end)
	}
	slow := overwrite(1, "SLOW")
	watching, leave := context.WithCancel(ctx)
	defer leave()
	heard, left := make(chan bool), make(chan bool)
	go func() {
		defer close(left)
		told := sync.OnceFunc(func() { close(heard) })
		for e := range a.Events(watching, slow.ID, "") {
			if e.Type == api.EventProgress {
				told()
			}
		}
	}()
	<-heard
	for _, x := range []struct {
		method, at string
		want       int
	}{{"GET", "/v1/jobs/nobody", 404}, {"GET", "/v1/made/up/1", 404}, {"GET", "/v1/made/up/2", 404}, {"GET", "/v1/jobs?all=1", 422}, {"POST", "/v1/jobs", 400}} {
		if status, body := a.get(x.method, x.at); status != x.want {
			t.Errorf("%s %s: %d %s", x.method, x.at, status, body)
		}
	}
	// The job's account is told after its last event, and a drive's temperature with its first writes.
	var s scraped
	until(t, "the job was counted, and the other drive is at work", func() bool {
		s = a.scrape()
		jobs, _ := s.sum("expunge_jobs_total")
		_, warm := s.sum("expunge_drive_temperature_celsius")
		return jobs == 1 && warm
	})
	for series, want := range map[string]float64{
		`expunge_scrape_ok`: 1, `expunge_simulated`: 1, `expunge_halted`: 0, `expunge_degraded`: 0, `expunge_safe_to_power_off`: 0, `expunge_running_drives`: 1, `expunge_drives_not_reached`: 0,
		`expunge_watchers`: 1, `expunge_drives{state="system"}`: 0, `expunge_jobs{state="running"}`: 1, `expunge_jobs{state="ended"}`: 1,
		`expunge_requests_total{code="404",route="GET /v1/jobs/{id}"}`: 1, `expunge_requests_total{code="404",route="none"}`: 2, `expunge_requests_total{code="422",route="GET /v1/jobs"}`: 1,
		`expunge_requests_total{code="400",route="POST /v1/jobs"}`: 1, `expunge_requests_total{code="202",route="POST /v1/jobs"}`: 2, `expunge_requests_total{code="201",route="POST /v1/plans"}`: 2,
		`expunge_refusals_total{code="not_found"}`: 3, `expunge_refusals_total{code="usage"}`: 1, `expunge_refusals_total{code="key_missing"}`: 1,
		`expunge_job_bytes_written_total{device="` + at["A"] + `"}`: 1 << 20, `expunge_job_bytes_verified_total{device="` + at["A"] + `"}`: 1 << 20,
		`expunge_job_drives_total{method="clear",outcome="sanitized"}`: 1, `expunge_job_drives_total{method="clear",outcome="exceptions"}`: 1, `expunge_job_drives_total{method="none",outcome="refused"}`: 1,
		`expunge_jobs_total{method="mixed",outcome="exceptions"}`: 1, `expunge_job_duration_seconds_count{method="mixed",outcome="exceptions"}`: 1,
		`expunge_certificates_issued_total{outcome="sanitized"}`: 1, `expunge_certificates_issued_total{outcome="exceptions"}`: 1,
		`expunge_audit_records_total{action="plans.make"}`: 2, `expunge_audit_records_total{action="jobs.start"}`: 3,
		`expunge_journal_records_total{kind="attempt"}`: 3, `expunge_device_errors_total{device="` + at["B"] + `",op="write"}`: 1,
	} {
		if got, there := s[series]; !there || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, there, want)
		}
	}
	data, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(expunge_[a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(data), -1)
	if len(rows) < 30 {
		t.Errorf("docs/metrics.md names %d metrics", len(rows))
	}
	for _, row := range rows {
		name := row[1]
		if row[2] == "histogram" {
			name += "_count"
		}
		if sum, there := s.sum(name); !there || sum == 0 && row[2] != "gauge" {
			t.Errorf("docs/metrics.md has %s, and a scrape has not (%v)", name, sum)
		}
	}
	for _, name := range []string{"expunge_last_event_timestamp_seconds", "expunge_start_time_seconds"} {
		if age := float64(time.Now().Unix()) - s[name]; age < -5 || age > 600 {
			t.Errorf("%s is %v", name, s[name])
		}
	}
	leave()
	<-left
	until(t, "nobody watches", func() bool { return a.scrape()["expunge_watchers"] == 0 })
}

// What an operator would lose: counters that count. What an earlier agent did of a job that this one goes on with is not done again.
func TestMetricsOfAnAgentThatGoesOn(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "DONE", SizeBytes: 1 << 20}, virtual.Spec{Serial: "REST", SizeBytes: 64 << 20}, virtual.Spec{Serial: "LOST", SizeBytes: 64 << 20},
		virtual.Spec{Serial: "ALSO", SizeBytes: 1 << 20}, virtual.Spec{Serial: "MOUNTED", SizeBytes: 1 << 20})
	faulty(t, rack, "REST", "slow:8000000")
	faulty(t, rack, "LOST", "slow:8000000")
	if err := rack.Use("MOUNTED", "mounted:/srv"); err != nil {
		t.Fatal(err)
	}
	at := nodes(t, rack)
	written := func(s scraped, serial string) float64 {
		return s[`expunge_job_bytes_written_total{device="`+at[serial]+`"}`]
	}
	ctx := t.Context()
	a := serveHere(t, dir, "")
	p, err := a.Plan(ctx, api.PlanRequest{Drives: []string{"DONE", "REST", "MOUNTED"}, Request: sanitize.Request{Pattern: "zero"}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := a.Start(ctx, api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: 2})
	if err != nil {
		t.Fatal(err)
	}
	lost := begin(t, a, "LOST", "ALSO")
	const sanitized, refused, failed = `expunge_job_drives_total{method="clear",outcome="sanitized"}`, `expunge_job_drives_total{method="none",outcome="refused"}`, `expunge_job_drives_total{method="none",outcome="failed"}`
	var first scraped
	until(t, "two drives have ended and two are begun", func() bool {
		first = a.scrape()
		return first[sanitized] == 2 && written(first, "REST") > 0 && written(first, "LOST") > 0
	})
	if first[refused] != 1 || first[`expunge_certificates_issued_total{outcome="sanitized"}`] != 2 || written(first, "DONE") != 1<<20 {
		t.Errorf("%v", first)
	}
	if _, err := a.Cancel(ctx, lost.ID); err != nil {
		t.Fatal(err)
	}
	a.stop()
	if err := rack.ClearFaults("REST"); err != nil {
		t.Fatal(err)
	}
	faulty(t, rack, "REST", "slow:24000000") // which takes long enough for readings

	a = serveHere(t, dir, "")
	end := ends(t, a, j.ID)
	if end.Drives[1].Attempts != 2 || end.Drives[0].Outcome != sanitize.Sanitized || end.Drives[1].Outcome != sanitize.Sanitized {
		t.Fatalf("this test is of a drive that was gone on with: %+v", end.Drives)
	}
	given, err := a.Abandon(ctx, lost.ID, api.AbandonRequest{Why: "it is lost"})
	if err != nil || given.Drives[0].Outcome != sanitize.Failed || given.Drives[0].Attempts != 1 || given.Drives[0].BytesWritten == 0 {
		t.Fatalf("%+v, %v", given, err)
	}
	var s scraped
	until(t, "both jobs were counted", func() bool { s = a.scrape(); n, _ := s.sum("expunge_jobs_total"); return n >= 2 })
	for series, want := range map[string]float64{
		sanitized: 1, failed: 1, refused: 0, `expunge_certificates_issued_total{outcome="sanitized"}`: 1, `expunge_certificates_issued_total{outcome="failed"}`: 1,
		`expunge_jobs_total{method="mixed",outcome="failed"}`: 1, `expunge_jobs_total{method="mixed",outcome="refused"}`: 1,
	} {
		if s[series] != want {
			t.Errorf("%s is %v, want %v", series, s[series], want)
		}
	}
	if written(s, "DONE") != 0 || written(s, "LOST") != 0 {
		t.Errorf("what an earlier agent wrote is counted again: %v and %v", written(s, "DONE"), written(s, "LOST"))
	}
	if got := written(s, "REST"); got <= 0 || got >= 64<<20 {
		t.Errorf("%v were written to a drive of %d, of which an earlier agent had written %v", got, 64<<20, written(first, "REST"))
	}
}
