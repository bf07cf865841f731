package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/config"
	"github.com/expunge-dev/expunge/agent/metrics"
	"github.com/expunge-dev/expunge/agent/page"
	"github.com/expunge-dev/expunge/agent/server"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
)

// defaultConfig is read when it is there and no other is named.
const defaultConfig = "/etc/expunge/agent.yaml"

// closesWithin is how long jobs are given to stop, resumably, when the agent ends.
const closesWithin = 60 * time.Second

func (a *app) serveCommand() *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use: "serve", Short: "serve this host's tools and fleet automation until told to stop", Args: cobra.NoArgs,
		Long: "serve is the agent of this host: others plan, approve, start and follow jobs through it, at a Unix socket (--socket, or as the\n" +
			"configuration says) and, when the configuration says so, over mutual TLS. It goes on with jobs that an earlier one left, and when it is\n" +
			"told to stop (SIGTERM, SIGINT, SIGHUP) its jobs stop resumably; told again, or by SIGQUIT, it ends at once. It logs JSON to standard error. docs/security.md says who can do what.",
		Example: "  expunge serve --config /etc/expunge/agent.yaml\n  expunge --rack /tmp/rack serve",
		RunE:    a.verb("serve", func(ctx context.Context, _ []string) (answer, error) { return answer{}, a.serve(ctx, file) }),
	}
	c.Flags().StringVar(&file, "config", "", "the agent's configuration, from `FILE` (default "+defaultConfig+", if it is there)")
	return c
}

// readConfig reads the configuration that was named, or the one that is there.
func readConfig(file string) (config.Config, error) {
	name := file
	if name == "" {
		name = defaultConfig
	}
	c, err := config.Read(name)
	if file == "" && errors.Is(err, fs.ErrNotExist) {
		return config.Parse(nil, filepath.Dir(name))
	}
	if err != nil {
		return c, usage("cmd/expunge/systemd/agent.yaml of the source is an example; nothing was opened", err)
	}
	return c, nil
}

func (a *app) serve(ctx context.Context, file string) (err error) {
	c, err := readConfig(file)
	if err != nil {
		return err
	}
	level := hclog.LevelFromString(a.logLevel)
	if a.logLevel == "off" {
		level = hclog.Info // an agent that says nothing cannot be looked after
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "expunge", Level: level, Output: a.stderr, JSONFormat: true})
	a.course.mu.Lock()
	a.course.log = func(words string) { log.Info(words) }
	a.course.mu.Unlock()
	opened, err := a.mayListen(c)
	if err != nil {
		return err
	}
	if err := a.course.begins(ctx, "jobs may have been under way", "they go on when an agent starts: expunge serve"); err != nil {
		return err
	}
	svc, met, err := a.resident(c, log)
	if err != nil {
		return err
	}
	defer func() {
		// A signal has ended ctx: what runs is given time of its own.
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(a.testOnlyCloses, closesWithin))
		defer done()
		err = ended(err, svc.Close(closing), log)
	}()
	rules, err := c.Rules()
	if err != nil {
		return usage("cmd/expunge/systemd/agent.yaml of the source is an example", err)
	}
	state := svc.Agent.Dir()
	web, err := server.New(server.Options{
		Service: svc, Access: rules, Keys: filepath.Join(state, "answers"), Log: log.Named("server"),
		Metrics: met.Handler(), Page: page.New(svc), Connections: c.Connections, Refused: svc.Refused,
		Answered: met.Request, Watching: met.Watch,
	})
	if err != nil {
		return err
	}
	listeners, socket, err := a.listeners(c, state, opened)
	if err != nil {
		return err
	}
	word, err := announcementOf(state, socket)
	if err != nil {
		return err
	}
	svc.Beside(func() (list []devices.Reason) {
		list = word.problems()
		for _, l := range listeners {
			list = append(list, l.Problems()...)
		}
		return list
	})
	if err := word.keep(); err != nil {
		log.Error("commands are not told where the agent listens", "socket", socket, "err", err)
	}
	defer func() {
		if other := svc.StateStands(); other != nil { // and what it says is another's
			err = errors.Join(err, &problem{code: exitInternal, name: "state", err: other, hint: "put back the one that it opened before an agent starts again; jobs that are in it can be resumed"})
			return
		}
		err = errors.Join(err, word.withdraw())
	}()
	log.Info("serving", "version", version(), "state", state, "socket", socket, "config_sha256", c.SHA256, "simulated", svc.Agent.Simulated())
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go svc.Watch(watching)
	go watchdog(watching, svc, log)
	go keepWord(watching, word, svc, log)
	for _, l := range listeners {
		go keepSocket(watching, l, svc, log)
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told", "err", err)
	}
	err = web.Serve(ctx, listeners...)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) // nobody may listen
	if context.Cause(ctx) != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errStopped)) {
		err = nil // it was told to stop
	}
	return err
}

// ended is how the agent ended: by what it served with, and with what did not stop.
func ended(served, closed error, log hclog.Logger) error {
	var left *service.UnendedError
	if !errors.As(closed, &left) {
		log.Info("stopped")
		return errors.Join(served, closed)
	}
	if served != nil {
		log.Error("ended", "err", served)
	}
	log.Warn("stopped, but for what did not stop in time", "what", left.Error())
	hint := "the next agent goes on with these jobs: expunge serve; of a drive that takes no command yet, resume the job when it does: expunge jobs resume"
	if len(left.Jobs) == 0 {
		hint = "look whether it answers; the next agent looks again: expunge serve"
	}
	return &problem{code: exitInterrupted, name: "not_stopped", err: left, hint: hint}
}

// resident makes the service of this host, and what counts for it.
func (a *app) resident(c config.Config, log hclog.Logger) (*service.Service, *metrics.Metrics, error) {
	host, owner, err := a.host()
	if err != nil {
		return nil, nil, err
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, nil, err
	}
	var met *metrics.Metrics
	pins := &service.PINs{}
	ag, err := agent.Open(agent.Options{
		Host: host, StateDir: dir, Owner: owner, Version: version(), Log: log, PIN: pins.Give, Unlock: a.unlock(),
		Decided:   func(rule, decision string) { met.Decision(rule, decision) },
		Certified: func(outcome string) { met.Certified(outcome) },
	})
	if err != nil {
		return nil, nil, err
	}
	o := c.Service(service.Options{Agent: ag, Host: host, Log: log, Resident: true, PINs: pins})
	o.Told = service.Told{
		JobEnded: func(j api.Job) { met.JobEnded(j) },
		Event:    func(e api.Event) { met.Event(e) },
		Audited:  func(action string) { met.Audited(action) },
	}
	svc, err := service.New(o)
	if errors.Is(err, service.ErrTaken) {
		return nil, nil, &problem{code: exitRefused, name: "taken", err: fmt.Errorf("%s: %w", dir, err), hint: "one agent serves a state; give another host or rack a --state of its own"}
	}
	if err != nil {
		return nil, nil, err
	}
	met = metrics.New(svc, metrics.Options{Version: version(), Log: log})
	return svc, met, nil
}

// mayListen returns what systemd opened, and whether the agent can listen where it is to, before anything is made.
func (a *app) mayListen(c config.Config) ([]net.Listener, error) {
	opened, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets of systemd: %w", err)
	}
	if slices.ContainsFunc(opened, func(l net.Listener) bool { _, is := l.(*net.UnixListener); return is }) {
		return opened, nil
	}
	state, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(a.socketPath(c, state)) // which commands are told
	if err == nil && len(path) > server.PathMost {
		err = usage("name a shorter one: --socket", fmt.Errorf("socket %s: its path has %d bytes, and a socket's path has at most %d; nothing was opened", path, len(path), server.PathMost))
	}
	return opened, err
}

// listeners are where others ask: those that systemd opened, and of each kind that it did not, that of the configuration.
func (a *app) listeners(c config.Config, state string, opened []net.Listener) (list []*server.Listener, socket string, err error) {
	defer func() {
		if err != nil {
			for _, l := range list {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	network := false
	for _, l := range opened {
		switch l := l.(type) {
		case *net.UnixListener:
			list, socket = append(list, server.Activated(l)), l.Addr().String()
		case *net.TCPListener:
			if c.TLS == nil {
				return list, "", usage("give certificates under tls:", errors.New("systemd opened a TCP socket, and the configuration has no certificates for it"))
			}
			x, err := server.ActivatedTLS(l, c.TLS.Files())
			if err != nil {
				return list, "", err
			}
			list, network = append(list, x), true
		}
	}
	if socket == "" {
		socket = a.socketPath(c, state)
		l, err := listenUnix(socket, c.Socket.Group)
		if err != nil {
			return list, "", err
		}
		list = append(list, l)
	}
	if c.TLS != nil && !network {
		l, err := server.TLS(c.TLS.Listen, c.TLS.Files())
		if err != nil {
			return list, "", err
		}
		list = append(list, l)
	}
	return list, socket, nil
}

// socketPath is where the agent listens: as told, or where commands look for it.
func (a *app) socketPath(c config.Config, state string) string {
	switch {
	case a.socket != "":
		return a.socket
	case c.Socket.Path != "":
		return c.Socket.Path
	case a.rack == "" && a.state == "" && os.Geteuid() == 0:
		return defaultSocket
	}
	return filepath.Join(state, "agent.sock")
}

// listenUnix listens for those of a group; without one, for everybody on the host: what each may do is decided by who they are.
func listenUnix(path, group string) (*server.Listener, error) {
	perm, gid := fs.FileMode(0o666), -1
	if group != "" {
		g, err := user.LookupGroup(group)
		if err == nil {
			gid, err = strconv.Atoi(g.Gid)
		}
		if err != nil {
			return nil, usage("socket: group: names a group of this host", err)
		}
		perm = 0o660
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return server.Unix(path, perm, gid)
}

// watchdog tells systemd that the agent answers, as often as it wants to hear that. One that answers nobody says nothing, and is
// started again: its jobs go on then.
func watchdog(ctx context.Context, svc *service.Service, log hclog.Logger) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		svc.Answers()
		if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
			log.Warn("systemd was not told", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// socketLooks is how often the agent looks whether its socket is still there.
const socketLooks = 2 * time.Second

// keepWord tells commands again where the agent listens, as soon as it can.
func keepWord(ctx context.Context, word *announcement, svc *service.Service, log hclog.Logger) {
	tick := time.NewTicker(socketLooks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if svc.StateStands() != nil {
			continue // nothing is made in another
		}
		if err := word.keep(); err != nil {
			log.Error("commands are not told where the agent listens", "err", err)
		}
	}
}

// keepSocket makes the agent's socket again when somebody removed it: nobody at the host could halt it otherwise. It stays away where
// the state, in which it may be, is another: nothing is made there.
func keepSocket(ctx context.Context, l *server.Listener, svc *service.Service, log hclog.Logger) {
	tick := time.NewTicker(socketLooks)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if svc.StateStands() != nil {
			continue
		}
		did, err := l.Restore()
		if did {
			log.Warn("the socket was removed, and has been made again", "socket", l.Addr().String())
		}
		now := ""
		if err != nil {
			now = err.Error()
		}
		if now != said && now != "" {
			log.Error("the socket was removed, and cannot be made again", "err", now)
		}
		said = now
	}
}
