package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// errSilent: a stream said nothing, not even that it is alive.
var errSilent = errors.New("the stream was silent")

// Events implements api.Service. When the stream breaks it comes again with its cursor, as long as the agent is not away for longer than
// a minute; progress that was told meanwhile is not told again.
func (c *Client) Events(ctx context.Context, id, after string) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		heard := time.Now()
		for n := 0; ; n++ {
			ended, some, err := c.follow(ctx, id, &after, yield)
			if some {
				heard, n = time.Now(), 0
			}
			if ended {
				return
			}
			if ctx.Err() != nil {
				yield(api.Event{}, fmt.Errorf("watch job %s: %w", id, context.Cause(ctx)))
				return
			}
			if fatal(err) || time.Since(heard) > c.patience {
				yield(api.Event{}, err)
				return
			}
			if pause(ctx, min(time.Duration(n+1)*100*time.Millisecond, 2*time.Second)) != nil {
				yield(api.Event{}, fmt.Errorf("watch job %s: %w", id, context.Cause(ctx)))
				return
			}
		}
	}
}

// fatal says whether coming again would not help.
func fatal(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && !passing(err)
}

// follow reads one stream. ended says that nothing comes after it, or that nobody wants it; some, that it said something.
func (c *Client) follow(ctx context.Context, id string, after *string, yield func(api.Event, error) bool) (ended, some bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.beat, func() { cancel(errSilent) })
	defer silence.Stop()
	query := ""
	if *after != "" {
		query = "?after=" + url.QueryEscape(*after)
	}
	a, err := c.send(ctx, http.MethodGet, at("jobs", id)+"/events"+query, nil, "", "application/x-ndjson")
	if err != nil {
		return false, false, c.cut(ctx, err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(a.Body, answerLimit))
		if err != nil {
			return false, false, c.broken(err)
		}
		return false, false, c.problem(a, data)
	}
	if kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type")); err != nil || kind != "application/x-ndjson" {
		return false, false, c.garbled(fmt.Errorf("a stream of the type %q", a.Header.Get("Content-Type")))
	}
	lines := bufio.NewScanner(a.Body)
	lines.Buffer(make([]byte, 0, 4<<10), c.longest)
	lines.Split(wholeLines)
	for lines.Scan() {
		silence.Stop()
		if len(lines.Bytes()) > 0 {
			var e api.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return false, some, c.garbled(err)
			}
			if e.Type == api.EventProblem {
				return false, some, c.checked(e.Problem)
			}
			if e.Type == api.EventJob {
				if e.Whole == nil {
					return false, some, c.garbled(errors.New("the last event says nothing of the job"))
				}
				if _, err := c.job(*e.Whole, nil); err != nil {
					return false, some, err
				}
			}
			some = true
			if e.Cursor != "" {
				*after = e.Cursor
			}
			if !yield(e, nil) || e.Type == api.EventJob {
				return true, some, nil
			}
		}
		silence.Reset(c.beat) // not while an event is being looked at
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return false, some, c.garbled(fmt.Errorf("an event of more than %d bytes", c.longest))
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return false, some, c.cut(ctx, err)
}

// wholeLines is bufio.ScanLines without the rest of a line in which a stream was cut off: that is no event, and comes again whole. A whole
// line that is none cannot be mended so.
func wholeLines(data []byte, _ bool) (advance int, token []byte, err error) {
	return bufio.ScanLines(data, false)
}

// cut is why a stream ended. One that was cut here for its silence is a broken connection like others.
func (c *Client) cut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		err = errSilent
	}
	var p *api.Problem
	if errors.As(err, &p) {
		return err
	}
	return c.broken(err)
}
