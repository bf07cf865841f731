package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/attest"
)

// What is wrong in the file is told, and nothing is passed over.
func TestWhatIsWrongIsTold(t *testing.T) {
	key := publicKey(t)
	for text, want := range map[string]string{
		"polcy: x":                                              "field polcy not found",
		"caps: {drives_per_job: -1}":                            "drives_per_job",
		"caps: {share_of_host_percent: 101}":                    "share_of_host_percent",
		"tls: {listen: 0.0.0.0:7443}":                           "belong together",
		"tls: {}":                                               "belong together",
		"access: [{uid: 0, roles: [admin]}]":                    "admin",
		"access: [{roles: [read]}]":                             "give one of",
		"access: [{uid: 0, gid: 0, roles: []}]":                 "access",
		"access: [{user: nobody-has-this-name, roles: [read]}]": "nobody-has-this-name",
		"policy: no-such-policy":                                "no-such-policy",
		"policy: ./missing.yaml":                                "missing.yaml",
		"approvals: {approvers: [{name: A, key: missing.pem}]}": "missing.pem",
		"approvals: {approvers: [{name: A, key: key.pem}]}":     "no principals",
		"approvals: {approvers: [{name: A, key: key.pem, principals: ['spiffe://x/y']}]}": "cert:URI",
		"access: [{uid: 4294967295, roles: [read]}]":                                      "at most 4294967294",
		"access: [{certificate: 'CN=x ', roles: [read]}]":                                 "blank",
		"access: [{certificate: 'SPIFFE://x/y', roles: [read]}]":                          "written spiffe://x/y",
		"approvals: {required: 17}":                                                       "required",
		"connections: many":                                                               "cannot unmarshal",
		"socket: {path: /run/a}\n---\nsocket: {path: /run/b}":                             "more than one",
		"socket: {path: /run/a}\nsocket: {path: /run/b}":                                  "already defined",
		"durability: {sink: /var/x, accept_volatile: perhaps}":                            "cannot unmarshal",
		"tls: {listen: x, certificate: a, key: b, client_ca: c, open: yes}":               "field open not found",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Parse([]byte(text), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What an operator would lose: an approver that the file names in another spelling than the agent approves their own plan.
func TestPrincipalsAreSpelledAsTheAgentDoes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), publicKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"uid:0": "", "uid:1000": "", "uid:4294967294": "", "cert:CN=Ann Smith": "", "cert:CN=ann:x": "", "cert:spiffe://site/ann": "", "cert:urn:site:ann": "",
		"uid:00": "uid:0", "uid:01000": "uid:1000", "uid:4294967295": "no user", "uid:4294967296": "no user", "uid:99999999999999999999": "no user", "uid:+1": "none", "uid: 1": "none", "uid:1 ": "none",
		"cert:CN=x ": "blank", "cert:CN= x": "blank", "cert:CN=x\u200b": "not seen", "cert:CN=x\t": "blank", "cert:CN=\u00a0x": "blank", "cert:CN= ": "blank",
		"cert:SPIFFE://site/ann": "spiffe://site/ann", "cert:spiffe://site/a b": "spiffe://site/a%20b", "cert:spiffe://site/ann ": "blank", "cert:spiffe://si te/": "invalid",
		"cert:ann": "none", "CN=x": "none", "Cert:CN=x": "none", "UID:1": "none",
	} {
		text := fmt.Sprintf("approvals: {approvers: [{name: A, key: key.pem, principals: [%q]}]}", name)
		_, err := Parse([]byte(text), dir)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// An empty file serves root alone, and nobody over the network.
func TestAnEmptyFile(t *testing.T) {
	c, err := Parse(nil, "/etc/expunge")
	if err != nil || c.TLS != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := c.Rules(); err != nil {
		t.Fatal(err)
	}
}

// Names in the file are below its directory, and approvers' keys are read from there.
func TestNamesAreBelowTheFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ann.pub"), publicKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(name, []byte("approvals:\n  required: 1\n  approvers:\n  - {name: Ann, key: ann.pub, principals: ['uid:7']}\ndurability: {sink: copies}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	o := c.Service(service.Options{})
	if len(o.Approvers) != 1 || o.Approvers[0].Name != "Ann" || o.Required != 1 || o.Sink != filepath.Join(dir, "copies") || len(c.SHA256) != 64 {
		t.Errorf("%+v", o)
	}
}

// However the file is named.
func TestNamesAreBelowAFileHere(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"site.yaml": "policy: here\n", "agent.yaml": "policy: site.yaml\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"agent.yaml", "./agent.yaml"} {
		if c, err := Read(name); err != nil || c.policy.Name != "here" {
			t.Errorf("%s: its policy was not looked for beside it: %v", name, err)
		}
	}
}

func publicKey(t *testing.T) []byte {
	t.Helper()
	text, err := attest.NewPrivatePEM(attest.P256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivatePEM("k", text, "approver")
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicPEM()
}
