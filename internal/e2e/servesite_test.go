package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// socket is where an agent listens that nobody told to listen elsewhere.
const socket = "/run/expunge/agent.sock"

// serve starts an agent as the machine's own, whose state outlives the guest, and waits until it answers. Apart, it is in a mount
// namespace of its own.
func (g *Guest) serve(apart bool) (pid string) {
	g.t.Helper()
	if g.Must("ls", "/var/lib/expunge/serve.lock") == "" {
		g.Must("mkdir", "/host/state")
		g.Must("bind", "/host/state", "/var/lib/expunge")
	}
	a, err := g.do(g.t.Context(), request{Args: []string{"expunge", "serve", "--log-level", "debug"}, Background: true, Apart: apart, Log: "/host/serve.log"})
	if err != nil || a.Code != 0 {
		g.t.Fatalf("%s: serve: %v %s", g.name, err, a.Stderr)
	}
	pid = string(a.Stdout)
	g.until("the agent answers", func() bool {
		if g.Must("ls", "/proc/"+pid) == "" {
			g.t.Fatalf("the agent ended:\n%s", g.Must("cat", "/host/serve.log"))
		}
		_, code := g.quiet("expunge", "health")
		return code == 0
	})
	return pid
}

// quiet runs a program that may fail, and shows nobody what it says.
func (g *Guest) quiet(args ...string) (said string, code int) { return g.as(0, args...) }

// as runs a program as a user.
func (g *Guest) as(uid uint32, args ...string) (said string, code int) {
	g.t.Helper()
	a, err := g.do(g.t.Context(), request{Args: args, UID: uid})
	if err != nil || a.Code < 0 {
		g.t.Fatalf("%s: %q: %v %s", g.name, args, err, a.Stderr)
	}
	return string(a.Stdout) + string(a.Stderr), a.Code
}

var keys atomic.Int64

// http sends the agent a request, as a user, and returns what it answers with.
func (g *Guest) http(uid uint32, method, at string, body any) (status int, answer []byte) {
	g.t.Helper()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			g.t.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://agent"+at, content)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Close = true
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		r.Header.Set("Idempotency-Key", fmt.Sprint("key-", keys.Add(1)))
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		g.t.Fatal(err)
	}
	said, code := g.as(uid, "/init", "http", socket, text.String())
	a, err := http.ReadResponse(bufio.NewReader(strings.NewReader(said)), r)
	if err != nil || code != 0 {
		g.t.Fatalf("%s %s: %v %s", method, at, err, said)
	}
	defer a.Body.Close()
	if answer, err = io.ReadAll(a.Body); err != nil {
		g.t.Fatalf("%s %s: %v", method, at, err)
	}
	return a.StatusCode, answer
}

// asked is an answer of the agent to root, which must have a status.
func asked[T any](g *Guest, status int, method, at string, body any) (into T) {
	g.t.Helper()
	got, answer := g.http(0, method, at, body)
	if got != status {
		g.t.Fatalf("%s %s: %d %s", method, at, got, answer)
	}
	answerOf(g.t, string(answer), &into)
	return into
}

// drives are what an agent shows, by serial number.
func (g *Guest) drives() map[string]devices.Drive {
	g.t.Helper()
	drives := map[string]devices.Drive{}
	for _, d := range asked[api.Drives](g, http.StatusOK, "GET", "/v1/drives", nil).Items {
		drives[d.Serial] = d
	}
	return drives
}

// begin has the agent plan and start something.
func (g *Guest) begin(r sanitize.Request, drives ...string) (job string) {
	g.t.Helper()
	p := asked[api.Plan](g, http.StatusCreated, "POST", "/v1/plans", api.PlanRequest{Drives: drives, Request: r})
	if len(p.Drives) != len(drives) || p.Plan.Digest() != p.Digest {
		g.t.Fatalf("planned %+v, refused %+v", p.Drives, p.Refused)
	}
	return asked[api.Job](g, http.StatusAccepted, "POST", "/v1/jobs", startOf(p)).ID
}

func startOf(p api.Plan) api.StartRequest {
	return api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(p.Drives)}
}

// job is how one stands.
func (g *Guest) job(id string) api.Job {
	g.t.Helper()
	return asked[api.Job](g, http.StatusOK, "GET", "/v1/jobs/"+id, nil)
}

// becomes waits until a job has a state, by nobody's doing here.
func (g *Guest) becomes(id, state string) (j api.Job) {
	g.t.Helper()
	g.until("job "+id+" is "+state, func() bool { j = g.job(id); return j.State == state })
	return j
}

// proven waits for a job's end, which must be its drives', and judges their certificates outside of the guest.
func (g *Guest) proven(id string, method sanitize.Method, technique sanitize.Technique) (results []attest.Result) {
	g.t.Helper()
	j := g.becomes(id, api.JobEnded)
	if j.ExitStatus != api.ExitOK || len(j.Drives) == 0 {
		g.t.Fatalf("%+v", j)
	}
	trust, err := attest.ParseTrust([]byte(g.Must("expunge", "key")))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, d := range j.Drives {
		status, data := g.http(0, "GET", "/v1/certificates/"+id+"/"+string(d.ID), nil)
		r := attest.Verify(data, trust)
		if status != http.StatusOK || r.Code != attest.CodeOK || r.Simulated || r.Result == nil {
			g.t.Fatalf("certificate of %s: %d, %d %v", d.Serial, status, r.Code, r.Reasons)
		}
		if c := r.Result; c.Device.Serial != d.Serial || c.Outcome.Status != "sanitized" || c.Outcome.Method != string(method) || technique != "" && c.Sanitization.Technique != string(technique) {
			g.t.Errorf("certificate of %s: %+v %+v %q", d.Serial, c.Device, c.Outcome, c.Sanitization.Technique)
		}
		results = append(results, *r.Result)
	}
	return results
}

// uncertified makes sure that an agent has no certificate of a drive.
func (g *Guest) uncertified(serial string) {
	g.t.Helper()
	_, list := g.http(0, "GET", "/v1/certificates", nil)
	if !bytes.Contains(list, []byte(`"items"`)) || bytes.Contains(list, []byte(`"`+serial+`"`)) {
		g.t.Errorf("certificates: %s", list)
	}
}
