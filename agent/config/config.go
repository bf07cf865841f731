// Package config reads the one file that says how a resident agent serves: where, whom, under which policy,
// and within which bounds. There are no layers and no defaults from elsewhere, so that whoever reads the
// file knows what is in force; its digest is logged when the agent starts.
//
// A surprise: what is wrong in the file is an error before anything is opened. No line is ever passed over,
// and no limit can be switched off, only set.
package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/server"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/sanitize"
)

// Config is what the file says. Names of files in it are absolute, or relative to the file.
type Config struct {
	Socket Socket         `yaml:"socket"`
	TLS    *TLS           `yaml:"tls"` // nil: no other host is served
	Access []access.Entry `yaml:"access"`
	// Policy is the file, or the name of a built-in policy, under which everything is planned; "" leaves it to those who ask.
	Policy      string     `yaml:"policy"`
	Caps        Caps       `yaml:"caps"`
	Approvals   Approvals  `yaml:"approvals"`
	Durability  Durability `yaml:"durability"`
	Connections int        `yaml:"connections"` // at once, of people with roles; 0 is 2048
	SHA256      string     `yaml:"-"`           // of the file
	policy      *sanitize.Policy
	approvers   []service.Approver
}

// Socket is where this host's own programs ask.
type Socket struct {
	Path string `yaml:"path"` // "" is the default
	// Group may connect, beside root; "" lets everybody connect. What they may do is in Access.
	Group string `yaml:"group"`
}

// TLS is where other hosts ask. Both sides show certificates.
type TLS struct {
	Listen      string `yaml:"listen"` // address and port
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	ClientCA    string `yaml:"client_ca"` // the authorities that clients' certificates come from
}

// Caps are the bounds of what a mistake can do.
type Caps struct {
	DrivesPerJob       int `yaml:"drives_per_job"`
	JobsPerHour        int `yaml:"jobs_per_hour"`
	ShareOfHostPercent int `yaml:"share_of_host_percent"`
}

// Approvals say who approves of plans, and how many must.
type Approvals struct {
	Required  int        `yaml:"required"`  // of every plan, whatever its policy asks for
	Own       bool       `yaml:"own"`       // whoever asked for a plan may approve it
	Approvers []Approver `yaml:"approvers"` // whose approvals count
}

// Approver is somebody who approves.
type Approver struct {
	Name       string   `yaml:"name"`
	Key        string   `yaml:"key"`        // file with the public key, in PEM
	Principals []string `yaml:"principals"` // "uid:1000", "cert:spiffe://…", "cert:CN=…": by which the approver asks the agent for things
}

// Durability says where the evidence has to be before the host may lose its power.
type Durability struct {
	Sink           string `yaml:"sink"` // a directory elsewhere than the state
	AcceptVolatile bool   `yaml:"accept_volatile"`
}

// maxConfig bounds the file.
const maxConfig = 1 << 20

// Read reads a file and everything that it names.
func Read(name string) (Config, error) {
	f, err := os.Open(name)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", name, err)
	}
	c, err := Parse(data, filepath.Dir(name))
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", name, err)
	}
	return c, nil
}

// Parse reads a configuration; relative names in it are below dir.
func Parse(data []byte, dir string) (Config, error) {
	c := Config{}
	if len(data) > maxConfig {
		return c, fmt.Errorf("it is larger than %d bytes", maxConfig)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, errors.New("more than one document")
	}
	sum := sha256.Sum256(data)
	c.SHA256 = hex.EncodeToString(sum[:])
	if err := c.resolve(dir); err != nil {
		return c, err
	}
	return c, c.check()
}

// resolve makes names of files absolute, where they are below dir too when that is not.
func (c *Config) resolve(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	names := []*string{&c.Socket.Path, &c.Durability.Sink}
	if strings.ContainsAny(c.Policy, "/.") {
		names = append(names, &c.Policy)
	}
	if c.TLS != nil {
		names = append(names, &c.TLS.Certificate, &c.TLS.Key, &c.TLS.ClientCA)
	}
	for i := range c.Approvals.Approvers {
		names = append(names, &c.Approvals.Approvers[i].Key)
	}
	for _, n := range names {
		if *n != "" && !filepath.IsAbs(*n) {
			*n = filepath.Join(dir, *n)
		}
	}
	return nil
}

func (c *Config) check() error {
	for _, bound := range []struct {
		name  string
		value int
		most  int
	}{
		{"caps: drives_per_job", c.Caps.DrivesPerJob, api.DrivesMost}, {"caps: jobs_per_hour", c.Caps.JobsPerHour, 100_000}, {"caps: share_of_host_percent", c.Caps.ShareOfHostPercent, 100},
		{"connections", c.Connections, 100_000}, {"approvals: required", c.Approvals.Required, 16},
	} {
		if bound.value < 0 || bound.value > bound.most {
			return fmt.Errorf("%s: %d is not from 1 to %d (0, or nothing, is the default)", bound.name, bound.value, bound.most)
		}
	}
	if t := c.TLS; t != nil && (t.Listen == "" || t.Certificate == "" || t.Key == "" || t.ClientCA == "") {
		return errors.New("tls: listen, certificate, key and client_ca belong together: no other host is served without certificates of both sides")
	}
	if _, err := access.New(c.Access); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	if err := c.readPolicy(); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	for _, a := range c.Approvals.Approvers {
		key, err := readPublic(a.Key)
		if err != nil {
			return fmt.Errorf("approvals: key of %s: %w", a.Name, err)
		}
		if len(a.Principals) == 0 && !c.Approvals.Own {
			return fmt.Errorf("approvals: %s has no principals, without which nobody could tell whether it is their own plan", a.Name)
		}
		for _, p := range a.Principals {
			if err := access.CheckName(p); err != nil {
				return fmt.Errorf("approvals: %s: principal %q: %w", a.Name, p, err)
			}
		}
		c.approvers = append(c.approvers, service.Approver{Name: a.Name, Key: key, Principals: a.Principals})
	}
	return nil
}

func (c *Config) readPolicy() error {
	if c.Policy == "" {
		return nil
	}
	var p sanitize.Policy
	var err error
	if filepath.IsAbs(c.Policy) {
		var data []byte
		if data, err = os.ReadFile(c.Policy); err == nil {
			p, err = sanitize.ParsePolicy(data)
		}
	} else {
		p, err = sanitize.PolicyByName(c.Policy)
	}
	c.policy = &p
	return err
}

func readPublic(name string) (attest.Public, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return attest.Public{}, err
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return attest.Public{}, fmt.Errorf("%s does not hold one public key in PEM", name)
	}
	return attest.ParsePublic(block.Bytes)
}

// Service puts into options what the file says of the service.
func (c Config) Service(o service.Options) service.Options {
	o.Policy = c.policy
	o.Caps = service.Caps{DrivesPerJob: c.Caps.DrivesPerJob, JobsPerHour: c.Caps.JobsPerHour, ShareOfHost: c.Caps.ShareOfHostPercent}
	o.Approvers, o.Required, o.OwnApproval = c.approvers, c.Approvals.Required, c.Approvals.Own
	o.Sink, o.AcceptVolatile = c.Durability.Sink, c.Durability.AcceptVolatile
	return o
}

// Rules are who may do what. Where the file names nobody, root may everything, and nobody else anything.
func (c Config) Rules() (*access.Rules, error) {
	entries := c.Access
	if len(entries) == 0 {
		root := uint32(0)
		entries = []access.Entry{{UID: &root, Roles: api.Roles}}
	}
	return access.New(entries)
}

// Files are the certificates by which other hosts are served.
func (t TLS) Files() server.TLSFiles {
	return server.TLSFiles{Certificate: t.Certificate, Key: t.Key, ClientCA: t.ClientCA}
}
