package attest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptLog is a log of so many certificates with its mark, in a directory of its own. The first are the same in all of them.
func keptLog(t *testing.T, key byte, jobs ...string) (is Issuer, mark string) {
	t.Helper()
	is = testIssuer(t, testKey(1, RoleHost))
	mark = filepath.Join(t.TempDir(), "log.checkpoint")
	is.Log = reopened(is.Log.dir, key, mark)
	for _, job := range jobs {
		mustIssue(t, is, "A", job)
	}
	return is, mark
}

// reopened is a log as another process has it.
func reopened(dir string, key byte, mark string) *Log {
	l := OpenLog(dir, testLogKey(key), testNow)
	l.Mark(mark)
	return l
}

// copied is a directory as it is now.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func logSays(t *testing.T, what string, err error, want string) {
	t.Helper()
	var told *LogError
	if want == "" && err != nil || want != "" && (!errors.As(err, &told) || !strings.Contains(told.Problem, want)) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// What an auditor would lose: entries, without anybody being told. Another process knows a log by its mark alone.
func TestALogThatIsNotWhatItWas(t *testing.T) {
	is, mark := keptLog(t, 5, "j1")
	older, olderMark := copied(t, is.Log.dir), filepath.Join(t.TempDir(), "older")
	text, err := os.ReadFile(mark)
	if err == nil {
		err = os.WriteFile(olderMark, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustIssue(t, is, "A", "j2")
	now := copied(t, is.Log.dir)
	fork, forkMark := keptLog(t, 5, "other 1", "other 2", "other 3")
	foreign, foreignMark := keptLog(t, 6, "j1")
	empty := t.TempDir()
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	holed := copied(t, now)
	envelopes, err := filepath.Glob(filepath.Join(holed, "tile", "entries", "*.p", "*"))
	if err != nil || len(envelopes) == 0 {
		t.Fatalf("%v, %v", envelopes, err)
	}
	for _, name := range envelopes {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what, dir, mark string
		entries         int64
		want            string
	}{
		{"as it was", now, mark, 0, ""},
		{"longer than its mark", now, olderMark, 0, ""},
		{"without a mark", older, filepath.Join(empty, "none"), 0, ""},
		{"gone, and so is its directory", filepath.Join(empty, "gone"), mark, 0, "directory is missing"},
		{"gone", empty, mark, 0, "is missing"},
		{"shorter", older, mark, 0, "put the whole log of this state back"},
		{"shorter than the journals say", older, filepath.Join(empty, "none"), 1000, "put the whole log of this state back"},
		{"forked", fork.Log.dir, mark, 0, "are not those that"},
		{"forked, seen from the other", now, forkMark, 0, "put the"},
		{"with a damaged mark", now, damaged, 0, "how far it was is not known"},
		{"with another log's mark", now, foreignMark, 0, "how far it was is not known"},
		{"with files missing", holed, mark, 0, "is missing"},
	} {
		logSays(t, c.what, reopened(c.dir, 5, c.mark).Stands(c.entries), c.want)
	}

	// Nothing is added to one, and its mark says the same as before.
	before, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	other := is
	other.Log = reopened(older, 5, mark)
	_, err = issue(t, is, "A", "j3", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Intent(testIntent("A", "j4"))
	logSays(t, "adding to a shorter one", err, "put the whole log of this state back")
	if after, err := os.ReadFile(mark); err != nil || string(after) != string(before) {
		t.Errorf("the mark is another: %v", err)
	}

	// What a copy has is not lost to a log that has it not.
	for _, c := range []struct {
		what, log, copy string
		want            string
	}{
		{"the same", now, now, ""},
		{"older", now, older, ""},
		{"newer", older, now, "the copy had"},
		{"a fork", now, fork.Log.dir, "the copy had"},
		{"another log", now, foreign.Log.dir, "the copy is of another log"},
		{"nothing yet", now, empty, ""},
	} {
		logSays(t, "a copy that is "+c.what, reopened(c.log, 5, filepath.Join(empty, "none")).GoesOnFrom(os.DirFS(c.copy)), c.want)
	}
	if err := os.WriteFile(filepath.Join(older, "checkpoint"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	logSays(t, "a damaged copy", reopened(now, 5, mark).GoesOnFrom(os.DirFS(older)), "")
}
