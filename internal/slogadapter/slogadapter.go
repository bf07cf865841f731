// Package slogadapter lets what speaks log/slog, or the log of net/http, land in the one stream of an
// hclog logger. It formats nothing: names of groups are joined with dots, "http.req.path", and hclog
// stamps the time itself.
package slogadapter

import (
	"context"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// handler is a slog.Handler. It is a value: With… makes another, and the first stays as it was.
type handler struct {
	log    hclog.Logger
	prefix string // of the groups that are open, with a dot at its end; or ""
}

// New makes a slog.Handler of a logger; nil logs nothing.
func New(l hclog.Logger) slog.Handler {
	if l == nil {
		l = hclog.NewNullLogger()
	}
	return handler{log: l}
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	switch levelOf(level) {
	case hclog.Trace:
		return h.log.IsTrace()
	case hclog.Debug:
		return h.log.IsDebug()
	case hclog.Info:
		return h.log.IsInfo()
	case hclog.Warn:
		return h.log.IsWarn()
	}
	return h.log.IsError()
}

func (h handler) Handle(_ context.Context, r slog.Record) error {
	args := make([]any, 0, 2*r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		args = flat(args, h.prefix, a)
		return true
	})
	h.log.Log(levelOf(r.Level), r.Message, args...)
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var args []any
	for _, a := range attrs {
		args = flat(args, h.prefix, a)
	}
	if len(args) == 0 {
		return h
	}
	return handler{h.log.With(args...), h.prefix}
}

func (h handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return handler{h.log, h.prefix + name + "."}
}

// flat appends an attribute as key and value, those of a group each for itself. By the contract of
// slog.Handler empty attributes and groups are left out, and a group without a name is no group.
func flat(args []any, prefix string, a slog.Attr) []any {
	value := a.Value.Resolve()
	switch {
	case a.Key == "" && value.Equal(slog.Value{}):
		return args
	case value.Kind() != slog.KindGroup:
		return append(args, prefix+a.Key, value.Any())
	case a.Key != "":
		prefix += a.Key + "."
	}
	for _, member := range value.Group() {
		args = flat(args, prefix, member)
	}
	return args
}

// levelOf maps what slog has between its four names down to the next of hclog's, and what is below
// debug to trace.
func levelOf(l slog.Level) hclog.Level {
	switch {
	case l >= slog.LevelError:
		return hclog.Error
	case l >= slog.LevelWarn:
		return hclog.Warn
	case l >= slog.LevelInfo:
		return hclog.Info
	case l >= slog.LevelDebug:
		return hclog.Debug
	}
	return hclog.Trace
}

// ErrorLog makes an http.Server's ErrorLog of a logger. What a server says there is a warning, since
// anybody who can connect can make it say so; a handler that panicked is an error of ours.
func ErrorLog(l hclog.Logger) *log.Logger {
	if l == nil {
		l = hclog.NewNullLogger()
	}
	return log.New(writer{l}, "", 0)
}

type writer struct{ log hclog.Logger }

// Write logs one message, which package log hands over whole. A stack behind its first line becomes a
// value of its own, so that a message stays one line.
func (w writer) Write(p []byte) (int, error) {
	message, more, _ := strings.Cut(strings.TrimSpace(string(p)), "\n")
	level := hclog.Warn
	if strings.HasPrefix(message, "http: panic") {
		level = hclog.Error
	}
	var args []any
	if more != "" {
		args = []any{"stack", more}
	}
	w.log.Log(level, message, args...)
	return len(p), nil
}
