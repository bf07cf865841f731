package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is those who follow one job, as browsers and scripts do: event streams over the agent's socket, each on a connection of its
// own. One of them reads nothing.
type crowd struct {
	list    []*watcher
	stalled net.Conn
	all     sync.WaitGroup
	heard   atomic.Int64 // events, all watchers together
}

// watcher is one of them, and what it has heard.
type watcher struct {
	conn     net.Conn
	events   io.ReadCloser
	records  map[string]int64 // by drive, how many
	progress atomic.Int64
	before   int64 // of progress, when all of the crowd were there
	ends     int
	over     bool // the job's end was told
	err      error
}

// gather has n follow a job, and returns when all of them are answered.
func gather(ctx context.Context, socket, job string, n int) (*crowd, error) {
	c := &crowd{}
	for range n - 1 {
		w, err := follow(ctx, socket, job)
		if err != nil {
			c.disperse()
			return nil, fmt.Errorf("watcher %d: %w", len(c.list)+1, err)
		}
		c.list = append(c.list, w)
		c.all.Go(func() { w.err = w.listen(&c.heard) })
	}
	conn, err := ask(ctx, socket, job)
	if err != nil {
		c.disperse()
		return nil, fmt.Errorf("the watcher that reads nothing: %w", err)
	}
	c.stalled = conn
	for _, w := range c.list {
		w.before = w.progress.Load()
	}
	return c, nil
}

func ask(ctx context.Context, socket, job string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/jobs/%s/events?format=sse HTTP/1.1\r\nHost: agent\r\n\r\n", job); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func follow(ctx context.Context, socket, job string) (*watcher, error) {
	conn, err := ask(ctx, socket, job)
	if err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("it was answered %s", answer.Status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &watcher{conn: conn, events: answer.Body, records: map[string]int64{}}, nil
}

// listen reads events until the last. Records of a drive must come one after the other, none twice and none left out.
func (w *watcher) listen(heard *atomic.Int64) error {
	lines := bufio.NewReader(w.events)
	kind := ""
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
		if word, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			kind = string(bytes.TrimSpace(word))
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		heard.Add(1)
		switch kind {
		case "progress":
			w.progress.Add(1)
		case "drive":
			w.ends++
		case "record":
			var r struct {
				Serial string
				Seq    int64
			}
			if err := json.Unmarshal(data, &r); err != nil {
				return fmt.Errorf("a record: %w", err)
			}
			if r.Seq != w.records[r.Serial]+1 {
				return fmt.Errorf("drive %s: after record %d came %d", r.Serial, w.records[r.Serial], r.Seq)
			}
			w.records[r.Serial] = r.Seq
		case "job":
			w.over = true
			return nil
		default:
			return fmt.Errorf("event %q: %s", kind, tail(string(data)))
		}
	}
}

// disperse ends all connections.
func (c *crowd) disperse() {
	for _, w := range c.list {
		_ = w.conn.Close() // nothing is said on it any more
	}
	if c.stalled != nil {
		_ = c.stalled.Close()
	}
	c.all.Wait()
}

// missed waits for the end of all streams, and is an error when one of them did not hear of every record of the journals, by drive,
// the end of each drive and that of the job. Of what was told of progress since all were there, it is the share that was heard: half
// of them are taken to have heard all.
func (c *crowd) missed(records map[string]int64) (progress float64, err error) {
	c.all.Wait()
	var told []int64
	for n, w := range c.list {
		switch {
		case w.err != nil:
			return 0, fmt.Errorf("watcher %d: %w", n+1, w.err)
		case !w.over || w.ends != len(records) || !maps.Equal(w.records, records):
			return 0, fmt.Errorf("watcher %d heard the ends of %d drives and of the records %v, which are %v", n+1, w.ends, w.records, records)
		}
		told = append(told, w.progress.Load()-w.before)
	}
	slices.Sort(told)
	if len(told) == 0 || told[len(told)/2] == 0 {
		return 0, errors.New("nobody heard how far the drives were")
	}
	// One who came last was told at once how far the drives were then, which others had heard before.
	due, heard := told[len(told)/2], int64(0)
	for _, n := range told {
		heard += min(n, due)
	}
	return float64(heard) / float64(due*int64(len(told))), nil
}
