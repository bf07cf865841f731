package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/server"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/tools/apiclient/generated"
)

// What others generate is what is committed, byte for byte.
func TestTheClientIsMadeOfTheDocument(t *testing.T) {
	code, err := generate("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("generated/client.go")
	if err != nil || string(committed) != code {
		t.Fatalf("generated/client.go is not made of docs/openapi.yaml (%v): run go run ./apiclient in tools", err)
	}
}

// service does what the test asks for; whatever else is asked for fails.
type service struct{ api.Service }

func (service) Drives(context.Context) (api.Drives, error) {
	return api.Drives{Items: []devices.Drive{{ID: "d", Serial: "S1", State: devices.StateReady, Sanitize: &devices.SanitizeSupport{Crypto: true}}}}, nil
}

func (service) Plan(_ context.Context, r api.PlanRequest) (api.Plan, error) {
	if len(r.Drives) == 0 {
		return api.Plan{}, api.NewProblem(api.ExitUsage, "empty", "name drives", context.Canceled)
	}
	return api.Plan{ID: "p1", Digest: "d1", ApprovalsNeeded: 1}, nil
}

func (service) Start(_ context.Context, r api.StartRequest) (api.Job, error) {
	return api.Job{ID: "j-" + r.PlanID + "-" + r.PINs["d"], State: api.JobRunning, ExitStatus: api.ExitInterrupted, Drives: []api.JobDrive{{ID: "d"}}}, nil
}

// What a user would lose: a document from which no client can be made.
func TestAGeneratedClientWorks(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	uid := uint32(os.Geteuid())
	rules, err := access.New([]access.Entry{{UID: &uid, Roles: api.Roles}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Service: service{}, Keys: filepath.Join(dir, "keys"), Access: rules})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := server.Unix(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	c, err := generated.NewClientWithResponses("http://agent", generated.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	drives, err := c.ListDrivesWithResponse(ctx)
	if err != nil || drives.JSON200 == nil || len(*drives.JSON200.Items) != 1 || (*drives.JSON200.Items)[0].Serial != "S1" || !(*drives.JSON200.Items)[0].Sanitize.Crypto {
		t.Fatalf("%+v, %v", drives, err)
	}
	plan, err := c.MakePlanWithResponse(ctx, &generated.MakePlanParams{IdempotencyKey: "k1"}, generated.PlanRequest{Drives: &[]string{"S1"}})
	if err != nil || plan.JSON201 == nil || plan.JSON201.Digest != "d1" {
		t.Fatalf("%+v, %v", plan, err)
	}
	pins := map[string]string{"d": "7"}
	job, err := c.StartJobWithResponse(ctx, &generated.StartJobParams{IdempotencyKey: "k2"}, generated.StartRequest{PlanId: plan.JSON201.Id, PlanDigest: plan.JSON201.Digest, ExpectDrives: 1, Pins: &pins})
	if err != nil || job.JSON202 == nil || job.JSON202.Id != "j-p1-7" || job.JSON202.State != "running" {
		t.Fatalf("%+v, %v", job, err)
	}
	for name, drives := range map[string]*[]string{"empty": {}, "null": nil} {
		plan, err = c.MakePlanWithResponse(ctx, &generated.MakePlanParams{IdempotencyKey: name}, generated.PlanRequest{Drives: drives})
		if err != nil || plan.JSON201 != nil || plan.ApplicationproblemJSONDefault == nil || plan.ApplicationproblemJSONDefault.Code != "empty" || plan.ApplicationproblemJSONDefault.ExitStatus != 2 {
			t.Fatalf("%s: %s, %v", name, plan.Body, err)
		}
	}
}
