package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/sanitize"
)

// shelf is a virtual host in memory, which the program makes and serves, and where the agent of it keeps its state.
type shelf struct {
	program string
	rack    string
	state   string
	config  string
	serials []string
}

// newShelf makes a host of plain drives full of old data. All is below dir but the state, which is at state.
func newShelf(ctx context.Context, program, dir, state string, drives int, size int64) (*shelf, error) {
	s := &shelf{program: program, rack: filepath.Join(dir, "rack"), state: state, config: filepath.Join(dir, "agent.yaml")}
	said, err := s.say(ctx, "rack", "create", s.rack, "--drives", strconv.Itoa(drives), "--size", strconv.FormatInt(size, 10), "--json")
	if err != nil {
		return nil, err
	}
	var made struct {
		Items []struct{ Spec struct{ Serial string } }
	}
	if err := json.Unmarshal(said, &made); err != nil {
		return nil, fmt.Errorf("what rack create answers: %w", err)
	}
	for _, d := range made.Items {
		s.serials = append(s.serials, d.Spec.Serial)
	}
	if len(s.serials) != drives {
		return nil, fmt.Errorf("the rack has %d drives, not %d", len(s.serials), drives)
	}
	// The usual caps are for people's mistakes: 60 jobs an hour would end the measuring.
	return s, os.WriteFile(s.config, fmt.Appendf(nil, `access: [{uid: %d, roles: [read, operate]}]
caps: {jobs_per_hour: 100000}
durability: {accept_volatile: true}
`, os.Getuid()), 0o600)
}

// slow lets each drive write so many bytes per second, from its next opening on.
func (s *shelf) slow(ctx context.Context, rate int64) error {
	for _, serial := range s.serials {
		if _, err := s.say(ctx, "--rack", s.rack, "rack", "fault", serial, fmt.Sprintf("slow:%d", rate)); err != nil {
			return err
		}
	}
	return nil
}

// say runs the program to its end.
func (s *shelf) say(ctx context.Context, words ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.program, words...)
	said, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("expunge %s: %w: %s", strings.Join(words, " "), err, tail(string(said)))
	}
	return said, nil
}

// resident is an agent that serves a shelf, as a process of its own.
type resident struct {
	*client.Client
	socket string
	cmd    *exec.Cmd
	log    strings.Builder
	began  time.Time
	took   time.Duration // until it answered
}

// serve starts an agent and waits until it answers. It is killed when this thread ends.
func (s *shelf) serve(ctx context.Context) (*resident, error) {
	r := &resident{socket: filepath.Join(filepath.Dir(s.rack), "sock")}
	r.Client = client.Unix(r.socket)
	r.cmd = exec.Command(s.program, "--rack", s.rack, "--state", s.state, "--socket", r.socket, "serve", "--config", s.config)
	r.cmd.Stderr = &r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for time.Since(r.began) < time.Minute && ctx.Err() == nil {
		if _, err := r.Health(ctx); err == nil {
			r.took = time.Since(r.began)
			return r, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	r.kill()
	return nil, fmt.Errorf("the agent does not answer: %s", tail(r.log.String()))
}

// kill ends it as a loss of power would.
func (r *resident) kill() {
	r.Close()
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // it was killed
}

// stop tells it to end, and waits for that.
func (r *resident) stop() error {
	r.Close()
	if err := r.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("the agent, told to stop: %w: %s", err, tail(r.log.String()))
	}
	return nil
}

// begin plans and starts a job, and returns how long the start took to be answered.
func (r *resident) begin(ctx context.Context, serials ...string) (string, time.Duration, error) {
	p, err := r.Plan(ctx, api.PlanRequest{Drives: serials, Request: sanitize.Request{Pattern: "zero", Verify: sanitize.VerifyStatus}})
	if err != nil {
		return "", 0, err
	}
	begin := time.Now()
	j, err := r.Start(ctx, api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(serials)})
	return j.ID, time.Since(begin), err
}

// ended waits for the end of a job, and is an error unless all its drives are sanitized.
func (r *resident) ended(ctx context.Context, job string) (api.Job, error) {
	for {
		j, err := r.Job(ctx, job)
		switch {
		case err != nil:
			return j, err
		case j.State == api.JobEnded && j.ExitStatus != api.ExitOK:
			return j, fmt.Errorf("job %s ended with exit status %d: %s", job, j.ExitStatus, j.Drives[0].Words)
		case j.State == api.JobEnded:
			return j, nil
		case j.State != api.JobRunning:
			return j, fmt.Errorf("job %s is %s: %v", job, j.State, j.Drives[0].Reasons)
		}
		select {
		case <-ctx.Done():
			return j, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// spent is the processor time of the agent so far.
func (r *resident) spent() (time.Duration, error) {
	w := watch{}
	w.pid.Store(int64(r.cmd.Process.Pid))
	if d := w.spent(); d > 0 {
		return d, nil
	}
	return 0, errors.New("the agent's processor time cannot be told: it has ended")
}

// memory is what a process has in memory now, in MiB.
func (r *resident) memory() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("the agent's status does not tell VmRSS")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / 1024, err
}
