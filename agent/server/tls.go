package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLSFiles are what TLS needs, in PEM. They are read again when one of them has changed; when what is there then cannot be used,
// nobody is let in by it, and the next handshake looks again.
type TLSFiles struct {
	Certificate string // of this server, with its intermediates
	Key         string
	ClientCA    string // who signs the certificates of clients
}

// stamp is how a file was when it was read.
type stamp struct {
	modified time.Time
	size     int64
}

// reloading is a configuration that is made again when its files change.
type reloading struct {
	files TLSFiles

	mu     sync.Mutex
	made   *tls.Config
	stamps [3]stamp
}

func (f TLSFiles) config() (*tls.Config, error) {
	r := &reloading{files: f}
	if _, err := r.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"},
		ClientCAs:          x509.NewCertPool(), // of nobody: each handshake has those of current
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.current() },
	}, nil
}

func (r *reloading) current() (*tls.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var now [3]stamp
	for i, name := range []string{r.files.Certificate, r.files.Key, r.files.ClientCA} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if r.made != nil && now == r.stamps {
		return r.made, nil
	}
	made, err := r.files.load()
	if err != nil {
		return nil, err
	}
	r.made, r.stamps = made, now
	return made, nil
}

func (f TLSFiles) load() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: certificate %s: %w", f.Certificate, err)
	}
	authorities, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls: client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("tls: client CA %s: %w", f.ClientCA, errors.New("no certificate is in it"))
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // each connection is judged by the client CA as it is now
	}, nil
}
