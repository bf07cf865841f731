package service

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// copies is a site with a job whose evidence is in a sink.
type copies struct {
	*site
	x    *Service
	sink string
	job  api.Job
}

func withSink(t *testing.T) *copies {
	s := newSite(t)
	s.drive("A", "", small)
	c := &copies{site: s, sink: filepath.Join(t.TempDir(), "sink")}
	c.begin()
	j := s.start(c.x, s.plan(c.x, sanitize.Request{}, "A"))
	_, c.job = s.follow(c.x, j.ID, "")
	c.safe()
	return c
}

func (c *copies) begin() { c.x = c.serve(func(o *Options) { o.Sink = c.sink }) }

// safe wants the host to be safe, with all of the evidence in the sink.
func (c *copies) safe() {
	c.t.Helper()
	if h, err := c.x.Health(c.ctx); err != nil || !h.SafeToPowerOff {
		c.t.Fatalf("%+v, %v", h.PowerOff, err)
	}
	p, err := c.x.Agent.PlanOf(c.job.ID)
	if c.job.ID == "" {
		return
	}
	if err != nil {
		c.t.Fatal(err)
	}
	files := c.x.Agent.KeptOf(c.job.ID, p)
	if len(files) != 6 {
		c.t.Fatal(files)
	}
	for _, name := range files {
		have, err := os.ReadFile(name)
		copied, errCopied := os.ReadFile(c.at(name))
		if err != nil || errCopied != nil || !bytes.Equal(have, copied) {
			c.t.Fatalf("called safe, with %s not in the sink: %v, %v", name, err, errCopied)
		}
	}
	if err := c.auditSink(); err != nil {
		c.t.Fatalf("called safe, with the log not in the sink: %v", err)
	}
}

// unsafe wants a reason why the host is not safe.
func (c *copies) unsafe(code string) {
	c.t.Helper()
	h, err := c.x.Health(c.ctx)
	if err != nil || h.SafeToPowerOff || !slices.ContainsFunc(h.PowerOff, func(r devices.Reason) bool { return r.Code == code }) {
		c.t.Fatalf("safe %v, %+v, %v; want %s", h.SafeToPowerOff, h.PowerOff, err, code)
	}
}

// at is where a file of the state is in the sink.
func (c *copies) at(name string) string {
	c.t.Helper()
	below, err := filepath.Rel(c.state, name)
	if err != nil {
		c.t.Fatal(err)
	}
	return filepath.Join(c.sink, below)
}

func (c *copies) certificate() string { return *c.job.Drives[0].Certificate }

// auditSink audits what is in the sink alone, as somebody does who has lost the state.
func (c *copies) auditSink() error {
	key, err := c.x.Agent.Key()
	if err != nil {
		return err
	}
	trust, err := attest.ParseTrust(key.PublicPEM())
	if err != nil {
		return err
	}
	a, err := attest.Audit(attest.AuditInput{Log: os.DirFS(filepath.Join(c.sink, "log")), Certificates: os.DirFS(filepath.Join(c.sink, "jobs")), Trust: trust})
	if err != nil {
		return err
	}
	if a.Size == 0 || a.Count(attest.Contradiction)+a.Count(attest.Omission) > 0 {
		return fmt.Errorf("%d entries, %+v", a.Size, a.Findings)
	}
	return nil
}

// What was copied and is not there any more, or not as it was, is copied again before the host is called safe.
func TestASinkThatLosesSomething(t *testing.T) {
	for name, lose := range map[string]func(c *copies) error{
		"a certificate is removed": func(c *copies) error { return os.Remove(c.at(c.certificate())) },
		"a certificate is changed": func(c *copies) error {
			data, err := os.ReadFile(c.at(c.certificate()))
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(c.at(c.certificate()), data, 0o600)
		},
		"it is emptied": func(c *copies) error {
			entries, err := os.ReadDir(c.sink)
			for _, e := range entries {
				if err == nil {
					err = os.RemoveAll(filepath.Join(c.sink, e.Name()))
				}
			}
			return err
		},
		"the log is removed": func(c *copies) error { return os.RemoveAll(filepath.Join(c.sink, "log")) },
		"the checkpoint is cut": func(c *copies) error {
			return os.Truncate(filepath.Join(c.sink, "log", "checkpoint"), 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := withSink(t)
			if err := lose(c); err != nil {
				t.Fatal(err)
			}
			c.safe()
		})
	}
}

// Where something else is in the place of the sink, as when it is not mounted any more, the host is not safe and nothing is copied there,
// by the agent that has copied to it before and by the next.
func TestASinkThatIsNotThere(t *testing.T) {
	c := withSink(t)
	away := c.sink + ".away"
	if err := os.Rename(c.sink, away); err != nil {
		t.Fatal(err)
	}
	c.unsafe("sink")
	if err := os.Mkdir(c.sink, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.unsafe("sink")
		if entries, err := os.ReadDir(c.sink); err != nil || len(entries) > 0 {
			t.Fatalf("%v, %v", entries, err)
		}
		c.close(c.x)
		c.begin()
	}
	if err := os.Remove(c.sink); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, c.sink); err != nil {
		t.Fatal(err)
	}
	c.safe()
}

// Two states do not share a sink: their logs have the same names.
func TestASinkOfAnotherState(t *testing.T) {
	c := withSink(t)
	other := newSite(t)
	other.drive("B", "", small)
	o := &copies{site: other, sink: c.sink}
	o.begin()
	j := o.start(o.x, o.plan(o.x, sanitize.Request{}, "B"))
	o.follow(o.x, j.ID, "")
	o.unsafe("sink")
	c.safe()
}

// A certificate that has more than it had, as by a validation, is copied again; one that is gone is missed.
func TestACertificateThatChanges(t *testing.T) {
	c := withSink(t)
	_, key := approver(t, "Val")
	text, err := os.ReadFile(c.certificate())
	if err != nil {
		t.Fatal(err)
	}
	r := attest.Verify(text, attest.Trust{})
	if _, err := c.x.Agent.Validate(c.job.ID, c.job.Drives[0].ID, *r.Result, attest.Judgement{Decision: attest.Reject, By: attest.Person{Name: "Val"}, Reason: "a label is missing"}, key, nil); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(c.certificate()); err != nil || bytes.Equal(now, text) {
		t.Fatalf("it has not changed: %v", err)
	}
	c.safe()
	if err := os.Remove(c.certificate()); err != nil {
		t.Fatal(err)
	}
	c.unsafe("uncertified")
	if _, err := c.x.Agent.Reissue(c.job.ID, c.job.Drives[0].ID); err != nil {
		t.Fatal(err)
	}
	c.safe()
}

// The keys of overwrites, and those that sign, stay where they are.
func TestASinkHasNoSecrets(t *testing.T) {
	c := withSink(t)
	kept := map[string]bool{}
	err := filepath.WalkDir(c.sink, func(name string, d fs.DirEntry, err error) error {
		kept[d.Name()] = true
		return err
	})
	if err != nil || kept["secrets"] || kept["keys"] && !isDir(filepath.Join(c.sink, "log", "keys")) || !kept["journal"] || !kept["plan.json"] || !kept["started.json"] {
		t.Errorf("%v, %v", kept, err)
	}
	if _, err := os.Stat(filepath.Join(c.sink, "keys")); err == nil {
		t.Error("the state's keys are in the sink")
	}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// The sink's copy of the log does not keep the tiles that wider ones replace.
func TestASinkTidiesTheLog(t *testing.T) {
	c := withSink(t)
	for _, serial := range []string{"B", "C"} {
		c.drive(serial, "", small)
		j := c.start(c.x, c.plan(c.x, sanitize.Request{}, serial))
		_, c.job = c.follow(c.x, j.ID, "")
		c.safe()
	}
	for _, dir := range []string{c.state, c.sink} {
		files, err := filepath.Glob(filepath.Join(dir, "log", "tile", "0", "*.p", "*"))
		if err != nil || len(files) != 1 {
			t.Errorf("%v, %v", files, err)
		}
	}
}

// A sink that does not answer makes nobody wait for long, and nothing safe.
func TestASinkThatDoesNotAnswer(t *testing.T) {
	c := withSink(t)
	c.x.mu.Lock()
	c.x.looking = &look{done: make(chan struct{})} // a look that has no end
	c.x.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Millisecond)
	defer cancel()
	h, err := c.x.Health(ctx)
	if err != nil || h.SafeToPowerOff || h.PowerOff[0].Code != "unknown" {
		t.Fatalf("%+v, %v", h, err)
	}
}
