package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// What a user would lose: an act is done twice because an answer was lost.
func TestTheSameKeyIsTheSameAct(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	s := &scripted{}
	v := serve(t, Options{Service: s, Keys: dir})
	first := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k"))
	for range 3 {
		s.seen() // so that the service would answer otherwise
		again := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k"))
		if again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
			t.Fatalf("%+v, then %+v", first, again)
		}
		v.stop() // another process, as far as the server can tell
		v = serve(t, Options{Service: s, Keys: dir})
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("it was done again: %v", calls)
	}
	for _, x := range [][2]string{{"/v1/jobs", strings.Replace(goodStart, "1", "2", 1)}, {"/v1/jobs/j/abandon", `{"why":"x"}`}} {
		problemIs(t, v.ask(t, "POST", x[0], x[1], withKey("k")), 409, "key_reused", api.ExitRefused)
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("what was refused was done: %v", calls)
	}
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("another")); r.status != 202 || len(s.seen()) != 1 {
		t.Errorf("another key: %+v", r)
	}
}

// An agent whose first start is on a full disk answers, and keeps answers as soon as there is room: also for the next.
func TestTheFirstStartIsOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no disk can be made that fills up: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("it is not full: %v", err)
	}
	s, dir := &scripted{}, filepath.Join(disk, "keys")
	v := serve(t, Options{Service: s, Keys: dir})
	if r := v.ask(t, "GET", "/v1/health", ""); r.status != 200 {
		t.Errorf("%+v", r)
	}
	problemIs(t, v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")), 507, api.CodeNotBegun, api.ExitInternal)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	first := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k"))
	v.stop()
	s.seen()
	v = serve(t, Options{Service: s, Keys: dir})
	if again := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")); first.status != 202 || again.status != first.status || again.body != first.body {
		t.Errorf("%+v, then %+v", first, again)
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("it was done again: %v", calls)
	}
}

func TestKeysAreOfOnePrincipal(t *testing.T) {
	k := openTestKeys(t)
	for i, who := range []string{"uid:1", "uid:2"} {
		a, err := k.do(t.Context(), false, who, "k", fmt.Sprint("request", i), func() *answer { return says(201, who) })
		if err != nil || a.body.String() != who {
			t.Fatalf("%s: %v, %v", who, a, err)
		}
	}
	if k.file("uid:1", "2k") == k.file("uid:12", "k") {
		t.Error("two principals share a file")
	}
}

func openTestKeys(t *testing.T) *keys {
	t.Helper()
	s := testServer(t, Options{Service: &scripted{}})
	return s.keys
}

func says(status int, text string) *answer {
	a := newAnswer()
	a.WriteHeader(status)
	a.body.WriteString(text)
	return a
}

// A refusal of the moment is no answer to the act.
func TestWhatIsOfAMomentIsNotKept(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s})
	for i, x := range []struct {
		err  error
		kept bool
	}{
		{errBroken, false},
		{api.NewProblem(api.ExitRefused, "halted", "", errBroken), false},
		{api.NewProblem(api.ExitPermission, "forbidden", "", errBroken), false},
		{api.NewProblem(api.ExitRefused, "too_many_requests", "", errBroken), false},
		{api.NewProblem(api.ExitPermission, "unauthorized", "", errBroken), false},
		{api.Refusef("mounted", "", "it is in use"), true},
		{api.NewProblem(api.ExitNotFound, "not_found", "", errBroken), true},
	} {
		key := withKey(fmt.Sprint("k", i))
		s.set(func() { s.fail = x.err })
		first := v.ask(t, "POST", "/v1/jobs", goodStart, key)
		s.set(func() { s.fail = nil })
		again := v.ask(t, "POST", "/v1/jobs", goodStart, key)
		if kept := again.status == first.status && again.body == first.body; kept != x.kept || !kept && again.status != 202 {
			t.Errorf("%v: %d %s, then %d %s", x.err, first.status, first.body, again.status, again.body)
		}
		// Even one that is not kept holds its key to its request.
		problemIs(t, v.ask(t, "POST", "/v1/jobs/j/cancel", "", key), 409, "key_reused", api.ExitRefused)
	}
}

func TestOneOfTwoRequestsActsAndBothAreAnswered(t *testing.T) {
	hold := make(chan struct{})
	s := &scripted{hold: hold}
	v := serve(t, Options{Service: s})
	answers := make([]reply, 5)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], _ = v.try("POST", "/v1/jobs", goodStart, withKey("k")) })
	}
	eventually(t, "one acts", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 1
	})
	close(hold)
	all.Wait()
	for _, r := range answers {
		if r.status != 202 || r.body != answers[0].body {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

// What a user would lose: an act that is half done because a cable was pulled, and no way to learn what became of it.
func TestAnActOutlivesItsConnection(t *testing.T) {
	hold := make(chan struct{})
	s := &scripted{hold: hold}
	v := serve(t, Options{Service: s})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := v.tryContext(ctx, "POST", "/v1/jobs", goodStart, withKey("k"))
		gone <- err
	}()
	eventually(t, "it acts", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 1
	})
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(hold)
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")); r.status != 202 || !strings.Contains(r.body, `"j1"`) || len(s.seen()) != 1 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// What a user would lose: a report that nothing was done, of something that was.
func TestWithoutRoomNothingIsDoneAndNothingDoneIsDenied(t *testing.T) {
	s := &scripted{}
	srv := testServer(t, Options{Service: s, Access: everything(t)})
	v := serveWith(t, srv)
	srv.keys.free = func(string) (int64, error) { return keyRoom - 1, nil }
	problemIs(t, v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")), 507, api.CodeNotBegun, api.ExitInternal)
	if calls := s.seen(); len(calls) != 0 {
		t.Fatalf("it was done all the same: %v", calls)
	}
	// The room goes while the act is done.
	srv.keys.free = func(string) (int64, error) { return math.MaxInt64, nil }
	aside := srv.keys.dir + ".aside"
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	done := make(chan reply)
	go func() {
		r, _ := v.try("POST", "/v1/jobs", goodStart, withKey("k"))
		done <- r
	}()
	eventually(t, "it acts", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 1
	})
	if err := os.Rename(srv.keys.dir, aside); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if r := <-done; r.status != 202 || !strings.Contains(r.body, `"j1"`) || r.header.Get("Expunge-Answer-Kept") != "no" {
		t.Errorf("%+v", r)
	}
	r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k2"))
	problemIs(t, r, 507, api.CodeNotBegun, api.ExitInternal)
	if !strings.Contains(r.body, "nothing was done") || len(s.seen()) != 1 {
		t.Errorf("%s", r.body)
	}
	if err := os.Rename(aside, srv.keys.dir); err != nil {
		t.Fatal(err)
	}
	// What was begun and has no answer is done again.
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")); r.status != 202 || len(s.seen()) != 1 {
		t.Errorf("%+v", r)
	}
}

// What a user would lose: a PIN, to whoever reads the state.
func TestNothingKeptSaysAPIN(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	v := serve(t, Options{Service: &scripted{}, Keys: dir})
	const body = `{"plan_id":"p","plan_digest":"d","expect_drives":1,"pins":{"d":"73519"}}`
	if r := v.ask(t, "POST", "/v1/jobs", body, withKey("k")); r.status != 202 {
		t.Fatalf("%+v", r)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		info, _ := e.Info()
		if err != nil || strings.Contains(string(data), "73519") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %q %v", e.Name(), info.Mode(), data, err)
		}
	}
	// Two states have two hashes of the same request.
	other := filepath.Join(t.TempDir(), "keys")
	w := serve(t, Options{Service: &scripted{}, Keys: other})
	w.ask(t, "POST", "/v1/jobs", body, withKey("k"))
	a, b := onlyKept(t, dir), onlyKept(t, other)
	if a.Request == b.Request || len(a.Request) != 64 {
		t.Errorf("%s and %s", a.Request, b.Request)
	}
}

func onlyKept(t *testing.T, dir string) *kept {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	record, err := (&keys{}).load(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestDamagedAnswersAreNotAnswers(t *testing.T) {
	s := &scripted{}
	srv := testServer(t, Options{Service: s, Access: everything(t)})
	v := serveWith(t, srv)
	file := srv.keys.file(fmt.Sprintf("uid:%d", os.Geteuid()), "k")
	for _, text := range []string{"", "{}", `{"schema":"expunge/kept-answer/v2","request":"x","begun":"2026-01-01T00:00:00Z"}`, `{"schema":"expunge/kept-answer/v1","request":"x","begun":"2026-01-01T00:00:00Z","answer":{"status":0,"content_type":"","body":null}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		problemIs(t, v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k")), 500, "internal", api.ExitInternal)
		if calls := s.seen(); len(calls) != 0 {
			t.Fatalf("%q: %v", text, calls)
		}
		// What stops a job is done all the same, and what is damaged stays as it is.
		r := v.ask(t, "POST", "/v1/jobs/j/cancel", "", withKey("k"))
		if calls := s.seen(); r.status != 200 || r.header.Get(keptHeader) != "no" || len(calls) != 1 {
			t.Errorf("%q: %+v, %v", text, r, calls)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%q, %v", now, err)
		}
	}
	if err := os.WriteFile(filepath.Join(srv.keys.dir, "salt"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(srv.keys.dir, srv.log); err == nil {
		t.Error("a damaged salt was taken")
	}
}

func TestAnswersAreKeptForSevenDays(t *testing.T) {
	k := openTestKeys(t)
	n := 0
	act := func() *answer { n++; return says(201, fmt.Sprint(n)) }
	for _, key := range []string{"old", "young"} {
		if _, err := k.do(t.Context(), false, "u", key, "r", act); err != nil {
			t.Fatal(err)
		}
	}
	file := k.file("u", "old")
	record, err := k.load(file)
	if err != nil {
		t.Fatal(err)
	}
	record.Begun = record.Begun.Add(-keyLifetime - time.Minute)
	if err := k.save(file, record); err != nil {
		t.Fatal(err)
	}
	if a, err := k.do(t.Context(), false, "u", "old", "r", act); err != nil || a.body.String() != "3" {
		t.Errorf("%v, %v", a, err)
	}
	past := time.Now().Add(-keyLifetime - time.Minute)
	if err := os.Chtimes(file, past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(k.dir, "salt"), past, past); err != nil {
		t.Fatal(err)
	}
	k.clean()
	names, err := os.ReadDir(k.dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
	if a, err := k.do(t.Context(), false, "u", "young", "r", act); err != nil || a.body.String() != "2" {
		t.Errorf("%v, %v", a, err)
	}
}

// What a user would lose: to know which answer says what came of an act, and which is of one request only.
func TestAnswersSayWhetherTheyAreTheActs(t *testing.T) {
	s := &scripted{}
	srv := testServer(t, Options{Service: s, Access: everything(t)})
	v := serveWith(t, srv)
	kept := func(what, path, key, want string, status int) {
		t.Helper()
		body := ""
		if path == "/v1/jobs" {
			body = goodStart
		}
		if r := v.ask(t, "POST", path, body, withKey(key)); r.status != status || r.header.Get(keptHeader) != want {
			t.Errorf("%s: %d, %q, want %d, %q", what, r.status, r.header.Get(keptHeader), status, want)
		}
	}
	fails := func(err error) { s.set(func() { s.fail = err }) }
	missing := api.NewProblem(api.ExitNotFound, "not_found", "", errBroken)
	for range 2 { // the second time as it was kept
		kept("done", "/v1/jobs", "done", "yes", 202)
	}
	fails(missing)
	for range 2 {
		kept("refused", "/v1/jobs", "refused", "yes", 404)
	}
	kept("of another request", "/v1/jobs/j/cancel", "refused", "", 409)
	fails(errBroken)
	kept("of the moment", "/v1/jobs", "again", "", 500)
	fails(missing)
	for range 2 { // the first may have done it
		kept("refused when asked again", "/v1/jobs", "again", "", 404)
	}
	fails(errBroken)
	kept("of the moment", "/v1/jobs", "again and done", "", 500)
	fails(nil)
	for range 2 {
		kept("done when asked again", "/v1/jobs", "again and done", "yes", 202)
	}
	srv.keys.free = func(string) (int64, error) { return 0, nil }
	kept("cancelled without room", "/v1/jobs/j/cancel", "c1", "no", 200)
	for status, err := range map[int]error{404: missing, 403: api.NewProblem(api.ExitPermission, "forbidden", "", errBroken), 409: api.Refusef("ended", "", "it has ended")} {
		fails(err)
		kept("not cancelled", "/v1/jobs/j/cancel", fmt.Sprint("c", status), "", status)
	}
}
