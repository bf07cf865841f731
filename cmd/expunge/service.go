package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/agent/config"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Verbs ask a service (agent/api): that of the agent that runs, which has the drives and the state for itself, or one in this process.

// defaultSocket is where the agent of a host listens.
const defaultSocket = "/run/expunge/agent.sock"

// serving is what a running agent leaves in its state, so that commands with the same state find it.
type serving struct {
	Socket string `json:"socket"`
}

const servingFile = "serve.json"

// remoteWaits is how long a command waits for an agent that starts or stops: to say where it listens, or to be gone.
const remoteWaits = 5 * time.Second

// announced is the socket of the agent that holds a state. The error is that it does not listen, yet or any more: what an agent that was
// ended at once has left names a socket where nobody is.
func announced(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, servingFile))
	if err != nil {
		return "", err
	}
	var s serving
	if err := json.Unmarshal(data, &s); err != nil {
		return "", fmt.Errorf("%s: %w", servingFile, err)
	}
	return s.Socket, listens(s.Socket)
}

// listens says why nobody listens at a socket. Any other reason that it cannot be reached is told when something is asked.
func listens(socket string) error {
	c, err := net.Dial("unix", socket)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil:
		_ = c.Close() // nothing was said on it
	}
	return nil
}

// patient is the agent that listens at a socket.
func (a *app) patient(socket string) api.Service {
	a.course.mu.Lock()
	defer a.course.mu.Unlock()
	a.course.remote = true
	return patient{client.Unix(socket), a.course}
}

// remote is the agent that runs for this state; nil when none does. For one that starts or stops it waits, until ctx ends.
func (a *app) remote(ctx context.Context) (api.Service, error) {
	if a.socket != "" {
		return a.patient(a.socket), nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	var socket string
	running, err := durable.Locked(filepath.Join(dir, service.LockName))
	for begun := time.Now(); err == nil && running; running, err = durable.Locked(filepath.Join(dir, service.LockName)) {
		var unsaid error
		if socket, unsaid = announced(dir); unsaid == nil {
			break
		}
		if time.Since(begun) > cmp.Or(a.testOnlyWaits, remoteWaits) {
			// One that cannot say where it listens, as on a full disk, is where it listens unless it was told otherwise.
			if socket = a.socketPath(config.Config{}, dir); listens(socket) == nil {
				break
			}
			return nil, startsOrStops(unsaid)
		}
		if a.testOnlyWaiting != nil {
			a.testOnlyWaiting()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	switch {
	case err == nil && running:
		return a.patient(socket), nil
	case err == nil && os.Geteuid() == 0:
		return nil, nil
	case err == nil, errors.Is(err, fs.ErrPermission):
		// Of a user who may not look into the state of the host, the agent's own word is all there is.
		if a.state == "" && a.rack == "" {
			if _, err := os.Stat(defaultSocket); err == nil {
				return a.patient(defaultSocket), nil
			}
		}
		return nil, nil
	}
	return nil, err
}

// startsOrStops is what is said where an agent has the state, and does not listen.
func startsOrStops(unsaid error) error {
	err := errors.New("an agent runs for this state, and takes no requests; it starts or stops")
	if unsaid != nil {
		err = fmt.Errorf("%w: %w", err, unsaid)
	}
	return &problem{code: exitInterrupted, name: "stopping", err: err, hint: "try again when it has, or name its socket: --socket PATH; nothing was asked of it"}
}

// mustAsk is the agent that runs. Without one there is nobody to ask.
func (a *app) mustAsk(ctx context.Context) (api.Service, error) {
	svc, err := a.remote(ctx)
	if err == nil && svc == nil {
		if dir, err := a.stateDir(); err == nil {
			if _, err := durable.Locked(filepath.Join(dir, service.LockName)); errors.Is(err, fs.ErrPermission) {
				return nil, &problem{code: exitPermission, name: "permission", err: fmt.Errorf("whether an agent runs for this state cannot be told: %w", err), hint: "ask it at its socket, --socket PATH, or as the state's owner"}
			}
		}
		return nil, &problem{code: exitNotFound, name: "no_agent", err: errors.New("no agent runs for this state"), hint: "expunge serve starts one; --socket PATH names another's"}
	}
	return svc, err
}

// byHand says that whoever runs this program asks: they may what the files and drives of the host let them.
func byHand(ctx context.Context) context.Context {
	return api.WithPrincipal(ctx, api.Principal{Roles: api.Roles, Via: "local"})
}

// asked makes a verb that a service answers. One in this process ends with the verb.
func (a *app) asked(name string, do func(ctx context.Context, svc api.Service, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return a.verb(name, func(ctx context.Context, args []string) (out answer, err error) {
		svc, err := a.service(ctx)
		if err != nil && (name == "run" || name == "plan") {
			return answer{}, before(err)
		}
		if err != nil {
			return answer{}, err
		}
		if here, is := svc.(*service.Service); is {
			defer func() {
				if closed := here.Close(context.WithoutCancel(ctx)); closed != nil {
					err = errors.Join(err, closed)
				}
			}()
		}
		return do(byHand(ctx), svc, args)
	})
}

// service is the agent that runs, or a *service.Service in this process, whose jobs end with ctx.
func (a *app) service(ctx context.Context) (api.Service, error) {
	if svc, err := a.remote(ctx); svc != nil || err != nil {
		return svc, err
	}
	host, owner, err := a.host()
	if err != nil {
		return nil, err
	}
	ag, err := a.open(host, owner)
	if err != nil {
		return nil, err
	}
	return service.New(service.Options{Agent: ag, Host: host, Log: a.logger(), Until: ctx})
}

// onlooker is what of a service is asked by those who only look at the host.
type onlooker interface {
	Drives(ctx context.Context) (api.Drives, error)
	Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error)
}

// onlooker is service for those: it neither needs nor makes a state.
func (a *app) onlooker(ctx context.Context) (onlooker, error) {
	if svc, err := a.remote(ctx); svc != nil || err != nil {
		return svc, err
	}
	host, _, err := a.host()
	if err != nil {
		return nil, err
	}
	return service.New(service.Options{Host: host, Log: a.logger()})
}

// listed are the drives of the host.
func (a *app) listed(ctx context.Context) (api.Drives, error) {
	svc, err := a.onlooker(ctx)
	if err != nil {
		return api.Drives{Items: []devices.Drive{}}, err
	}
	d, err := svc.Drives(byHand(ctx))
	if _, here := svc.(*service.Service); here {
		d.Items = a.beside(d.Items)
	}
	if d.Items == nil {
		d.Items = []devices.Drive{}
	}
	return d, err
}

// selected are the drives of the host that are named.
func (a *app) selected(ctx context.Context, names []string) ([]devices.Drive, error) {
	d, err := a.listed(ctx)
	if err != nil {
		return nil, err
	}
	host, _, err := a.host()
	if err != nil {
		return nil, err
	}
	return host.Select(d.Items, names)
}

// served makes a verb that needs the files of the state itself.
func (a *app) served(name string, do func(ctx context.Context, ag *agent.Agent, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return a.acts(name, func(ctx context.Context, args []string) (answer, error) {
		ag, err := a.agent()
		if err != nil {
			return answer{}, err
		}
		return do(ctx, ag, args)
	})
}

// agent has the state of this host or rack.
func (a *app) agent() (*agent.Agent, error) {
	host, owner, err := a.host()
	if err != nil {
		return nil, err
	}
	return a.open(host, owner)
}

func (a *app) open(host *devices.Host, owner agent.Owner) (*agent.Agent, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	return agent.Open(agent.Options{Host: host, StateDir: dir, Owner: owner, Version: version(), Log: a.logger(), Unlock: a.unlock(),
		PIN: func(_ string, d sanitize.DrivePlan) (string, error) { return a.pin(d) }})
}
