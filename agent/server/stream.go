package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/expunge-dev/expunge/agent/api"
)

// eventsIn takes cursors of api.CursorMost.
type eventsIn struct {
	ID     string `path:"id" doc:"id of the job"`
	After  string `query:"after" maxLength:"40960" doc:"cursor of the last event that was seen; without it events come from the job's beginning"`
	Format string `query:"format" enum:"sse,ndjson" doc:"sse is text/event-stream, ndjson a line of JSON for each event; without it the header Accept decides, and sse is usual"`
	Last   string `header:"Last-Event-ID" maxLength:"40960" doc:"as after, and before it: browsers send it when they come again"`
	Accept string `header:"Accept" hidden:"true"`
}

type eventsOut struct{ Body func(huma.Context) }

// first is how long a stream waits for its first event before it begins: what is wrong with the request is told by then, with a
// status.
const first = 250 * time.Millisecond

// heard is an event, or why there are no more.
type heard struct {
	event api.Event
	err   error
}

// events follows a job.
func (s *Server) events(ctx context.Context, in *eventsIn) (*eventsOut, error) {
	after := in.After
	if in.Last != "" {
		after = in.Last
	}
	lines := in.Format == "ndjson" || in.Format == "" && strings.Contains(in.Accept, "application/x-ndjson")
	ctx, cancel := context.WithCancel(ctx)
	from := s.listen(ctx, in.ID, after)
	var begun []heard
	select {
	case h, ok := <-from:
		if h.err != nil {
			cancel()
			return nil, h.err
		}
		if ok {
			begun = append(begun, h)
		}
	case <-time.After(first):
	}
	return &eventsOut{func(c huma.Context) {
		if told := s.options.Watching; told != nil {
			defer told()()
		}
		defer func() {
			cancel()
			for range from { // until the service has let go
			}
		}()
		_, w := humago.Unwrap(c)
		t := &teller{w: w, control: http.NewResponseController(w), lines: lines}
		if err := s.tell(ctx, t, begun, from); err != nil && ctx.Err() == nil {
			s.log.Debug("a watcher was dropped", "job", in.ID, "err", err) // net/http ends a connection that could not be written to
		}
	}}, nil
}

// listen has the service tell events, which ends with ctx.
func (s *Server) listen(ctx context.Context, id, after string) <-chan heard {
	c := make(chan heard, 16)
	send := func(h heard) bool {
		select {
		case c <- h:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(c)
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("events made the service panic", "job", id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				send(heard{err: internal()})
			}
		}()
		for e, err := range s.service.Events(ctx, id, after) {
			if !send(heard{e, err}) || err != nil {
				return
			}
		}
	}()
	return c
}

// tell writes events until they end, the watcher is gone or too slow, or the server stops. Without a last event of type job or
// problem the stream was cut off: the watcher can come back with its cursor.
func (s *Server) tell(ctx context.Context, t *teller, begun []heard, from <-chan heard) error {
	beat := time.NewTicker(s.options.Heartbeat)
	defer beat.Stop()
	if err := t.begin(); err != nil {
		return err
	}
	for _, h := range begun {
		if err := t.event(h.event); err != nil {
			return err
		}
	}
	for {
		if len(from) == 0 {
			if err := t.control.Flush(); err != nil {
				return err
			}
		}
		var err error
		select {
		case h, ok := <-from:
			switch {
			case !ok:
				return t.control.Flush()
			case h.err != nil:
				if ctx.Err() != nil {
					return nil
				}
				return errors.Join(t.event(api.Event{Type: api.EventProblem, Problem: told(ctx, h.err)}), t.control.Flush())
			}
			err = t.event(h.event)
		case <-beat.C:
			if err := standing(ctx); err != nil {
				p := api.NewProblem(api.ExitPermission, "unauthorized", "", err)
				return errors.Join(t.event(api.Event{Type: api.EventProblem, Problem: p}), t.control.Flush())
			}
			err = t.beat()
		case <-ctx.Done():
			return nil
		case <-s.stopping:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// teller writes events in one of two forms.
type teller struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lines   bool
}

func (t *teller) begin() error {
	kind := "text/event-stream"
	if t.lines {
		kind = "application/x-ndjson"
	}
	t.w.Header().Set("Content-Type", kind)
	t.w.WriteHeader(http.StatusOK)
	return nil
}

// beat says that the stream is alive: a comment of event streams, an empty line of others.
func (t *teller) beat() error {
	text := ": alive\n\n"
	if t.lines {
		text = "\n"
	}
	_, err := io.WriteString(t.w, text)
	return err
}

func (t *teller) event(e api.Event) error {
	var b strings.Builder
	if !t.lines {
		// A cursor that would end its line is none: the watcher comes back with the one before.
		if e.Cursor != "" && !strings.ContainsAny(e.Cursor, "\r\n\x00") {
			fmt.Fprintf(&b, "id: %s\n", e.Cursor)
		}
		fmt.Fprintf(&b, "event: %s\ndata: ", e.Type)
	}
	data, err := e.JSON() // made once for all who watch
	if err != nil {
		return err
	}
	b.Write(data)
	b.WriteString("\n")
	if !t.lines {
		b.WriteString("\n")
	}
	_, err = io.WriteString(t.w, b.String())
	return err
}
