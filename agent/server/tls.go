package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
)

// TLSFiles are what TLS needs, in PEM. They are read again at each handshake, and the client CA at each request, too: whoever is
// taken out of it is refused on connections that are open already. While what is there cannot be used, nobody is let in by it.
type TLSFiles struct {
	Certificate string // of this server, with its intermediates
	Key         string
	ClientCA    string // who signs the certificates of clients
}

// reloading is what the files say now. What is made of them is made again when they say something else.
type reloading struct {
	files TLSFiles

	mu          sync.Mutex // guards what follows, but for said
	pem         []byte     // of the client CA
	authorities *x509.CertPool
	pair        [2][]byte // certificate and key in PEM
	certificate tls.Certificate

	looking sync.Mutex // one looks at a time what is wrong, and logs it; guards said
	said    string     // what was logged last; "" is nothing
}

func (f TLSFiles) open() (*reloading, error) {
	r := &reloading{files: f}
	_, err := r.config()
	return r, err
}

// config is for one handshake. Sessions are not resumed: each connection is judged by the client CA as it is then.
func (r *reloading) config() (*tls.Config, error) {
	authorities, err := r.clientCA()
	if err != nil {
		return nil, err
	}
	certificate, err := r.own()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
		NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
	}, nil
}

// own is the certificate of this server.
func (r *reloading) own() (tls.Certificate, error) {
	var now [2][]byte
	for i, name := range []string{r.files.Certificate, r.files.Key} {
		data, err := os.ReadFile(name)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("tls: %w", err)
		}
		now[i] = data
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Equal(now[0], r.pair[0]) && bytes.Equal(now[1], r.pair[1]) {
		return r.certificate, nil
	}
	made, err := tls.X509KeyPair(now[0], now[1])
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tls: certificate %s: %w", r.files.Certificate, err)
	}
	r.certificate, r.pair = made, now
	return made, nil
}

// clientCA are the authorities whose clients are let in.
func (r *reloading) clientCA() (*x509.CertPool, error) {
	data, err := os.ReadFile(r.files.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls: client CA: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.authorities != nil && bytes.Equal(data, r.pem) {
		return r.authorities, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("tls: client CA %s: %w", r.files.ClientCA, errors.New("no certificate is in it"))
	}
	r.authorities, r.pem = pool, data
	return pool, nil
}

// verify judges what a client showed when it connected, by the client CA and the time of now.
func (r *reloading) verify(shown []*x509.Certificate) error {
	authorities, err := r.clientCA()
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err = shown[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}
