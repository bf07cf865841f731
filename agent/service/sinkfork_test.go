package service

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/sanitize"
)

// contents are all files below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *copies) logAway() (back func()) {
	c.t.Helper()
	log, away := filepath.Join(c.state, "log"), filepath.Join(c.t.TempDir(), "log")
	if err := os.Rename(log, away); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		if err := os.RemoveAll(log); err != nil {
			c.t.Fatal(err)
		}
		if err := os.Rename(away, log); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *copies) mark() string { return filepath.Join(c.state, "keys", "log.checkpoint") }

// The only whole log is in the sink when the state has lost its own and has begun another, as a program did that knew nothing of marks.
// It stays as it is.
func TestASinkIsNotOverwrittenByAnotherLog(t *testing.T) {
	for name, jobs := range map[string][]string{"shorter": {"B"}, "longer": {"B", "C"}} {
		t.Run(name, func(t *testing.T) {
			c := withSink(t)
			for _, serial := range jobs {
				c.drive(serial, "", small)
			}
			c.close(c.x)
			// What a log of these keys can be without the other's entries: it is begun in a state that has forgotten all of its jobs.
			back := c.logAway()
			was := filepath.Join(t.TempDir(), "jobs")
			if err := os.Rename(filepath.Join(c.state, "jobs"), was); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(c.mark()); err != nil {
				t.Fatal(err)
			}
			before := contents(t, c.sink)
			c.begin()
			for _, serial := range jobs {
				j := c.start(c.x, c.plan(c.x, sanitize.Request{}, serial))
				c.follow(c.x, j.ID, "")
				c.unsafe("sink")
			}
			c.close(c.x)
			c.begin()
			c.unsafe("sink")
			if !maps.Equal(before, contents(t, c.sink)) {
				t.Error("the sink was touched")
			}
			c.close(c.x)
			back()
			if err := os.Remove(c.mark()); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{filepath.Join(c.state, "jobs"), filepath.Join(c.state, "records")} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(was, filepath.Join(c.state, "jobs")); err != nil {
				t.Fatal(err)
			}
			c.begin()
			c.safe()
		})
	}
}

// A host whose state has lost its log, or a part of it, is not safe, whether there is a sink and a mark or not; nothing is begun, by the
// agent or without it, and what the sink has stays there. With the log put back all goes on.
func TestAStateWithoutItsLog(t *testing.T) {
	entries := func(c *copies) error { return os.RemoveAll(filepath.Join(c.state, "log", "tile", "entries")) }
	for name, x := range map[string]struct {
		sink, marked, restart bool
		lose                  func(c *copies) error // of a log that is an empty directory; nil leaves it so
	}{
		"sink":                    {true, true, false, nil},
		"sink, restart":           {true, true, true, nil},
		"sink, restart, no mark":  {true, false, true, nil},
		"no sink":                 {false, true, false, nil},
		"no sink, restart":        {false, true, true, nil},
		"no sink, no mark":        {false, false, true, nil},
		"a part, sink":            {true, true, true, entries},
		"a part, no sink":         {false, true, false, entries},
		"a part, neither of them": {false, false, true, entries},
	} {
		t.Run(name, func(t *testing.T) {
			c := withSink(t)
			c.drive("B", "", small)
			c.close(c.x)
			if !x.sink {
				c.sink = ""
			}
			c.begin()
			if x.restart {
				c.close(c.x)
			}
			back := c.logAway()
			if err := os.Mkdir(filepath.Join(c.state, "log"), 0o700); err != nil {
				t.Fatal(err)
			}
			if x.lose != nil {
				back()
				kept := filepath.Join(t.TempDir(), "log")
				if err := os.CopyFS(kept, os.DirFS(filepath.Join(c.state, "log"))); err != nil {
					t.Fatal(err)
				}
				if err := x.lose(c); err != nil {
					t.Fatal(err)
				}
				back = func() {
					if err := os.CopyFS(filepath.Join(c.state, "log", "tile", "entries"), os.DirFS(filepath.Join(kept, "tile", "entries"))); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !x.marked {
				if err := os.Remove(c.mark()); err != nil {
					t.Fatal(err)
				}
			}
			var before map[string]string
			if x.sink {
				before = contents(t, c.sink)
			}
			if x.restart {
				c.begin()
			}
			c.unsafe("log")
			p := c.plan(c.x, sanitize.Request{}, "B")
			if _, err := c.x.Start(c.ctx, starting(p)); err == nil {
				t.Error("begun without the log")
			} else if !strings.Contains(err.Error(), "put the ") && !strings.Contains(err.Error(), "put it back") {
				t.Errorf("not told what to do: %v", err)
			}
			here := c.here(nil)
			q := c.plan(here, sanitize.Request{}, "B")
			if _, err := here.Start(c.ctx, starting(q)); err == nil {
				t.Error("begun without agent, and without the log")
			}
			c.unsafe("log")
			if x.sink && !maps.Equal(before, contents(t, c.sink)) {
				t.Error("the sink was touched")
			}
			back()
			if h, err := c.x.Health(c.ctx); err != nil || !h.SafeToPowerOff {
				t.Fatalf("%+v, %v", h.PowerOff, err)
			}
			j := c.start(c.x, c.plan(c.x, sanitize.Request{}, "B"))
			if _, end := c.follow(c.x, j.ID, ""); end.Drives[0].Certificate == nil {
				t.Errorf("%+v", end)
			}
		})
	}
}

// What is the state's own file by a link is no copy of it.
func TestASinkThatIsTheState(t *testing.T) {
	link := func(make func(old, new string) error) func(c *copies) error {
		return func(c *copies) error {
			if err := os.Remove(c.at(c.certificate())); err != nil {
				return err
			}
			return make(c.certificate(), c.at(c.certificate()))
		}
	}
	dir := func(name string) func(c *copies) error {
		return func(c *copies) error {
			if err := os.RemoveAll(filepath.Join(c.sink, name)); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(c.state, name), filepath.Join(c.sink, name))
		}
	}
	for name, replace := range map[string]func(c *copies) error{
		"symlink":  link(os.Symlink),
		"hardlink": link(os.Link),
		"jobs":     dir("jobs"),
		"log":      dir("log"),
	} {
		t.Run(name, func(t *testing.T) {
			c := withSink(t)
			if err := replace(c); err != nil {
				t.Fatal(err)
			}
			before := contents(t, filepath.Join(c.state, "log"))
			c.unsafe("sink")
			c.close(c.x)
			c.begin()
			c.unsafe("sink")
			if !maps.Equal(before, contents(t, filepath.Join(c.state, "log"))) {
				t.Error("the log was changed")
			}
		})
	}
	t.Run("the whole", func(t *testing.T) {
		c := withSink(t)
		if err := os.RemoveAll(c.sink); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(c.state, "log"), c.sink); err != nil {
			t.Fatal(err)
		}
		c.unsafe("sink")
		for name, sink := range map[string]string{"a link to it": c.sink, "in it": filepath.Join(c.state, "jobs", "x"), "around it": filepath.Dir(c.state), "under a link": filepath.Join(c.sink, "x")} {
			c.close(c.x)
			if _, err := New(Options{Agent: c.x.Agent, Host: c.x.Host, Resident: true, Sink: sink}); err == nil || !strings.Contains(err.Error(), "lost with") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if slices.Contains(slices.Collect(maps.Keys(contents(t, c.state))), filepath.Join(c.state, "log", sinkMarker)) {
			t.Error("the state was taken for a sink")
		}
	})
}
