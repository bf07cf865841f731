package server

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/peercred"
)

// Server answers for a service.
type Server struct {
	options    Options
	service    api.Service
	log        hclog.Logger
	mux        *http.ServeMux
	operations map[string]operation // by pattern of the mux
	described  *huma.OpenAPI
	document   []byte // OpenAPI 3.1, YAML
	keys       *keys
	conns      *counts     // connections of people with roles, by who they are
	strangers  *counts     // connections of others
	unfinished *unfinished // connections of nobody knows whom
	requests   *counts     // by principal
	watchers   *counts     // by principal

	credentials func(*net.UnixConn) (peercred.Credentials, error)

	once     sync.Once
	stopping chan struct{}   // closed when it stops: event streams end
	life     context.Context // ends when the grace of acts has, too
	end      context.CancelFunc
}

// New makes a server. It listens to nobody yet.
func New(o Options) (*Server, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, service: o.Service, log: o.Log, mux: http.NewServeMux(), operations: map[string]operation{}, stopping: make(chan struct{}),
		conns: newCounts(o.Connections, o.PeerShare), strangers: newCounts(o.Strangers, max(1, o.Strangers/2)), unfinished: &unfinished{most: o.Handshakes},
		credentials: peercred.Of, requests: newCounts(0, o.Requests), watchers: newCounts(0, o.Watchers),
	}
	s.life, s.end = context.WithCancel(context.Background())
	if s.keys, err = openKeys(o.Keys, o.Log); err != nil {
		return nil, err
	}
	s.described = s.register()
	if s.document, err = document(s.described); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenAPI is the document of all operations, as YAML.
func (s *Server) OpenAPI() []byte { return s.document }

// Serve answers on listeners, which it closes, until ctx ends or one of them fails. Then event streams end, acts that are under
// way have Options.Grace to be done, and nobody is answered any more. A server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...*Listener) error {
	err := errors.New("server: it has served before")
	s.once.Do(func() { err = s.serve(ctx, listeners) })
	return err
}

func (s *Server) serve(ctx context.Context, listeners []*Listener) error {
	if len(listeners) == 0 {
		return errors.New("server: nothing to listen on")
	}
	defer s.end()
	server := &http.Server{
		Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		MaxHeaderBytes:               answerLimit,
		DisableGeneralOptionsHandler: true, // that asks for no roles
		BaseContext:                  func(net.Listener) context.Context { return s.life },
		ConnContext:                  withConnection,
		ErrorLog:                     stdlog.New(s.log.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}), "", 0),
		Protocols:                    new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true) // one request at a time on a connection: limits of connections mean something
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		if l.trust != nil {
			go s.watch(l.trust) // whoever waits for what a disk answers keeps nobody from stopping
		}
		go func() { failed <- server.Serve(s.limit(l)) }()
	}
	clean := time.NewTicker(time.Hour)
	defer clean.Stop()
	var err error
	left := len(listeners)
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case e := <-failed:
			left, running = left-1, false
			err = fmt.Errorf("server: %w", e)
		case <-clean.C:
			s.keys.clean()
		}
	}
	close(s.stopping)
	grace, cancel := context.WithTimeout(s.life, s.options.Grace)
	defer cancel()
	if e := server.Shutdown(grace); e != nil {
		s.log.Warn("acts were under way when the server stopped", "err", e)
		s.end()
		err = errors.Join(err, server.Close())
	}
	for range left {
		if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("server: %w", e))
		}
	}
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}
