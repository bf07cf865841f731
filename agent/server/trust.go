package server

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/devices"
)

// Problems says what is wrong with the files of a listener with TLS, so that nobody gets in by it; nil of others.
func (l *Listener) Problems() []devices.Reason {
	if l.trust == nil {
		return nil
	}
	return l.trust.problems(time.Now())
}

const hintTLS = "nobody gets in by TLS meanwhile; put right what the configuration names under tls: the files are read again at each handshake, without a restart"

// problems says by what every handshake fails now, on this side or on the client's.
func (r *reloading) problems(now time.Time) []devices.Reason {
	var list []devices.Reason
	add := func(err error) {
		if err != nil {
			list = append(list, devices.Reason{Code: "tls", Message: err.Error(), Hint: hintTLS})
		}
	}
	_, err := r.clientCA()
	if err == nil {
		err = r.authoritiesHold(now)
	}
	add(err)
	own, err := r.own()
	if err == nil {
		if why := holds(own.Leaf, now); why != nil {
			err = fmt.Errorf("tls: certificate %s: %w", r.files.Certificate, why)
		}
	}
	add(err)
	return list
}

// authoritiesHold says whether the client CA has one by which a client's certificate can count now.
func (r *reloading) authoritiesHold(now time.Time) error {
	r.mu.Lock()
	rest := r.pem
	r.mu.Unlock()
	var last error
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // the pool has not got it either
		}
		if last = holds(c, now); last == nil {
			return nil
		}
	}
	if last == nil {
		return nil
	}
	return fmt.Errorf("tls: client CA %s: none that is in it counts now: %w", r.files.ClientCA, last)
}

// holds says whether now is within the time of a certificate.
func holds(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("it has expired, at %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("it counts from %s on, which is not yet", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// look logs what is wrong with the files, once for each change.
func (r *reloading) look(log hclog.Logger) {
	r.looking.Lock()
	defer r.looking.Unlock()
	var words []string
	for _, p := range r.problems(time.Now()) {
		words = append(words, p.Message)
	}
	now := strings.Join(words, "; ")
	switch {
	case now == r.said:
	case now == "":
		log.Info("TLS can be used again")
	default:
		log.Warn("nobody gets in by TLS", "why", now)
	}
	r.said = now
}

// watch looks at the files until the server stops.
func (s *Server) watch(r *reloading) {
	tick := time.NewTicker(s.options.Heartbeat)
	defer tick.Stop()
	for {
		r.look(s.log)
		select {
		case <-s.stopping:
			return
		case <-tick.C:
		}
	}
}
