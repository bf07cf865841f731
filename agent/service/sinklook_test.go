package service

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/sanitize"
)

// Where every drive of the only start was refused there is no job, and a manifest all the same: it is in the sink, with its log, before the
// host is called safe.
func TestASinkHasRecordsOfNoJob(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	c := &copies{site: s, sink: filepath.Join(t.TempDir(), "sink")}
	c.begin()
	c.safe()
	if _, err := os.Stat(c.sink); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is nothing to be copied: %v", err)
	}
	p, err := c.x.Agent.Plan(s.ctx, []string{"A"}, sanitize.Request{})
	if err == nil {
		err = s.rack.Use("A", "mounted:/srv")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.x.Agent.Start(s.ctx, p, agent.Started{}, agent.Observer{})
	var refused *agent.RefusedError
	if !errors.As(err, &refused) || refused.Manifest == "" {
		t.Fatalf("%+v, %v", refused, err)
	}
	c.safe()
	for _, name := range []string{refused.Manifest, filepath.Join(c.x.Agent.LogDir(), "checkpoint")} {
		have, err := os.ReadFile(name)
		copied, errCopied := os.ReadFile(c.at(name))
		if err != nil || errCopied != nil || !bytes.Equal(have, copied) {
			t.Errorf("called safe, with %s not in the sink: %v, %v", name, err, errCopied)
		}
	}
}

// A certificate that another process writes while its job is looked at is in the sink before the host is called safe.
func TestACertificateThatComesWhileItIsLooked(t *testing.T) {
	c := withSink(t)
	away := c.certificate() + ".away"
	if err := errors.Join(os.Rename(c.certificate(), away), os.Remove(c.at(c.certificate()))); err != nil {
		t.Fatal(err)
	}
	c.unsafe("uncertified")
	// The plan is read twice for a look, before and after it is noted which files there are: who reads it the second time finds the certificate.
	plan := filepath.Join(c.state, "jobs", c.job.ID, "plan.json")
	data, err := os.ReadFile(plan)
	if err == nil {
		err = errors.Join(os.Rename(plan, plan+".away"), syscall.Mkfifo(plan, 0o600), syscall.Mkfifo(plan+".next", 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() {
		err := given(plan, data, func() error { return os.Rename(plan+".next", plan) })
		if err == nil {
			err = given(plan, data, func() error { return errors.Join(os.Rename(away, c.certificate()), os.Rename(plan+".away", plan)) })
		}
		told <- err
	}()
	if h, err := c.x.Health(c.ctx); err != nil || !h.SafeToPowerOff {
		t.Fatalf("%+v, %v", h.PowerOff, err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(c.certificate())
	copied, errCopied := os.ReadFile(c.at(c.certificate()))
	if err != nil || errCopied != nil || !bytes.Equal(have, copied) {
		t.Errorf("called safe, with the certificate not in the sink: %v, %v", err, errCopied)
	}
}

// given gives data to the one who reads a named pipe, when that has opened it and something else is done.
func given(name string, data []byte, first func() error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = first()
	_, failed := f.Write(data)
	return errors.Join(err, failed, f.Close())
}

// In a volatile state without a sink they are what a loss of power takes away, as jobs are.
func TestRecordsOfNoJobInAVolatileState(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(func(o *Options) { o.testOnlyVolatile = func() bool { return true } })
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff {
		t.Errorf("there is nothing to lose: %+v, %v", h, err)
	}
	p, err := x.Agent.Plan(s.ctx, []string{"A"}, sanitize.Request{})
	if err == nil {
		err = s.rack.Use("A", "mounted:/srv")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err = x.Agent.Start(s.ctx, p, agent.Started{}, agent.Observer{}); err == nil {
		t.Fatal("a mounted drive was erased")
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff || h.PowerOff[0].Code != "state_volatile" {
		t.Errorf("%+v, %v", h, err)
	}
}
