package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// Client asks one agent. It can be used by several goroutines.
type Client struct {
	http  *http.Client
	base  string // "https://host:port"
	where string // as people say it
	// patience is how long one goes on asking an agent that does not answer, and beat how long a stream may be silent.
	patience, beat time.Duration
	longest        int // bytes of an event
}

var _ api.Service = (*Client)(nil)

const (
	answerLimit = 64 << 20 // bytes of an answer
	// eventLimit is bytes of an event. The last of a job has all that its answer has: each drive in 1 to 2 kB, and an agent may be
	// configured for 10,000 of them.
	eventLimit = answerLimit
)

// Unix is the agent at a socket.
func Unix(path string) *Client {
	return newClient("http://agent", path, &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
		},
	})
}

// TLS is the agent at address ("host:port"). The configuration must have a certificate to show; where it has no RootCAs, those of the
// system say who the agent is.
func TLS(address string, c *tls.Config) (*Client, error) {
	if c == nil || len(c.Certificates) == 0 && c.GetClientCertificate == nil {
		return nil, errors.New("agent client: TLS needs a certificate to show")
	}
	if c.InsecureSkipVerify {
		return nil, errors.New("agent client: TLS to an agent that is not verified")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	c = c.Clone()
	c.MinVersion = tls.VersionTLS13
	return newClient("https://"+address, address, &http.Transport{
		TLSClientConfig: c, TLSHandshakeTimeout: 10 * time.Second, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}), nil
}

func newClient(base, where string, t *http.Transport) *Client {
	t.MaxIdleConnsPerHost, t.IdleConnTimeout, t.MaxResponseHeaderBytes, t.DisableCompression = 4, time.Minute, 64<<10, true
	return &Client{
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: base, where: where, patience: time.Minute, beat: 45 * time.Second, longest: eventLimit,
	}
}

// Close lets go of connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// at is a path below /v1.
func at(elements ...string) string {
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return "/v1/" + strings.Join(elements, "/")
}

type keyKey struct{}

// WithKey gives the next act a key of the caller's, so that it can be repeated by another process. Without it each act has a new one.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey{}, key)
}

// newKey is the key of an act.
func newKey(ctx context.Context) (string, error) {
	if key, ok := ctx.Value(keyKey{}).(string); ok && key != "" {
		return key, nil
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	return hex.EncodeToString(random), nil
}
