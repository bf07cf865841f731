package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
)

// FuzzBody: no body makes the server fail, and none that it refuses reaches the service.
func FuzzBody(f *testing.F) {
	var posts []string
	for _, e := range endpoints {
		if e.method == http.MethodPost || e.method == http.MethodPut {
			f.Add(uint8(len(posts)), []byte(e.body))
			posts = append(posts, e.method+" "+e.at)
		}
	}
	for _, text := range []string{"", "null", "[]", `{"drives":[]}`, `{"drives":null}`, `{"drives":["S"],"policy_file":{"policy":"x","rules":[{}],"require":{"low":{"reuse":"clear"}}}}`, `{"drives":["S"],"given":{"drives":{"S":{"lot":"1"}}}}`, `{"on":true,"on":false}`, `{"signatures":[null]}`, "{\"why\":\"\xff\"}", `{"pins":{"":""}}`} {
		for i := range posts {
			f.Add(uint8(i), []byte(text))
		}
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	s := &scripted{}
	srv, err := New(Options{Service: s, Keys: dir})
	if err != nil {
		f.Fatal(err)
	}
	who := context.WithValue(context.Background(), peerKey{}, peer{principal: api.Principal{Name: "uid:0", Roles: api.Roles}})
	n := 0
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		method, at, _ := strings.Cut(posts[int(which)%len(posts)], " ")
		r := httptest.NewRequestWithContext(who, method, at, bytes.NewReader(body))
		n++
		key := fmt.Sprint(n)
		r.Header.Set(keyHeader, key)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		srv.answer(w, r)
		calls := s.seen()
		switch {
		case w.Code >= 500:
			t.Fatalf("%s %q: %d %s", at, body, w.Code, w.Body)
		case w.Code < 300 && len(calls) != 1 || w.Code >= 300 && len(calls) != 0:
			t.Fatalf("%s %q: %d, calls %v", at, body, w.Code, calls)
		case w.Code >= 300 && w.Header().Get("Content-Type") != problemType:
			t.Fatalf("%s %q: %d %v", at, body, w.Code, w.Header())
		}
		if err := os.Remove(srv.keys.file("uid:0", key)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	})
}
