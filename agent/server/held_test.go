package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// What a user would lose: a disk; or, to the same end, an act that is done twice because its answer was forgotten.
func TestKeptAnswersAreBoundedAndNoneIsForgotten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var told toldOf
	s := &scripted{}
	open := func() (*Server, *served) {
		srv := testServer(t, Options{Service: s, Access: everything(t), Keys: dir, Refused: told.refused})
		srv.keys.most = 3
		return srv, serveWith(t, srv)
	}
	srv, v := open()
	var first []reply
	for i := range 3 {
		r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey(fmt.Sprint("k", i)))
		if r.status != 202 {
			t.Fatalf("%+v", r)
		}
		first = append(first, r)
	}
	s.seen()
	full := func() {
		t.Helper()
		r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("one more"))
		problemIs(t, r, 429, "too_many_keys", api.ExitRefused)
		if r.header.Get("Retry-After") == "" || !strings.HasSuffix(told.take(), "jobs.start /v1/jobs too_many_keys") {
			t.Errorf("%v", r.header)
		}
		for i, want := range first {
			if again := v.ask(t, "POST", "/v1/jobs", goodStart, withKey(fmt.Sprint("k", i))); again.status != want.status || again.body != want.body {
				t.Errorf("%d was forgotten: %+v", i, again)
			}
		}
		if calls := s.seen(); len(calls) != 0 {
			t.Fatalf("it was done: %v", calls)
		}
	}
	full()
	v.stop() // after a restart it is the same
	srv, v = open()
	full()
	// Whoever asks too much can still cancel, with nothing kept of it, and be halted; others can act.
	names := func() []string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	before := names()
	for i, key := range []string{"c1", "c2", "c1"} {
		r := v.ask(t, "POST", "/v1/jobs/j/cancel", "", withKey(key))
		if calls := s.seen(); r.status != 200 || r.header.Get("Expunge-Answer-Kept") != "no" || len(calls) != 1 {
			t.Errorf("cancel %d: %+v, %v", i, r, calls)
		}
	}
	if after := names(); len(after) != len(before) || len(srv.keys.running) != 0 {
		t.Errorf("it is kept: %v, then %v; %v", before, after, srv.keys.running)
	}
	srv.keys.free = func(string) (int64, error) { return 0, nil }
	if r := v.ask(t, "POST", "/v1/jobs/j/cancel", "", withKey("c3")); r.status != 200 || len(s.seen()) != 1 {
		t.Errorf("cancel on a full disk: %+v", r)
	}
	srv.keys.free = func(string) (int64, error) { return 1 << 40, nil }
	if r := v.ask(t, "PUT", "/v1/halt", `{"halted":true,"reason":"it is mad"}`); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if a, err := srv.keys.do(t.Context(), false, "uid:other", "k", "r", func() *answer { return says(201, "x") }); err != nil || a.status != 201 {
		t.Errorf("%v, %v", a, err)
	}
	// What is over its time makes room.
	me := fmt.Sprintf("uid:%d", os.Geteuid())
	file := srv.keys.file(me, "k1")
	record, err := srv.keys.load(file)
	if err != nil {
		t.Fatal(err)
	}
	record.Begun = record.Begun.Add(-keyLifetime - time.Minute)
	if err := srv.keys.save(file, record); err != nil {
		t.Fatal(err)
	}
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("one more")); r.status != 202 {
		t.Errorf("%+v", r)
	}
	problemIs(t, v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k1")), 429, "too_many_keys", api.ExitRefused)
	past := time.Now().Add(-keyLifetime - time.Minute)
	if err := os.Chtimes(srv.keys.file(me, "k0"), past, past); err != nil {
		t.Fatal(err)
	}
	srv.keys.clean()
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("k1")); r.status != 202 {
		t.Errorf("%+v", r)
	}
}

// The same of their bytes.
func TestBytesOfKeptAnswersAreBounded(t *testing.T) {
	k := openTestKeys(t)
	k.size = 10_000
	n := 0
	var err error
	for ; n < 100 && err == nil; n++ {
		_, err = k.do(t.Context(), false, "u", fmt.Sprint(n), "r", func() *answer { return says(201, strings.Repeat("x", 3000)) }) // 4,000 in base64
	}
	if n != 4 || api.ProblemOf(err).Code != "too_many_keys" {
		t.Errorf("%d, %v", n, err)
	}
	names, err := filepath.Glob(filepath.Join(k.dir, "*.json"))
	if err != nil || len(names) != 3 {
		t.Fatalf("%v, %v", names, err)
	}
	var bytes int64
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	if held := k.held["u"]; held.bytes != bytes || len(held.files) != 3 {
		t.Errorf("%d bytes are counted, and there are %d", held.bytes, bytes)
	}
}

// Answers that were kept before it was noted whose they are still count.
func TestAnswersWithoutAPrincipalAreAnswers(t *testing.T) {
	k := openTestKeys(t)
	if err := os.WriteFile(k.file("u", "k"), []byte(`{"schema":"expunge/kept-answer/v1","request":"r","begun":"`+time.Now().UTC().Format(time.RFC3339)+`","answer":{"status":201,"content_type":"text/plain","body":"aGVsbG8="}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := k.do(t.Context(), false, "u", "k", "r", func() *answer { return says(500, "done again") })
	if err != nil || a.body.String() != "hello" {
		t.Errorf("%+v, %v", a, err)
	}
}
