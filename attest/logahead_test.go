package attest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/expunge-dev/expunge/internal/durable"
)

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// removeIntents takes the statements of intents from a copy of a log, which are many and take their time to read.
func removeIntents(t *testing.T, l *Log, dir string) {
	t.Helper()
	err := l.update(func(t *tree) error {
		list, err := t.all(kindIntent, func(l leaf) bool { return l.Kind == kindIntent })
		for _, e := range list {
			err = errors.Join(err, os.Remove(filepath.Join(dir, envelopeName(e.Envelope))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A power cut while a record is written leaves a part of it, and the log without the entry; one while files are
// made from whole records leaves any subset of them, some empty, in part or zeros, and the log with every entry
// whose append had returned. That holds for who reads the directory as it is, and for who goes on with it.
func TestAppendSurvivesEveryCut(t *testing.T) {
	for _, before := range []int{0, 1, 3, 255, 256} {
		is := testIssuer(t, testKey(1, RoleHost))
		session := func() error {
			return is.Log.update(func(t *tree) error { _, err := is.session(t); return err })
		}
		if before > 0 {
			if err := session(); err != nil {
				t.Fatal(err)
			}
		}
		for n := range before - 1 {
			if _, err := is.Intent(testIntent("S", fmt.Sprint("j", n))); err != nil {
				t.Fatal(err)
			}
		}
		if before > 3 {
			if err := is.Log.Settle(); err != nil {
				t.Fatal(err)
			}
		}
		oldDir := copyDir(t, is.Log.dir)
		if before > 3 {
			removeIntents(t, is.Log, oldDir)
		}
		old, err := readOptional(filepath.Join(oldDir, aheadName))
		if err != nil {
			t.Fatal(err)
		}
		if before == 0 {
			err = session()
		} else {
			_, err = is.Intent(testIntent("NEW", "new"))
		}
		if err != nil {
			t.Fatal(err)
		}
		keys, err := os.ReadFile(filepath.Join(is.Log.dir, publicKeys))
		if err != nil {
			t.Fatal(err)
		}
		put(t, oldDir, publicKeys, keys) // it was on disk before anything was appended
		ahead, err := os.ReadFile(filepath.Join(is.Log.dir, aheadName))
		if err != nil || !bytes.HasPrefix(ahead, old) || len(ahead) == len(old) {
			t.Fatalf("%d entries: the next is not written ahead: %v", before, err)
		}
		check := func(what, dir string, size int) {
			t.Helper()
			audit := func() {
				t.Helper()
				if a, err := Audit(AuditInput{Log: os.DirFS(dir), Certificates: fstest.MapFS{}, Trust: trustIn(t, is.Key)}); err != nil || a.Count(Contradiction) > 0 || a.Size != int64(size) {
					t.Fatalf("%d entries, %s: audit: %v, %d entries, %s", before, what, err, a.Size, foundIn(a))
				}
			}
			audit()
			cut := is
			cut.Log = OpenLog(dir, is.Log.key, testNow)
			if err := cut.Log.Check(); err != nil {
				t.Fatalf("%d entries, %s: %v", before, what, err)
			}
			audit()
			if n, err := cut.Log.Size(); err != nil || n != int64(size) {
				t.Fatalf("%d entries, %s: %d entries, %v", before, what, n, err)
			}
			data := mustIssue(t, cut, "NEW", "new")
			if r := Verify(data, trustIn(t, is.Key)); r.Code != CodeOK {
				t.Fatalf("%d entries, %s: %v", before, what, r.Reasons)
			}
		}
		for quarter := range 5 {
			at := len(old) + (len(ahead)-len(old))*quarter/4
			size := before
			if quarter == 4 {
				size++
			}
			dir := copyDir(t, oldDir)
			put(t, dir, aheadName, ahead[:at])
			check(fmt.Sprint("record cut in quarter ", quarter), dir, size)
			dir = copyDir(t, oldDir)
			put(t, dir, aheadName, append(bytes.Clone(ahead[:at]), make([]byte, len(ahead)-at)...))
			check(fmt.Sprint("record of zeros from quarter ", quarter), dir, size)
		}
		a, err := readAhead(ahead)
		if err != nil {
			t.Fatal(err)
		}
		files, all := a.files, 1
		for range files {
			all *= 3
		}
		step := all/27 + 1 // never a multiple of three: each file comes to be in each state
		for subset := 0; subset < all; subset += step {
			dir := copyDir(t, oldDir)
			put(t, dir, aheadName, ahead)
			for i, rest := 0, subset; i < len(files); i, rest = i+1, rest/3 {
				data := files[i].Data
				switch part := (subset + i) % 3; {
				case rest%3 == 0:
					continue
				case rest%3 == 1 && part == 0:
					data = nil
				case rest%3 == 1 && part == 1:
					data = data[:len(data)/2]
				case rest%3 == 1:
					data = make([]byte, len(data))
				}
				put(t, dir, files[i].Name, data)
			}
			check(fmt.Sprint("subset ", subset), dir, before+1)
		}
	}
}

// What a cut cannot leave was done by somebody, and is neither taken nor made good.
func TestChangedWriteAheadFileIsRefused(t *testing.T) {
	build := func(t *testing.T) Issuer {
		is := testIssuer(t, testKey(1, RoleHost))
		mustIssue(t, is, "S", "j1")
		for _, job := range []string{"j2", "j3"} {
			if _, err := is.Intent(testIntent("S", job)); err != nil {
				t.Fatal(err)
			}
		}
		return is
	}
	is := build(t)
	ahead, err := os.ReadFile(filepath.Join(is.Log.dir, aheadName))
	if err != nil {
		t.Fatal(err)
	}
	a, err := readAhead(ahead)
	if err != nil || a.first != 4 || a.last != 5 {
		t.Fatalf("%+v, %v", a, err)
	}
	file := func(part string) durable.Named {
		for _, f := range a.files {
			if strings.Contains(f.Name, part) {
				return f
			}
		}
		t.Fatal(part)
		return durable.Named{}
	}
	flip := func(d []byte) []byte { d = bytes.Clone(d); d[len(d)/2] ^= 1; return d }
	other := build(t)
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		audit  string // of the contradictions
	}{
		"first record": {func(t *testing.T, dir string) {
			data := bytes.Clone(ahead)
			data[200] ^= 1
			put(t, dir, aheadName, data)
		}, ""}, // the files stand by themselves, without the entries
		"tile":       {func(t *testing.T, dir string) { put(t, dir, "tile/0/000.p/5", flip(file("tile/0/").Data)) }, "tile_altered"},
		"entries":    {func(t *testing.T, dir string) { put(t, dir, "tile/entries/000.p/5", flip(file("entries").Data)) }, "leaf_"},
		"statement":  {func(t *testing.T, dir string) { put(t, dir, file("envelopes").Name, []byte("{}")) }, "statement_altered"},
		"checkpoint": {func(t *testing.T, dir string) { put(t, dir, "checkpoint", []byte("expunge.log/x\n9\n")) }, "checkpoint_invalid"},
		"signature of the checkpoint": {func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, "checkpoint", flip(data))
		}, ""}, // what stands in the records is newer, and whole
		"checkpoint gone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
				t.Fatal(err)
			}
		}, "checkpoint_missing"},
		"records of a log of the same key": {func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(other.Log.dir, aheadName))
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, aheadName, data)
		}, "statement_altered"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, is.Log.dir)
			c.change(t, dir)
			before := files(t, dir)
			l := OpenLog(dir, is.Log.key, testNow)
			var wrong *LogError
			if err := l.Check(); !errors.As(err, &wrong) {
				t.Fatalf("error %v, want a *LogError", err)
			}
			for name, data := range files(t, dir) {
				if before[name] != data {
					t.Errorf("%s was changed", name)
				}
			}
			found, err := Audit(AuditInput{Log: os.DirFS(dir), Certificates: fstest.MapFS{}, Trust: trustIn(t, is.Key)})
			if err != nil || (found.Count(Contradiction) > 0) != (c.audit != "") || !strings.Contains(foundIn(found), c.audit) {
				t.Errorf("audit: %v, %s", err, foundIn(found))
			}
		})
	}
	// While the log is held open.
	if err := os.Truncate(filepath.Join(is.Log.dir, aheadName), 0); err != nil {
		t.Fatal(err)
	}
	if err := is.Log.Check(); err == nil {
		t.Error("entries were taken away, and it was not noticed")
	}
}

// Two processes that hold one log open see each other's entries, whoever wrote them ahead and whoever made the files.
func TestTwoProcessesShareALog(t *testing.T) {
	one := testIssuer(t, testKey(1, RoleHost))
	two := one
	two.Run, two.Log = testRun(RoleHost), OpenLog(one.Log.dir, one.Log.key, testNow)
	for n := range 20 {
		is := one
		if n%3 == 1 {
			is = two
		}
		job := fmt.Sprint("j", n)
		if _, err := is.Intent(testIntent("S", job)); err != nil {
			t.Fatal(err)
		}
		if n%5 == 4 {
			if r := Verify(mustIssue(t, is, "S", job), trustIn(t, is.Key)); r.Code != CodeOK || r.Intent.Attempt != int64(n+1) {
				t.Fatalf("%s: attempt %d, %v", job, r.Intent.Attempt, r.Reasons)
			}
		}
	}
	for _, is := range []Issuer{one, two} {
		if n, err := is.Log.Size(); err != nil || n != 26 {
			t.Errorf("%d entries, %v", n, err)
		}
		if err := is.Log.Check(); err != nil {
			t.Error(err)
		}
	}
	if a, err := auditOfResults(AuditInput{Log: os.DirFS(one.Log.dir), Certificates: fstest.MapFS{}, Trust: trustIn(t, one.Key)}); err != nil || a.Count(Contradiction) > 0 || a.Size != 26 {
		t.Errorf("%v: %d entries, %s", err, a.Size, foundIn(a))
	}
}
