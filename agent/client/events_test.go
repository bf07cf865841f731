package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// stream plays a stream that is cut off after these lines.
func stream(after *notes, lines ...string) func(*http.Request, net.Conn) {
	return func(r *http.Request, c net.Conn) {
		after.add(r.URL.Query().Get("after"))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, l := range lines {
			fmt.Fprintf(c, "%x\r\n%s\n\r\n", len(l)+1, l)
		}
	}
}

// cutOff plays one that says all of a text, which may end in the middle of a line, and ends there: for the client, with the connection, or
// as if the stream had come to its end.
func cutOff(after *notes, text string, asEnd bool) func(*http.Request, net.Conn) {
	return func(r *http.Request, c net.Conn) {
		after.add(r.URL.Query().Get("after"))
		if asEnd {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"+text)
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(text), text)
	}
}

const end = `{"type":"job","result":{"id":"j","state":"ended","drives":[],"exit_status":0},"cursor":"9"}`

// What a user would lose: events, between two connections.
func TestEventsGoOnWithTheirCursor(t *testing.T) {
	after := &notes{}
	c := scene(t, hangsUp,
		stream(after, `{"type":"record","seq":1,"cursor":"1"}`, "", `{"type":"progress","done_bytes":7}`),
		says("503 Service Unavailable", "application/problem+json", `{"detail":"d","code":"stopping","exit_status":10}`),
		stream(after, `{"type":"record","seq":2,"cursor":"2 &"}`, `{"type":"record","seq":`), // a whole line that is none
	)
	var seen []int64
	_, err := collect(c.Events(t.Context(), "j", "0"))
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != "garbled" {
		t.Errorf("half a line: %v", err)
	}
	if asked := after.take(); strings.Join(asked, ",") != "0,1" {
		t.Errorf("asked after %q", asked)
	}
	c = scene(t, stream(after, `{"type":"record","seq":1,"cursor":"1 &"}`), stream(after, `{"type":"record","seq":2,"cursor":"2"}`, end, `{"type":"record","seq":3}`))
	events, err := collect(c.Events(t.Context(), "j", ""))
	for _, e := range events {
		seen = append(seen, e.Seq)
	}
	if asked := after.take(); err != nil || fmt.Sprint(seen) != "[1 2 0]" || fmt.Sprint(asked) != "[ 1 &]" || events[2].Whole.State != api.JobEnded {
		t.Errorf("%v, %v, after %q", seen, err, asked)
	}
}

// What a user would lose: the watch of a job whose agent stopped while it said something.
func TestAStreamThatIsCutOffWithinALineGoesOn(t *testing.T) {
	const seen = `{"type":"record","seq":1,"cursor":"1"}` + "\n"
	for _, rest := range []string{`{"type":"record","seq":`, `{"type":"record","seq":2,"cursor":"2"}`, end, `x`} {
		for _, asEnd := range []bool{false, true} {
			after := &notes{}
			events, err := collect(scene(t, cutOff(after, seen+rest, asEnd), stream(after, `{"type":"record","seq":2,"cursor":"2"}`, end)).Events(t.Context(), "j", ""))
			if asked := after.take(); err != nil || len(events) != 3 || events[1].Seq != 2 || events[2].Whole == nil || fmt.Sprint(asked) != "[ 1]" {
				t.Errorf("%q, as its end: %v: %v, %v, after %q", rest, asEnd, events, err, asked)
			}
		}
	}
}

// What a user would lose: the end of a large job, which the agent permits and its client could not read.
func TestTheLastEventHasEveryDriveOfALargeJob(t *testing.T) {
	certificate, estimate := "/var/lib/expunge/jobs/j-0123456789ab/"+strings.Repeat("d", 64)+"/certificate.json", int64(600)
	words := strings.Repeat("x", 200)
	drive, err := json.Marshal(api.JobDrive{
		ID: devices.ID(strings.Repeat("d", 64)), Serial: strings.Repeat("S", 20), Model: strings.Repeat("M", 40), Nodes: []string{"/dev/nvme10n1", "/dev/ng10n1"}, SizeBytes: 1 << 44,
		Outcome: sanitize.Sanitized, Words: "PURGED verified", Method: sanitize.Purge, Technique: sanitize.BlockErase, BytesWritten: 1 << 44, Seconds: 12345.678, Attempts: 1,
		Verification: &api.Verification{Mode: sanitize.VerifySampled, Result: "passed", Samples: 2000, Bytes: 1 << 40}, Markers: &api.Markers{Set: 2000, Changed: 2000},
		Operations: []api.Operation{{Technique: sanitize.BlockErase, Status: "completed", Complete: true, Seconds: 500, Estimate: &estimate}},
		Warnings:   []string{words}, Excludes: []string{words, words}, Reasons: []devices.Reason{{Code: "x", Message: words, Hint: words}}, Certificate: &certificate,
	})
	if err != nil {
		t.Fatal(err)
	}
	if most := 10_000 * (len(drive) + 1); most > eventLimit { // the most drives that a configuration permits
		t.Errorf("an event of %d bytes is not read: no more than %d", most, eventLimit)
	}
	const drives = 3_000
	line := `{"type":"job","result":{"id":"j","state":"ended","exit_status":0,"drives":[` + strings.Repeat(string(drive)+",", drives-1) + string(drive) + `]},"cursor":"9"}`
	events, err := collect(scene(t, stream(&notes{}, line)).Events(t.Context(), "j", ""))
	if err != nil || len(events) != 1 || len(events[0].Whole.Drives) != drives {
		t.Errorf("%d bytes: %d events, %v", len(line), len(events), err)
	}
}

func TestStreamsThatCannotGoOn(t *testing.T) {
	for name, x := range map[string]struct{ line, code string }{
		"a problem":            {`{"type":"problem","problem":{"detail":"d","code":"journal","exit_status":8}}`, "journal"},
		"an empty problem":     {`{"type":"problem"}`, "garbled"},
		"an end without a job": {`{"type":"job"}`, "garbled"},
		"an end of nothing":    {`{"type":"job","result":{"exit_status":0}}`, "garbled"},
		"no JSON":              {`done`, "garbled"},
		"a long line":          {strings.Repeat("x", 4<<10+1), "garbled"},
	} {
		after := &notes{}
		c := scene(t, stream(after, x.line))
		c.longest = 4 << 10
		_, err := collect(c.Events(t.Context(), "j", ""))
		var p *api.Problem
		if asked := len(after.take()); !errors.As(err, &p) || p.Code != x.code || asked != 1 {
			t.Errorf("%s: %v, asked %d times", name, err, asked)
		}
	}
	_, err := collect(scene(t, says("404 Not Found", "application/problem+json", `{"detail":"no such job","code":"not_found","exit_status":3}`)).Events(t.Context(), "j", ""))
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != "not_found" {
		t.Errorf("%v", err)
	}
	if _, err := collect(scene(t, says("200 OK", "text/html", "<p>")).Events(t.Context(), "j", "")); !errors.As(err, &p) || p.Code != "garbled" {
		t.Errorf("a page: %v", err)
	}
}

// What a user would lose: somebody waits for ever for a host that has no power any more.
func TestSilentStreamsAreLeft(t *testing.T) {
	after := &notes{}
	hold := make(chan struct{})
	defer close(hold)
	silent := func(r *http.Request, c net.Conn) {
		stream(after, `{"type":"record","seq":1,"cursor":"1"}`)(r, c)
		<-hold
	}
	c := scene(t, silent, stream(after, end))
	c.beat = 100 * time.Millisecond
	events, err := collect(c.Events(t.Context(), "j", ""))
	if asked := after.take(); err != nil || len(events) != 2 || fmt.Sprint(asked) != "[ 1]" {
		t.Errorf("%v, %v, after %q", events, err, asked)
	}
	c = scene(t, hangsUp)
	c.patience = 50 * time.Millisecond
	var p *api.Problem
	if _, err := collect(c.Events(t.Context(), "j", "")); !errors.As(err, &p) || p.Code != "connection" {
		t.Errorf("%v", err)
	}
}

func TestWatchersMayLeave(t *testing.T) {
	path := socket(t)
	run(t, path, t.TempDir(), &answering{})
	for e, err := range unix(t, path).Events(t.Context(), "j", "") {
		if err != nil || e.Seq != 1 {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
}

// The agent is replaced while somebody watches and asks.
func TestARestartIsNotNoticed(t *testing.T) {
	path, keys := socket(t), t.TempDir()
	s := &answering{}
	stop := run(t, path, keys, s)
	c := unix(t, path)
	ctx := WithKey(t.Context(), "k")
	first, err := c.Start(ctx, api.StartRequest{PlanID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range c.Events(t.Context(), "j1", "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			stop()
			run(t, path, keys, s)
		}
		if e.Type == api.EventJob && n != 5 {
			t.Errorf("%d events", n)
		}
	}
	s.reset(nil)
	again, err := c.Start(ctx, api.StartRequest{PlanID: "p"})
	if asked := s.reset(nil); err != nil || again.ID != first.ID || len(asked) != 0 {
		t.Errorf("%+v, %v, %q", again, err, asked)
	}
}
