package service

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
