package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// rackOf makes a rack of drives full of customer data.
func rackOf(t *testing.T, specs ...virtual.Spec) (*virtual.Rack, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rack")
	rack, err := virtual.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		if _, err := rack.Add(s); err != nil {
			t.Fatal(err)
		}
		if err := rack.Populate(s.Serial, oldData); err != nil {
			t.Fatal(err)
		}
	}
	return rack, dir
}

// serving starts an agent of a rack, and waits until it answers.
func startAgent(t *testing.T, rack string, args ...string) (*exec.Cmd, *client.Client) {
	t.Helper()
	cmd := program(t, append([]string{"--rack", rack, "serve"}, args...)...)
	log := &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := client.Unix(filepath.Join(rack, "agent", "agent.sock"))
	t.Cleanup(c.Close)
	for n := 0; n < 3000; n++ {
		if _, err := c.Health(t.Context()); err == nil {
			return cmd, c
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Fatalf("the agent does not answer:\n%s", log)
	return nil, nil
}

func begin(t *testing.T, c api.Service, serials ...string) api.Job {
	t.Helper()
	p, err := c.Plan(t.Context(), api.PlanRequest{Drives: serials})
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.Start(t.Context(), api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(serials)})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// ends follows a job to its end: also right after a start of the agent nobody is told that a job has stopped that it goes on with.
func ends(t *testing.T, c api.Service, job string) api.Job {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	var last api.Job
	for e, err := range c.Events(ctx, job, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == api.EventJob {
			last = *e.Whole
		}
	}
	if last.State != api.JobEnded {
		t.Errorf("the last that was told of job %s is that it is %q", job, last.State)
	}
	return last
}

// The agent is killed at any moment and started again, until all that was begun has come to its end: nothing of it is lost, nobody
// has to ask for it, and nothing is left on the drives.
func TestAgentKilledAtAnyMoment(t *testing.T) {
	var specs []virtual.Spec
	profiles := []string{"", "nvme-ssd", "sata-ssd", "sas-hdd"}
	for n := range 8 {
		specs = append(specs, virtual.Spec{Serial: fmt.Sprintf("K%d", n), Profile: profiles[n%len(profiles)], SizeBytes: 8 << 20})
	}
	rack, dir := rackOf(t, specs...)
	for _, s := range specs {
		f, err := virtual.ParseFault("slow:6000000")
		if err == nil {
			err = rack.Fault(s.Serial, f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	agent, c := startAgent(t, dir)
	var jobs []string
	for _, s := range specs {
		jobs = append(jobs, begin(t, c, s.Serial).ID)
	}
	kills := 0
	for ended := false; !ended; kills++ {
		time.Sleep(time.Duration(20+kills*37%400) * time.Millisecond)
		if err := agent.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait() // it was killed
		agent, c = startAgent(t, dir)
		list, err := c.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended = true
		for _, j := range list {
			ended = ended && j.State == api.JobEnded
		}
		if kills == 12 {
			break // it may have all the time that it wants now
		}
	}
	for n, job := range jobs {
		j := ends(t, c, job)
		m, err := rack.Medium(specs[n].Serial)
		if err != nil {
			t.Fatal(err)
		}
		left, _, err := m.CountCanary(oldData)
		if err != nil || left != 0 || j.ExitStatus != api.ExitOK {
			t.Errorf("%s: %d canaries, %v, %+v", specs[n].Serial, left, err, j)
		}
	}
	h, err := c.Health(t.Context())
	if err != nil || !h.SafeToPowerOff {
		t.Errorf("%+v, %v", h, err)
	}
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err != nil {
		t.Errorf("told to stop, it ended with %v", err)
	}
	call(t, exitOK, nil, "--rack", dir, "audit")
	t.Logf("killed %d times", kills)
}

// ca is a certificate authority of a test.
type ca struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	next int64
}

func newCA(t *testing.T) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &ca{t: t, key: key, dir: t.TempDir(), next: 2}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *ca) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// issue makes a certificate of a server, or of a client by its URI.
func (a *ca) issue(name, uri string) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	a.next++
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", pkcs8)
}

// client asks an agent with a certificate.
func (a *ca) client(address, cert, key string) *client.Client {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	c, err := client.TLS(address, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Close)
	return c
}

// Over the network, with certificates of both sides: one plans and starts, another approves with a key of their own, a third only
// looks, and whoever comes with a certificate of another authority is not even heard.
func TestAgentOverTLS(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	own := newCA(t)
	serverCert, serverKey := own.issue("agent", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(own.dir, "second.pem")
	text, err := attest.NewPrivatePEM(attest.Ed25519)
	if err == nil {
		err = os.WriteFile(private, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.LoadKeyFile(private, "approver")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own.dir, "second.pub"), key.PublicPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(own.dir, "agent.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
tls: {listen: '%s', certificate: %s, key: %s, client_ca: ca.pem}
access:
- {uid: %d, roles: [read]}
- {certificate: 'spiffe://test/controller', roles: [read, operate]}
- {certificate: 'spiffe://test/second', roles: [read, approve]}
- {certificate: 'spiffe://test/auditor', roles: [read]}
approvals:
  required: 1
  approvers: [{name: Second, key: second.pub, principals: ['cert:spiffe://test/second']}]
`, address, serverCert, serverKey, os.Getuid()), 0o600); err != nil {
		t.Fatal(err)
	}
	agent, local := startAgent(t, dir, "--config", file)
	of := func(name string) *client.Client {
		cert, key := own.issue(name, "spiffe://test/"+name)
		return own.client(address, cert, key)
	}
	controller, second, auditor := of("controller"), of("second"), of("auditor")
	ctx := t.Context()
	wantProblem := func(err error, code string) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != code {
			t.Fatalf("%v, want %s", err, code)
		}
	}
	_, err = auditor.Plan(ctx, api.PlanRequest{Drives: []string{"A"}})
	wantProblem(err, "forbidden")
	_, err = local.Plan(ctx, api.PlanRequest{Drives: []string{"A"}})
	wantProblem(err, "forbidden")
	p, err := controller.Plan(ctx, api.PlanRequest{Drives: []string{"A"}, Request: sanitize.Request{Pattern: "zero"}})
	if err != nil {
		t.Fatal(err)
	}
	start := api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: 1}
	_, err = controller.Start(ctx, start)
	wantProblem(err, "approval_required")
	now := time.Now().UTC()
	e, err := attest.SignApproval(attest.Approval{By: attest.Person{Name: "Second"}, Drives: 1, PlanID: p.ID, PlanSHA256: p.Digest, Simulated: true,
		Time: attest.Time{Claimed: now.Format(time.RFC3339), Source: "host clock"}, Expires: now.Add(time.Minute).Format(time.RFC3339)}, key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = controller.Approve(ctx, p.ID, e)
	wantProblem(err, "forbidden")
	if _, err = second.Approve(ctx, p.ID, e); err != nil {
		t.Fatal(err)
	}
	_, err = second.Start(ctx, start)
	wantProblem(err, "forbidden")
	j, err := controller.Start(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	if end := ends(t, auditor, j.ID); end.ExitStatus != api.ExitOK || !strings.Contains(end.StartedBy, "spiffe://test/controller") {
		t.Fatalf("%+v", end)
	}
	m, err := rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	if left, _, err := m.CountCanary(oldData); err != nil || left != 0 {
		t.Fatalf("%d canaries, %v", left, err)
	}
	other := newCA(t)
	cert, strangerKey := other.issue("controller", "spiffe://test/controller")
	stranger := own.client(address, cert, strangerKey)
	if _, err := stranger.Health(ctx); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	if h, err := local.Health(ctx); err != nil || h.Status != "ok" {
		t.Errorf("%+v, %v", h, err)
	}
	if err := os.Remove(filepath.Join(own.dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	if h, err := local.Health(ctx); err != nil || h.Status != "degraded" || len(h.Problems) != 1 || h.Problems[0].Code != "tls" {
		t.Errorf("that nobody gets in by TLS is not told: %+v, %v", h, err)
	}
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err != nil {
		t.Error(err)
	}
	actions, err := os.ReadFile(filepath.Join(dir, "agent", "actions"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"spiffe://test/auditor", "approval_required", "approved by Second", `"via":"tls"`} {
		if !bytes.Contains(actions, []byte(want)) {
			t.Errorf("%s was not recorded", want)
		}
	}
}
