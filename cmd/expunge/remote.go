package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
)

// defaultSocket is where the agent of a host listens.
const defaultSocket = "/run/expunge/agent.sock"

// serving is what a running agent leaves in its state, so that commands with the same state find it.
type serving struct {
	Socket string `json:"socket"`
}

const servingFile = "serve.json"

// remote is the agent that runs for this state; nil when none does.
func (a *app) remote() (api.Service, error) {
	if a.socket != "" {
		return client.Unix(a.socket), nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	running, err := durable.Locked(filepath.Join(dir, service.LockName))
	switch {
	case running:
		data, err := os.ReadFile(filepath.Join(dir, servingFile))
		var s serving
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err != nil {
			return nil, &problem{code: exitInternal, name: "agent", err: errors.Join(errors.New("an agent runs for this state, and does not say where"), err), hint: "name its socket with --socket"}
		}
		return client.Unix(s.Socket), nil
	case err == nil && os.Geteuid() == 0:
		return nil, nil
	case err == nil, errors.Is(err, fs.ErrPermission):
		// Of a user who may not look into the state of the host, the agent's own word is all there is.
		if a.state == "" && a.rack == "" {
			if _, err := os.Stat(defaultSocket); err == nil {
				return client.Unix(defaultSocket), nil
			}
		}
		return nil, nil
	}
	return nil, err
}

// mustAsk is the agent that runs. Without one there is nobody to ask.
func (a *app) mustAsk() (api.Service, error) {
	svc, err := a.remote()
	if err == nil && svc == nil {
		return nil, &problem{code: exitNotFound, name: "no_agent", err: errors.New("no agent runs for this state"), hint: "expunge serve starts one; --socket PATH names another's"}
	}
	return svc, err
}

// asked makes a verb that the running agent answers, and this process when none runs.
func (a *app) asked(name string, by func(ctx context.Context, svc api.Service, args []string) (answer, error), here func(ctx context.Context, ag *agent.Agent, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return a.verb(name, func(ctx context.Context, args []string) (answer, error) {
		svc, err := a.remote()
		if err != nil {
			return answer{}, err
		}
		if svc != nil {
			return by(ctx, svc, args)
		}
		ag, err := a.agent()
		if err != nil {
			return answer{}, err
		}
		return here(ctx, ag, args)
	})
}

// listed are the drives of the host, as the agent sees them when one runs.
func (a *app) listed(ctx context.Context) ([]devices.Drive, error) {
	svc, err := a.remote()
	if err != nil {
		return nil, err
	}
	if svc != nil {
		d, err := svc.Drives(ctx)
		return d.Items, err
	}
	host, _, err := a.host()
	if err != nil {
		return nil, err
	}
	return host.Drives(ctx)
}

// allJobs are the jobs of this state.
func (a *app) allJobs(ctx context.Context) ([]api.Job, error) {
	svc, err := a.remote()
	if err != nil {
		return nil, err
	}
	if svc != nil {
		return svc.Jobs(ctx)
	}
	ag, err := a.agent()
	if err != nil {
		return nil, err
	}
	jobs, err := ag.Jobs()
	list := make([]api.Job, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, api.JobOf(j))
	}
	return list, err
}
