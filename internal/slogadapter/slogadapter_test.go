package slogadapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/hashicorp/go-hclog"
)

func logger(level hclog.Level) (*bytes.Buffer, hclog.Logger) {
	var b bytes.Buffer
	return &b, hclog.New(&hclog.LoggerOptions{Name: "http", Level: level, Output: &b, JSONFormat: true})
}

// line is the one record in a buffer.
func line(t *testing.T, b *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	delete(m, "@timestamp")
	return m
}

// What log/slog wants of a handler. Groups are put back into each other, for that is what it looks at.
func TestHandlerKeepsTheContract(t *testing.T) {
	var b *bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.HasSuffix(t.Name(), "/zero-time") {
			t.Skip("hclog stamps the time itself")
		}
		var l hclog.Logger
		b, l = logger(hclog.Trace)
		return New(l)
	}, func(t *testing.T) map[string]any {
		nested := map[string]any{slog.TimeKey: "now"}
		for name, value := range line(t, b) {
			at, path := nested, strings.Split(strings.NewReplacer("@message", slog.MessageKey, "@level", slog.LevelKey).Replace(name), ".")
			for _, group := range path[:len(path)-1] {
				if at[group] == nil {
					at[group] = map[string]any{}
				}
				at = at[group].(map[string]any)
			}
			at[path[len(path)-1]] = value
		}
		return nested
	})
}

func TestAttributesAreFlat(t *testing.T) {
	b, l := logger(hclog.Info)
	log := slog.New(New(l)).With("job", "j1").WithGroup("http").With("code", 200)
	log.Info("answered", slog.Group("req", "path", "/v1/jobs", slog.Group("by", "uid", 1000)), "err", errors.New("cut off"), slog.Group("", "inlined", true), slog.Attr{})
	want := map[string]any{
		"@level": "info", "@message": "answered", "@module": "http", "job": "j1", "http.code": 200.0, "http.req.path": "/v1/jobs", "http.req.by.uid": 1000.0,
		"http.err": "cut off", "http.inlined": true,
	}
	if got := line(t, b); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A handler that was made of another changes nothing in it.
func TestSiblingsDoNotShareAttributes(t *testing.T) {
	b, l := logger(hclog.Info)
	parent := slog.New(New(l)).With("a", 1)
	first, second := parent.With("b", 2), parent.WithGroup("g")
	for _, x := range []struct {
		log  *slog.Logger
		keys []string
	}{{first, []string{"a", "b", "x"}}, {second, []string{"a", "g.x"}}, {parent, []string{"a", "x"}}} {
		b.Reset()
		x.log.Info("m", "x", 0)
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(line(t, b))), func(k string) bool { return k[0] == '@' })
		if !slices.Equal(got, x.keys) {
			t.Errorf("got %v, want %v", got, x.keys)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, x := range []struct {
		level slog.Level
		want  string
	}{{slog.LevelDebug - 4, "trace"}, {slog.LevelDebug, "debug"}, {slog.LevelInfo, "info"}, {slog.LevelInfo + 2, "info"}, {slog.LevelWarn, "warn"}, {slog.LevelError, "error"}, {slog.LevelError + 4, "error"}} {
		b, l := logger(hclog.Trace)
		slog.New(New(l)).Log(context.Background(), x.level, "m")
		if got := line(t, b)["@level"]; got != x.want {
			t.Errorf("%v became %v, want %s", x.level, got, x.want)
		}
	}
	_, l := logger(hclog.Warn)
	h := New(l)
	for level, want := range map[slog.Level]bool{slog.LevelDebug - 4: false, slog.LevelDebug: false, slog.LevelInfo: false, slog.LevelWarn: true, slog.LevelError: true} {
		if got := h.Enabled(t.Context(), level); got != want {
			t.Errorf("enabled at %v is %v", level, got)
		}
	}
	if New(nil).Enabled(t.Context(), slog.LevelError) {
		t.Error("no logger logs")
	}
}

// A server's own words are one record each, and a stack is beside the message.
func TestErrorLogOfAServer(t *testing.T) {
	b, l := logger(hclog.Info)
	ErrorLog(l).Printf("http: TLS handshake error from 192.0.2.1:9: EOF")
	if got := line(t, b); got["@level"] != "warn" || got["@message"] != "http: TLS handshake error from 192.0.2.1:9: EOF" || got["@module"] != "http" {
		t.Errorf("got %v", got)
	}
	b.Reset()

	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }))
	s.Config.ErrorLog = ErrorLog(l)
	s.Start()
	if response, err := http.Get(s.URL); err == nil {
		t.Error("the handler answered", response.Body.Close())
	}
	s.Close()
	got := line(t, b)
	stack, _ := got["stack"].(string)
	if message, _ := got["@message"].(string); got["@level"] != "error" || !strings.HasSuffix(message, "on purpose") || strings.Contains(message, "\n") || !strings.Contains(stack, "goroutine") {
		t.Errorf("got %v", got)
	}
	ErrorLog(nil).Print("nobody hears it")
}
