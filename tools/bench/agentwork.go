package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// watched is a job that was carried out, with watchers or without.
type watched struct {
	rates  []float64     // of its drives, MB/s
	spent  time.Duration // processor time of the agent in the window
	took   time.Duration // the window
	heard  float64       // events in it, all watchers together
	share  float64       // of what was told of progress, how much was heard
	answer time.Duration // until all watchers were answered
}

// watchers measures what those who watch cost. Jobs with them and without take turns.
func watchers(ctx context.Context, l load, s *shelf) ([]Figure, error) {
	agent, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer agent.kill()
	var alone, with, each, cores, idle, heard, share, answered []float64
	for n := range 2 * l.rounds {
		many := l.watchers
		if (n+n/2)%2 == 0 { // without, with, with, without, …
			many = 0
		}
		w, err := agent.watched(ctx, l, s.serials, many)
		if err != nil {
			return nil, err
		}
		busy := w.spent.Seconds() / w.took.Seconds()
		if many == 0 {
			alone, idle = append(alone, w.rates...), append(idle, busy)
			continue
		}
		with, cores = append(with, w.rates...), append(cores, busy)
		heard, share, answered = append(heard, w.heard/w.took.Seconds()), append(share, w.share), append(answered, w.answer.Seconds())
	}
	base := statOf(idle).Median
	for i := range cores {
		each = append(each, max(0, cores[i]-base)/heard[i]*1e6)
	}
	list := []Figure{
		figure("a drive without them", "MB/s", alone...),
		figure(fmt.Sprintf("a drive with %d, one of whom reads nothing", l.watchers), "MB/s", with...),
		figure("events that they hear", "/s", heard...),
		figure("cores of the agent without them", "", idle...),
		figure("cores of the agent with them", "", cores...),
		figure("processor time of the agent for an event heard", "µs", each...),
		figure("share of progress that was heard; of records and ends: all", "", share...),
		figure("until all of them were answered", "s", answered...),
	}
	if r := ratio(statOf(with), statOf(alone)); r != nil {
		list = append(list, figure("a drive's rate with them by that without", "", *r))
	}
	return list, agent.stop()
}

// watched carries a job out that n follow, of whom one reads nothing.
func (r *resident) watched(ctx context.Context, l load, serials []string, n int) (w watched, err error) {
	job, _, err := r.begin(ctx, serials...)
	if err != nil {
		return w, err
	}
	var c *crowd
	if n > 0 {
		begin := time.Now()
		if c, err = gather(ctx, r.socket, job, n); err != nil {
			return w, err
		}
		defer c.disperse()
		w.answer = time.Since(begin)
	} else {
		c = &crowd{}
	}
	before, err := r.spent()
	if err != nil {
		return w, err
	}
	begin, heard := time.Now(), c.heard.Load()
	select {
	case <-ctx.Done():
		return w, context.Cause(ctx)
	case <-time.After(l.watching):
	}
	after, err := r.spent()
	if err != nil {
		return w, err
	}
	w.took, w.spent, w.heard = time.Since(begin), after-before, float64(c.heard.Load()-heard)
	j, err := r.Job(ctx, job)
	if err == nil && j.State != api.JobRunning {
		err = errors.New("the job was over before all was counted")
	}
	if err != nil {
		return w, err
	}
	if j, err = r.ended(ctx, job); err != nil {
		return w, err
	}
	for _, d := range j.Drives {
		w.rates = append(w.rates, float64(d.BytesWritten)/d.Seconds/1e6)
	}
	if n > 0 {
		records := map[string]int64{} // as the journals have them
		for e, err := range r.Events(ctx, job, "") {
			if err != nil {
				return w, err
			}
			if e.Type == api.EventRecord {
				records[e.Serial]++
			}
		}
		w.share, err = c.missed(records)
	}
	return w, err
}

// listing measures how long a list of the drives takes, from the first byte of the request to the last of the answer.
func listing(ctx context.Context, l load, s *shelf) ([]Figure, error) {
	agent, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer agent.kill()
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", agent.socket)
	}}}
	defer web.CloseIdleConnections()
	ask := func() (float64, error) {
		begin := time.Now()
		answer, err := web.Get("http://agent/v1/drives")
		if err != nil {
			return 0, err
		}
		data, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return 0, err
		}
		if answer.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("it was answered %s: %s", answer.Status, tail(string(data)))
		}
		return float64(time.Since(begin)) / 1e6, nil
	}
	listed, err := agent.Drives(ctx)
	if err != nil {
		return nil, err
	}
	if len(listed.Items) != len(s.serials) {
		return nil, fmt.Errorf("%d drives are listed, of %d", len(listed.Items), len(s.serials))
	}
	var all, looks []float64
	for n := range l.lists + l.looks {
		anew := n%(l.lists/l.looks+1) == 0
		if anew {
			select { // until what was seen of the host is too old to be shown again
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(2100 * time.Millisecond):
			}
		}
		took, err := ask()
		if err != nil {
			return nil, err
		}
		if anew {
			looks = append(looks, took)
		} else {
			all = append(all, took)
		}
	}
	return []Figure{
		figure(fmt.Sprintf("%d drives, seen lately", l.listed), "ms", all...),
		figure("with a look at the host", "ms", looks...),
	}, agent.stop()
}

// starts measures how long POST /v1/jobs takes until its 202, for jobs of a drive each, one after the other.
func starts(ctx context.Context, l load, s *shelf) ([]Figure, error) {
	agent, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer agent.kill()
	var all []float64
	for _, serial := range s.serials {
		job, took, err := agent.begin(ctx, serial)
		if err == nil {
			_, err = agent.ended(ctx, job)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, float64(took)/1e6)
	}
	return []Figure{figure(fmt.Sprintf("POST /v1/jobs, %d drives in the host", l.jobs), "ms", all...)}, agent.stop()
}

// idle measures the memory of an agent that does nothing.
func idle(ctx context.Context, l load, s *shelf) ([]Figure, error) {
	agent, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer agent.kill()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(l.idling):
	}
	spent, err := agent.spent()
	if err != nil {
		return nil, err
	}
	resident, err := agent.memory()
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure(fmt.Sprintf("resident after %s with %d drives", l.idling, l.idle), "MiB", resident),
		figure("processor time by then", "s", spent.Seconds()),
	}, agent.stop()
}

// restart measures how long an agent that is started again after a kill takes until all jobs are at work.
func restart(ctx context.Context, l load, s *shelf) ([]Figure, error) {
	agent, err := s.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { agent.kill() }()
	var jobs []string
	var start []float64
	for _, serial := range s.serials {
		job, took, err := agent.begin(ctx, serial)
		if err != nil {
			return nil, err
		}
		jobs, start = append(jobs, job), append(start, float64(took)/1e6)
	}
	if ended, err := agent.allAtWork(ctx, l.unfinished); err != nil || ended > 0 {
		return nil, errors.Join(err, fmt.Errorf("%d jobs have ended when the agent is to be killed", ended))
	}
	agent.kill()
	if agent, err = s.serve(ctx); err != nil {
		return nil, err
	}
	if _, err := agent.allAtWork(ctx, l.unfinished); err != nil {
		return nil, err
	}
	took := time.Since(agent.began).Seconds()
	for _, job := range jobs {
		if _, err := agent.ended(ctx, job); err != nil {
			return nil, err
		}
	}
	return []Figure{
		figure(fmt.Sprintf("from its start until %d jobs are at work again", l.unfinished), "s", took),
		figure("from its start until it answers", "s", agent.took.Seconds()),
		figure(fmt.Sprintf("POST /v1/jobs, %d drives in the host, others at work", l.unfinished), "ms", start...),
	}, agent.stop()
}

// allAtWork waits until so many jobs are at work, or have ended.
func (r *resident) allAtWork(ctx context.Context, jobs int) (ended int, err error) {
	for until := time.Now().Add(2 * time.Minute); ; {
		n, ended, err := r.running(ctx)
		if err != nil || n+ended >= jobs {
			return ended, err
		}
		if time.Now().After(until) {
			return ended, fmt.Errorf("after two minutes %d of %d jobs are at work", n, jobs)
		}
		time.Sleep(20 * time.Millisecond) // who asks takes time from the agent
	}
}

// running is how many jobs have a drive that is worked on, and how many have ended.
func (r *resident) running(ctx context.Context) (n, ended int, err error) {
	jobs, err := r.Jobs(ctx)
	for _, j := range jobs {
		switch j.State {
		case api.JobRunning:
			// One that was taken up and still looks for its drives is not at work.
			if slices.ContainsFunc(j.Drives, func(d api.JobDrive) bool { return d.Progress != nil }) {
				n++
			}
		case api.JobEnded:
			ended++
		}
	}
	return n, ended, err
}
