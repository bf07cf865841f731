package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// counting tells records from after the cursor to last, and that the job has ended; progress without a cursor between.
func counting(last int) func(context.Context, string, string) iter.Seq2[api.Event, error] {
	return func(_ context.Context, id, after string) iter.Seq2[api.Event, error] {
		return func(yield func(api.Event, error) bool) {
			n, _ := strconv.Atoi(after)
			for n++; n <= last; n++ {
				if !yield(api.Event{Type: api.EventRecord, Job: id, Seq: int64(n), Cursor: strconv.Itoa(n)}, nil) ||
					!yield(api.Event{Type: api.EventProgress, Job: id, Reading: &sanitize.Reading{Stage: "pass 1/1", Done: int64(n)}}, nil) {
					return
				}
			}
			yield(api.Event{Type: api.EventJob, Job: id, Whole: &api.Job{ID: id, State: api.JobEnded}, Cursor: "end"}, nil)
		}
	}
}

func TestEventsComeInTwoForms(t *testing.T) {
	v := serve(t, Options{Service: &scripted{events: counting(3)}})
	r := v.ask(t, "GET", "/v1/jobs/j/events", "", "Last-Event-ID: 2")
	if want := "id: 3\nevent: record\ndata: {\"type\":\"record\",\"job\":\"j\",\"seq\":3,\"cursor\":\"3\"}\n\n"; !strings.HasPrefix(r.body, want) || r.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v %q", r.header, r.body)
	}
	if !strings.Contains(r.body, "\n\nevent: progress\ndata: {\"type\":\"progress\"") || !strings.Contains(r.body, "id: end\nevent: job\n") || !strings.HasSuffix(r.body, "}\n\n") {
		t.Errorf("%q", r.body)
	}
	for _, x := range [][2]string{{"/v1/jobs/j/events?after=1", "Accept: application/x-ndjson"}, {"/v1/jobs/j/events?after=1&format=ndjson", "X: y"}, {"/v1/jobs/j/events?after=0&format=ndjson", "Last-Event-ID: 1"}} {
		r := v.ask(t, "GET", x[0], "", x[1])
		lines := strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
		if len(lines) != 5 || r.header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%v %q", r.header, r.body)
		}
		var e api.Event
		if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || e.Seq != 2 || e.Cursor != "2" {
			t.Errorf("%s: %v", lines[0], err)
		}
		var last api.Event
		if err := json.Unmarshal([]byte(lines[4]), &last); err != nil || last.Type != api.EventJob || last.Whole.State != api.JobEnded {
			t.Errorf("%s: %v", lines[4], err)
		}
	}
}

// What a user would lose: the rest of a large job, whose cursors are long. A browser that comes again sends two of them.
func TestLongCursorsAreTaken(t *testing.T) {
	after := make(chan string, 1)
	v := serve(t, Options{Service: &scripted{events: func(ctx context.Context, id, from string) iter.Seq2[api.Event, error] {
		after <- from
		return counting(1)(ctx, id, "")
	}}})
	older, newer := strings.Repeat("o", api.CursorMost), strings.Repeat("n", api.CursorMost)
	if r := v.ask(t, "GET", "/v1/jobs/j/events?after="+older, ""); r.status != 200 || <-after != older {
		t.Errorf("%d %.300s", r.status, r.body)
	}
	if r := v.ask(t, "GET", "/v1/jobs/j/events?after="+older, "", "Last-Event-ID: "+newer, "X-Other: "+strings.Repeat("x", 15<<10)); r.status != 200 || <-after != newer {
		t.Errorf("%d %.300s", r.status, r.body)
	}
	for _, r := range []reply{v.ask(t, "GET", "/v1/jobs/j/events?after=o"+older, ""), v.ask(t, "GET", "/v1/jobs/j/events", "", "Last-Event-ID: n"+newer)} {
		if problemIs(t, r, 422, "usage", api.ExitUsage); len(r.body) > 1000 {
			t.Errorf("an answer of %d bytes", len(r.body))
		}
	}
}

// waiting tells one record, and then nothing until its context ends.
func waiting(gone *atomic.Int64) func(context.Context, string, string) iter.Seq2[api.Event, error] {
	return func(ctx context.Context, id, _ string) iter.Seq2[api.Event, error] {
		return func(yield func(api.Event, error) bool) {
			defer gone.Add(1)
			if yield(api.Event{Type: api.EventRecord, Job: id, Cursor: "1"}, nil) {
				<-ctx.Done()
				yield(api.Event{}, ctx.Err())
			}
		}
	}
}

func TestQuietStreamsBeatAndStopEndsThem(t *testing.T) {
	var gone atomic.Int64
	v := serve(t, Options{Service: &scripted{events: waiting(&gone)}, Heartbeat: 5 * time.Millisecond, Grace: time.Hour})
	for format, want := range map[string]string{"sse": ": alive\n", "ndjson": "\n"} {
		a, err := v.Get("http://agent/v1/jobs/j/events?format=" + format)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(a.Body)
		beats := 0
		for beats < 3 {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == want {
				beats++
			}
		}
		a.Body.Close()
	}
	eventually(t, "the service has let go", func() bool { return gone.Load() == 2 })
	a, err := v.Get("http://agent/v1/jobs/j/events")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	ended := make(chan string)
	go func() {
		data := &strings.Builder{}
		_, _ = bufio.NewReader(a.Body).WriteTo(data)
		ended <- data.String()
	}()
	v.stop()
	if data := <-ended; strings.Contains(data, "event: job") || strings.Contains(data, "problem") {
		t.Errorf("a stream that was cut off looks whole: %q", data)
	}
	if gone.Load() != 3 {
		t.Error("the service is still telling")
	}
}

// A stream that cannot go on says so; it does not look as if the job had ended.
func TestStreamsSayWhyTheyEnd(t *testing.T) {
	s := &scripted{events: func(context.Context, string, string) iter.Seq2[api.Event, error] {
		return func(yield func(api.Event, error) bool) {
			if yield(api.Event{Type: api.EventRecord, Cursor: "1\nid: 2"}, nil) {
				time.Sleep(2 * first)
				yield(api.Event{}, api.NewProblem(api.ExitUnproven, "journal", "", errBroken))
			}
		}
	}}
	v := serve(t, Options{Service: s})
	r := v.ask(t, "GET", "/v1/jobs/j/events", "")
	if !strings.HasPrefix(r.body, "event: record\n") || !strings.Contains(r.body, "event: problem\ndata: {\"type\":\"problem\",\"problem\":{") || !strings.Contains(r.body, `"code":"journal"`) {
		t.Errorf("%q", r.body)
	}
	s.set(func() {
		s.events = func(context.Context, string, string) iter.Seq2[api.Event, error] {
			return func(func(api.Event, error) bool) { _ = s.calls[:len(s.calls)+1000][0] }
		}
	})
	problemIs(t, v.ask(t, "GET", "/v1/jobs/j/events", ""), 500, "internal", api.ExitInternal)
}

// watch reads a stream of counting from the record that was seen last; every one must be the next.
func watch(path string, seen *int) (ended bool, err error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false, err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /v1/jobs/j/events?format=ndjson&after=%d HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n", *seen)
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false, err
	}
	defer a.Body.Close()
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return false, nil // cut off
		}
		switch e.Type {
		case api.EventRecord:
			if e.Cursor == "0" {
				continue
			}
			if e.Seq != int64(*seen+1) {
				return false, fmt.Errorf("record %d after %d", e.Seq, *seen)
			}
			*seen = int(e.Seq)
		case api.EventJob:
			return true, nil
		}
	}
	return false, nil
}

// What a user would lose: a thousand people who look on, to one of them who has fallen asleep.
func TestAThousandWatchersOfWhomOneIsAsleep(t *testing.T) {
	const watchers, records = 1000, 20
	var told atomic.Int64
	var dropped atomic.Bool
	release := make(chan struct{})
	big := strings.Repeat("x", 64<<10)
	s := &scripted{events: func(ctx context.Context, id, after string) iter.Seq2[api.Event, error] {
		return func(yield func(api.Event, error) bool) {
			if id == "asleep" {
				for ctx.Err() == nil && yield(api.Event{Type: api.EventRecord, Kind: big, Cursor: "1"}, nil) {
				}
				dropped.Store(true)
				return
			}
			if !yield(api.Event{Type: api.EventRecord, Cursor: "0"}, nil) {
				return
			}
			told.Add(1)
			<-release
			counting(records)(ctx, id, after)(yield)
		}
	}}
	v := serve(t, Options{Service: s, Stall: time.Second})
	asleep, err := net.Dial("unix", v.path)
	if err != nil {
		t.Fatal(err)
	}
	defer asleep.Close()
	fmt.Fprintf(asleep, "GET /v1/jobs/asleep/events HTTP/1.1\r\nHost: agent\r\n\r\n")
	var all sync.WaitGroup
	var whole atomic.Int64
	for range watchers {
		all.Go(func() {
			// On a machine that is busy one of these may be dropped, too: it comes back, and misses nothing.
			for seen := 0; ; {
				ended, err := watch(v.path, &seen)
				if err != nil {
					t.Error(err)
					return
				}
				if ended && seen == records {
					whole.Add(1)
					return
				}
			}
		})
	}
	// All are told something, and the one who sleeps is dropped.
	for told.Load() < watchers || !dropped.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	close(release)
	all.Wait()
	if n := whole.Load(); n != watchers {
		t.Errorf("%d of %d saw all", n, watchers)
	}
}

func TestWatchersOfOneUserAreBounded(t *testing.T) {
	var gone atomic.Int64
	v := serve(t, Options{Service: &scripted{events: waiting(&gone)}, Watchers: 2})
	for range 2 {
		a, err := v.Get("http://agent/v1/jobs/j/events")
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
	}
	problemIs(t, v.ask(t, "GET", "/v1/jobs/j/events", ""), 429, "too_many_requests", api.ExitRefused)
	if r := v.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
		t.Errorf("those who watch cannot ask: %+v", r)
	}
}
