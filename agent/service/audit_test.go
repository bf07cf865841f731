package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

var (
	stranger = api.Principal{Name: "uid:1000", Via: "unix"}
	noRoles  = api.NewProblem(api.ExitPermission, "forbidden", "", errors.New("uid:1000 has no roles here"))
)

// Who is refused before the service is asked is written down like others, and of many tries not every one.
func TestRefusalsOfTheServerAreWrittenDown(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	for range 5 {
		x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	}
	wrong := api.NewProblem(api.ExitUsage, "malformed", "", errors.New("body.pins.73519: it is there twice"))
	wrong.Errors = []api.FieldProblem{{Location: "body.pins.73519", Message: "it is there twice"}}
	x.Refused(api.Principal{Name: "uid:0", Via: "tls", Roles: api.Roles}, "jobs.start", "/v1/jobs", wrong)
	x.Refused(api.Principal{Name: "uid:0", Via: "tls", Roles: api.Roles}, "jobs.cancel", "/v1/jobs/j/cancel", wrong)
	s.close(x)
	want := []Action{
		{Who: "uid:1000", Via: "unix", Action: "drives.list", Object: "/v1/drives", Decision: refused, Code: "forbidden", Detail: "uid:1000 has no roles here"},
		{Who: "uid:0", Via: "tls", Action: "jobs.start", Object: "/v1/jobs", Decision: refused, Code: "malformed"},
		{Who: "uid:0", Via: "tls", Action: "jobs.cancel", Object: "/v1/jobs/j/cancel", Decision: refused, Code: "malformed"},
		{Who: "uid:1000", Via: "unix", Action: "drives.list", Decision: refused, Code: "forbidden", Repeated: 4},
	}
	if list := s.actions(); !slices.Equal(list, want) {
		t.Errorf("%+v", list)
	}
}

// What a user would lose: a disk, to somebody without roles who tries everything. Of people with roles nothing is counted with anything else.
func TestStrangersAreCountedTogether(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	reader := api.Principal{Name: "uid:7", Via: "unix", Roles: []api.Role{api.Read}}
	tried := []string{"drives.list", "jobs.start", "halt", "jobs.cancel", "no such operation"}
	for range 3 {
		for _, action := range tried {
			x.Refused(stranger, action, "/v1/x", noRoles)
			x.Refused(reader, action, "/v1/x", noRoles)
		}
	}
	if _, err := x.Jobs(as(t.Context(), stranger.Name)); err == nil {
		t.Error("a stranger sees jobs")
	}
	s.close(x)
	records, tries := map[string]int{}, map[string]int{}
	for _, a := range s.actions() {
		records[a.Who]++
		if tries[a.Who] += a.Repeated; a.Repeated == 0 {
			tries[a.Who]++
		}
		if a.Who == stranger.Name && a.Repeated > 0 && (a.Action != several || a.Code != "forbidden" || !strings.Contains(a.Detail, " forbidden ")) || a.Who == reader.Name && a.Action == several {
			t.Errorf("%+v", a)
		}
	}
	if records[stranger.Name] != len(tried)+1+1 || tries[stranger.Name] != 16 || records[reader.Name] != 2*len(tried) || tries[reader.Name] != 15 {
		t.Errorf("%v records of %v tries", records, tries)
	}
}

// What an auditor would lose: how often somebody tried, when the agent is killed.
func TestCountsOfRefusalsAreOnDiskInTime(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	x.audit.quietFor = 20 * time.Millisecond
	counted := func() (records, tries int) {
		for _, a := range s.actions() { // what a killed process leaves
			records++
			if tries += a.Repeated; a.Repeated == 0 {
				tries++
			}
			if a.Who != stranger.Name || a.Via != "unix" || a.Action != "drives.list" || a.Code != "forbidden" {
				t.Fatalf("%+v", a)
			}
		}
		return records, tries
	}
	const most = 100
	for range most {
		x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	}
	until(t, "all tries are on disk", func() bool { _, tries := counted(); return tries == most })
	if records, _ := counted(); records == most {
		t.Errorf("each of %d tries has a record", records)
	}
	until(t, "nothing is kept of those who went away", func() bool {
		x.audit.mu.Lock()
		defer x.audit.mu.Unlock()
		return len(x.audit.quiet) == 0 && x.audit.tick == nil
	})
	x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	if _, tries := counted(); tries != most+1 {
		t.Errorf("%d of %d tries are on disk", tries, most+1)
	}
}

// What an auditor would lose: a minute of refusals, of which the first could not be written.
func TestARefusalThatCouldNotBeRecordedSilencesNothing(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	name, aside := filepath.Join(s.state, ActionsName), filepath.Join(s.state, "kept")
	if err := errors.Join(os.Rename(name, aside), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // another thing has the name of the file
		x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	}
	if err := errors.Join(os.Remove(name), os.Rename(aside, name)); err != nil {
		t.Fatal(err)
	}
	x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	if list := s.actions(); len(list) != 1 || list[0].Code != "forbidden" {
		t.Fatalf("%+v", list)
	}
	// The same of a count: what could not be written is still counted.
	x.Refused(stranger, "drives.list", "/v1/drives", noRoles)
	if err := errors.Join(os.Rename(name, aside), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	x.audit.mu.Lock()
	x.audit.quietFor = 0
	x.audit.mu.Unlock()
	x.audit.due()
	if err := errors.Join(os.Remove(name), os.Rename(aside, name)); err != nil {
		t.Fatal(err)
	}
	s.close(x)
	if list := s.actions(); len(list) != 2 || list[1].Repeated != 1 {
		t.Fatalf("%+v", list)
	}
}

// What a user would lose: a disk, to somebody with many names.
func TestRefusalsOfManyAreBounded(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	const more = 50
	for i := range quietMost + more {
		for range 2 {
			x.Refused(api.Principal{Name: fmt.Sprint("uid:", i), Via: "unix"}, "drives.list", "/v1/drives", noRoles)
		}
	}
	parsed, err := journal.Read(filepath.Join(s.state, ActionsName))
	if err != nil || len(parsed.Records) != quietMost+1 {
		t.Fatalf("%d records, %v", len(parsed.Records), err)
	}
	s.close(x)
	tries := map[string]int{}
	for _, a := range s.actions() {
		if tries[strings.Split(a.Who, ":")[0]] += a.Repeated; a.Repeated == 0 {
			tries[strings.Split(a.Who, ":")[0]]++
		}
	}
	if tries["uid"] != 2*quietMost || tries[others] != 2*more {
		t.Errorf("%v", tries)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
