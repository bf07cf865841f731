package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// answer is what is answered to a request, before any of it goes out.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

// Header, WriteHeader and Write implement http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// problem is the problem that an answer is; nil when it is none.
func (a *answer) problem() *api.Problem {
	var p api.Problem
	if a.status < http.StatusBadRequest || json.Unmarshal(a.body.Bytes(), &p) != nil {
		return nil
	}
	return &p
}

// send lets it go out.
func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	a.WriteHeader(http.StatusOK)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // whoever is gone has no use for it
}

// paced is a response of which no write may take longer than stall; begun says whether any of it has gone out. It knows what it was.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	begun   bool
	route   string // that it answers
	status  int
	refusal bytes.Buffer // the problem that it is
}

// refusalKept is how much of a problem is kept: none of ours is larger.
const refusalKept = 64 << 10

func pace(w http.ResponseWriter, stall time.Duration) *paced {
	return &paced{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

func (p *paced) WriteHeader(status int) {
	p.begun = true
	p.deadline()
	if p.status == 0 && status >= http.StatusOK {
		p.status = status
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *paced) Write(b []byte) (int, error) {
	p.begun = true
	p.deadline()
	if p.status >= http.StatusBadRequest && p.Header().Get("Content-Type") == problemType && p.refusal.Len()+len(b) <= refusalKept {
		p.refusal.Write(b)
	}
	return p.ResponseWriter.Write(b)
}

// problem is the code of the problem that it is, "" where it is none.
func (p *paced) problem() string {
	var is api.Problem
	if p.refusal.Len() == 0 || json.Unmarshal(p.refusal.Bytes(), &is) != nil {
		return ""
	}
	return is.Code
}

// Flush sends what was written.
func (p *paced) Flush() { _ = p.FlushError() }

// FlushError is Flush for http.ResponseController.
func (p *paced) FlushError() error {
	p.deadline()
	return p.control.Flush()
}

// deadline is that of the next write. A response without one, as in tests, is written to memory.
func (p *paced) deadline() { _ = p.control.SetWriteDeadline(time.Now().Add(p.stall)) }

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }
