package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

var overwrite = sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}

// told is what the agent logs of a change that the kernel told of.
var told = regexp.MustCompile(`^"host changed"[^\n]*"events":[1-9]`)

// The agent of a host, started as its users start it and asked through its socket, by the program and by hand: jobs side by side,
// a drive that is pulled and comes back, an agent that is killed, a drive in use, a user without rights.
func TestServe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.image("ext4", "mkfs.ext4", "e2fsprogs", "-q", "-F", "-O", "^has_journal")
	b.add(virtual.Spec{Profile: "sata-ssd", Serial: "ERASED", SizeBytes: 1 << 20, EraseSeconds: 1})
	b.add(virtual.Spec{Profile: "sas-hdd", Serial: "SPUN", SizeBytes: 1 << 20, EraseSeconds: 1})
	b.add(virtual.Spec{Profile: "sata-hdd", Serial: "WRITTEN", SizeBytes: 1 << 20})
	pulled := b.add(virtual.Spec{Profile: "sas-hdd", Serial: "PULLED", SizeBytes: 8 << 20})
	loose := b.add(virtual.Spec{Profile: "sata-ssd", Serial: "LOOSE", SizeBytes: 8 << 20})
	b.add(virtual.Spec{Profile: "sas-hdd", Serial: "SLOW", SizeBytes: 1 << 20}, "slow:300000")
	killed := b.add(virtual.Spec{Profile: "sata-hdd", Serial: "KILLED", SizeBytes: 8 << 20})
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "ITSELF", SizeBytes: 1 << 20, EraseSeconds: 6})
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "MOUNTED", SizeBytes: 4 << 20})
	g := startUML(t, b.target, b.share, []string{"ext4"}, nil)
	pid := g.serve(false)
	clean := func(t *testing.T, serial string, hiddenToo bool) {
		t.Helper()
		if left, hidden := b.left(serial); left != 0 || hiddenToo && hidden != 0 {
			t.Errorf("%s: %d canaries that the host can address, %d that it cannot", serial, left, hidden)
		}
	}
	t.Run("jobs side by side", func(t *testing.T) { b.sideBySide(g.in(t), clean) })
	t.Run("a user without rights", func(t *testing.T) { b.withoutRights(g.in(t)) })
	t.Run("a drive is pulled and comes back", func(t *testing.T) {
		g := g.in(t)
		b.after(pulled, 2, isWrite, func() { b.unplug("PULLED", pulled) })
		job := g.begin(overwrite, "PULLED")
		j := g.becomes(job, api.JobInterrupted)
		if left, _ := b.left("PULLED"); left == 0 {
			t.Fatal("it was pulled too late")
		}
		h := asked[api.Health](g, http.StatusOK, "GET", "/v1/health", nil)
		if h.HotPlug != string(devices.ChangesByKernel) || h.SafeToPowerOff || j.ExitStatus != api.ExitInterrupted {
			t.Errorf("%+v, %+v", h, j)
		}
		g.uncertified("PULLED")
		b.target.attach(pulled+20, 0, b.open["PULLED"][0]) // the kernel tells of it, and nobody else
		g.proven(job, sanitize.Clear, sanitize.HostOverwrite)
		clean(t, "PULLED", false)
		// Names are looked at as well, so that the log has to say what made the agent look.
		log, _, _ := strings.Cut(g.Must("cat", "/host/serve.log"), "went on with a job")
		if i := strings.LastIndex(log, `"host changed"`); i < 0 || !told.MatchString(log[i:]) {
			t.Errorf("not the kernel's word made the agent go on:\n%s", log)
		}
	})
	t.Run("a drive is pulled and is back while its job goes on with another", func(t *testing.T) {
		g := g.in(t)
		b.after(loose, 2, isWrite, func() {
			b.unplug("LOOSE", loose)
			b.target.attach(loose+20, 0, b.open["LOOSE"][0])
		})
		for _, r := range g.proven(g.begin(overwrite, "LOOSE", "SLOW"), sanitize.Clear, sanitize.HostOverwrite) {
			if r.Device.Serial == "LOOSE" && r.Sanitization.Attempts < 2 {
				t.Errorf("%d attempts", r.Sanitization.Attempts)
			}
		}
		clean(t, "LOOSE", false)
		clean(t, "SLOW", false)
	})
	t.Run("the agent is killed", func(t *testing.T) {
		g := g.in(t)
		arrived, release := make(chan struct{}), make(chan struct{})
		var seen atomic.Int64
		var once sync.Once
		b.target.mu.Lock()
		b.target.before = func(at uint16, cdb []byte) {
			if at == killed && isWrite(cdb) && seen.Add(1) >= 2 {
				once.Do(func() { close(arrived) })
				<-release
			}
		}
		b.target.mu.Unlock()
		itself := g.begin(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}, "ITSELF")
		g.until("the other drive erases itself", func() bool { return len(b.begun("ITSELF")) > 0 })
		written := g.begin(overwrite, "KILLED")
		select {
		case <-arrived: // and nothing else comes through: what is held fills the queue of all drives
		case <-time.After(patience):
			t.Fatal("nothing is written")
		}
		g.Must("kill", pid)
		close(release)
		g.until("the agent is gone", func() bool { return g.Must("ls", "/proc/"+pid) == "" })
		if left, _ := b.left("KILLED"); left == 0 {
			t.Fatal("it was killed too late")
		}
		if list, err := filepath.Glob(filepath.Join(b.share, "state/jobs", written, "*/certificate.json")); err != nil || len(list) > 0 {
			t.Errorf("certificates of a job that was cut off: %q %v", list, err)
		}
		pid = g.serve(true)
		if r := g.proven(written, sanitize.Clear, sanitize.HostOverwrite); r[0].Sanitization.Attempts != 2 {
			t.Errorf("%d attempts", r[0].Sanitization.Attempts)
		}
		clean(t, "KILLED", false)
		g.proven(itself, sanitize.Purge, sanitize.BlockErase)
		clean(t, "ITSELF", true)
		if begun := b.begun("ITSELF"); len(begun) != 1 {
			t.Errorf("begun %q", begun)
		}
	})
	t.Run("a drive is mounted where the agent does not see it", func(t *testing.T) { b.mountedElsewhere(g.in(t), pid) })
	if h := asked[api.Health](g, http.StatusOK, "GET", "/v1/health", nil); !h.SafeToPowerOff || h.Status != "ok" {
		t.Errorf("%+v", h)
	}
	b.writtenDown()
}

// sideBySide: a job by the program, planned, confirmed and followed, of drives of two kinds; meanwhile another by hand.
func (b *bench) sideBySide(g *Guest, clean func(t *testing.T, serial string, hiddenToo bool)) {
	t := g.t
	out := g.Must("expunge", "list")
	for _, serial := range []string{"ERASED", "SPUN", "WRITTEN"} {
		if !strings.Contains(out, serial) {
			t.Errorf("%s is not in the list: %s", serial, out)
		}
	}
	g.Must("expunge", "plan", "ERASED", "SPUN", "--method", "purge", "-o", "/tmp/plan.json")
	p, err := sanitize.ParsePlan([]byte(g.Must("cat", "/tmp/plan.json")))
	if err != nil {
		t.Fatal(err)
	}
	if said, code := g.quiet("expunge", "run", "--plan", "/tmp/plan.json", "--confirm", strings.Repeat("0", 64)); code != api.ExitRefused {
		t.Errorf("a plan that was not confirmed: exit %d: %s", code, said)
	}
	ended := make(chan answer, 1)
	go func() {
		a, _ := g.do(t.Context(), request{Args: []string{"expunge", "run", "--plan", "/tmp/plan.json", "--confirm", p.Digest()}})
		ended <- a
	}()
	job := g.begin(overwrite, "WRITTEN")
	_, stream := g.http(0, "GET", "/v1/jobs/"+job+"/events?format=ndjson", nil)
	var last api.Event
	kinds := map[string]int{}
	for line := range strings.Lines(string(stream)) {
		if strings.TrimSpace(line) == "" {
			continue // it is alive
		}
		last = api.Event{}
		answerOf(t, line, &last)
		kinds[last.Type+" "+last.Kind]++
	}
	if last.Type != api.EventJob || last.Whole == nil || last.Whole.ExitStatus != api.ExitOK || kinds["record finished"] != 1 || kinds["drive "] != 1 {
		t.Errorf("followed to %+v: %v", last, kinds)
	}
	g.proven(job, sanitize.Clear, sanitize.HostOverwrite)
	clean(t, "WRITTEN", false)
	if _, hidden := b.left("WRITTEN"); hidden == 0 {
		t.Error("a host overwrite reached blocks that no host can address")
	}
	if a := <-ended; a.Code != 0 || strings.Count(string(a.Stdout), "PURGED verified") != 2 {
		t.Errorf("exit %d: %s%s", a.Code, a.Stdout, a.Stderr)
	}
	jobs := asked[struct{ Items []api.Job }](g, http.StatusOK, "GET", "/v1/jobs", nil).Items
	i := slices.IndexFunc(jobs, func(j api.Job) bool { return j.Plan == p.Digest() })
	if i < 0 || jobs[i].StartedBy != "uid:0" || len(jobs[i].Drives) != 2 {
		t.Fatalf("%+v", jobs)
	}
	g.proven(jobs[i].ID, sanitize.Purge, "")
	clean(t, "ERASED", true)
	clean(t, "SPUN", true)
}

// withoutRights: somebody whom nobody gave anything learns nothing, and begins nothing.
func (b *bench) withoutRights(g *Guest) {
	t := g.t
	p := asked[api.Plan](g, http.StatusCreated, "POST", "/v1/plans", api.PlanRequest{Drives: []string{"MOUNTED"}, Request: overwrite})
	for _, x := range []struct {
		method, at string
		body       any
	}{{"GET", "/v1/drives", nil}, {"POST", "/v1/jobs", startOf(p)}, {"GET", "/", nil}} {
		status, body := g.http(1000, x.method, x.at, x.body)
		var why api.Problem
		if err := json.Unmarshal(body, &why); err != nil || status != http.StatusForbidden || why.Code != "forbidden" || why.ExitStatus != api.ExitPermission || !strings.Contains(why.Detail, "uid:1000") {
			t.Errorf("%s %s: %v %d %s", x.method, x.at, err, status, body)
		}
	}
	for _, args := range [][]string{{"expunge", "list"}, {"expunge", "run", "MOUNTED", "--method", "purge", "--confirm", "MOUNTED"}} {
		if said, code := g.as(1000, args...); code != api.ExitPermission || !strings.Contains(said, "uid:1000") {
			t.Errorf("%q: exit %d: %s", args, code, said)
		}
	}
	if left, _ := b.left("MOUNTED"); left == 0 || len(b.begun("MOUNTED")) > 0 {
		t.Errorf("%d canaries, begun %q", left, b.begun("MOUNTED"))
	}
}

// mountedElsewhere: what is mounted is refused by the hard rules, also by a plan from before, and whether or not the agent's own
// mount namespace shows it.
func (b *bench) mountedElsewhere(g *Guest, pid string) {
	t := g.t
	late := asked[api.Plan](g, http.StatusCreated, "POST", "/v1/plans", api.PlanRequest{Drives: []string{"MOUNTED"}, Request: overwrite})
	if len(late.Drives) != 1 {
		t.Fatalf("refused %+v", late.Refused)
	}
	node := late.Drives[0].Nodes[0]
	g.Must("copy", "/host/ext4", node)
	g.Must("mount", "ext4", node, "/mnt/held")
	if strings.Contains(g.Must("cat", "/proc/"+pid+"/mounts"), "/mnt/held") {
		t.Fatal("the agent has the mount in its own namespace")
	}
	before, _ := b.left("MOUNTED")
	status, body := g.http(0, "POST", "/v1/jobs", startOf(late))
	var why api.Problem
	if err := json.Unmarshal(body, &why); err != nil || status != http.StatusConflict || why.ExitStatus != api.ExitRefused ||
		!slices.ContainsFunc(why.Reasons, func(r devices.Reason) bool { return r.Code == "mounted" }) {
		t.Errorf("a plan from before: %v %d %s", err, status, body)
	}
	if said, code := g.quiet("expunge", "run", "MOUNTED", "--method", "clear", "--technique", "host-overwrite", "--confirm", "MOUNTED"); code != api.ExitRefused || !strings.Contains(said, "mounted at /mnt/held") {
		t.Errorf("a plan of now: exit %d: %s", code, said)
	}
	if after, _ := b.left("MOUNTED"); after != before || after == 0 || len(b.begun("MOUNTED")) > 0 {
		t.Errorf("%d canaries, were %d; begun %q", after, before, b.begun("MOUNTED"))
	}
	g.uncertified("MOUNTED")
}

// writtenDown: what everybody wanted is in the audit file, whose chain is whole after an agent was killed.
func (b *bench) writtenDown() {
	t := b.t
	parsed, err := journal.Read(filepath.Join(b.share, "state/actions"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range parsed.Records {
		var a service.Action
		if err := r.Decode(&a); err != nil {
			t.Fatal(err)
		}
		seen[strings.Join([]string{a.Who, a.Action, a.Decision, a.Code}, " ")]++
	}
	for _, want := range []string{
		"uid:0 jobs.start allowed ", "uid:0 jobs.start refused refused", "uid:1000 drives.list refused forbidden", "uid:1000 jobs.start refused forbidden", "uid:1000 page refused forbidden",
		"uid:1000 plans.make refused forbidden",
	} {
		if seen[want] == 0 {
			t.Errorf("%q is not written down: %v", want, seen)
		}
	}
}
