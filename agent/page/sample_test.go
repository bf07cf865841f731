package page

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a Service that says what it is told. Whatever else is asked of it ends the test.
type scripted struct {
	api.Service
	health       api.Health
	drives       api.Drives
	jobs         []api.Job
	certificates []api.Certificate
	errs         map[string]error
	hang         chan struct{} // Drives waits for it
	hung         atomic.Int64  // how often
	asked        chan api.Principal
}

func (s *scripted) Health(ctx context.Context) (api.Health, error) {
	if s.asked != nil {
		s.asked <- api.PrincipalOf(ctx)
	}
	return s.health, s.errs["health"]
}
func (s *scripted) Drives(context.Context) (api.Drives, error) {
	if s.hang != nil {
		s.hung.Add(1)
		<-s.hang
	}
	return s.drives, s.errs["drives"]
}
func (s *scripted) Jobs(context.Context) ([]api.Job, error) { return s.jobs, s.errs["jobs"] }
func (s *scripted) Certificates(context.Context) ([]api.Certificate, error) {
	return s.certificates, s.errs["certificates"]
}

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func number(n int64) *int64 { return &n }

func file() *string {
	name := "certificate.json"
	return &name
}

func id(n int) devices.ID { return devices.NewID("model", fmt.Sprint(n), "") }

// workshop is a host with a drive in every state, a job with every outcome, and drives at work.
func workshop() *scripted {
	reason := func(code, message, hint string) []devices.Reason {
		return []devices.Reason{{Code: code, Message: message, Hint: hint}}
	}
	drive := func(n int, node, serial, model string, state devices.State, reasons []devices.Reason) devices.Drive {
		return devices.Drive{ID: id(n), Nodes: []string{node}, Serial: serial, Model: model, State: state, Reasons: reasons, Geometry: devices.Geometry{SizeBytes: 3_840_755_982_336}}
	}
	ended := func(n int, outcome sanitize.Outcome, words string, reasons []devices.Reason) api.JobDrive {
		d := api.JobDrive{ID: id(n), Serial: fmt.Sprintf("ENDED%d", n), Model: "SAMSUNG MZQL2960HCJR-00A07", Nodes: []string{fmt.Sprintf("/dev/nvme%dn1", n)}, Outcome: outcome, Words: words, Reasons: reasons, Certificate: file()}
		if outcome == sanitize.Interrupted {
			d.Certificate = nil
		}
		return d
	}
	atWork := func(n int, node, serial string, p *sanitize.Reading) api.JobDrive {
		return api.JobDrive{ID: id(n), Serial: serial, Model: "ST4000NM0035-1V4107", Nodes: []string{node}, Outcome: sanitize.Interrupted, Words: "RUNNING - holds data until it has ended",
			Reasons: reason(agent.ReasonRunning, "somebody is at work on it", ""), Progress: p}
	}
	s := &scripted{errs: map[string]error{}}
	s.health = api.Health{Status: "degraded", Version: "1.2.3", Running: 2, Drives: 5, HotPlug: "kernel", Started: "2026-11-27T08:15:00Z",
		PowerOff: reason("running", "5 drives are worked on", "expunge watch shows how long it takes"),
		Problems: reason("log_behind", "the log's checkpoint was not cosigned since yesterday", "see whether the cosigner can be reached")}
	s.drives = api.Drives{Items: []devices.Drive{
		drive(101, "/dev/sdc", "READY10", "INTEL SSDSC2KB480G8", devices.StateReady, nil),
		drive(102, "/dev/sda", "SYSTEM1", "INTEL SSDSC2KB480G8", devices.StateSystem, reason("mounted", "/dev/sda2 is mounted at /", "")),
		drive(103, "/dev/sdb", "INUSE77", "ST4000NM0035-1V4107", devices.StateInUse, reason("holder", "md0 holds /dev/sdb1", "stop it with: mdadm --stop /dev/md0")),
		drive(104, "/dev/sdd", "FROZEN9", "KINGSTON SEDC500", devices.StateBlocked, reason("frozen", "ATA security is frozen", "power-cycle the slot, then: expunge list")),
		{ID: id(105), Nodes: []string{"/dev/sde"}, State: devices.StateUnreadable, Reasons: reason("no_answer", "IDENTIFY was not answered within 10 s", "see dmesg")},
		drive(1, "/dev/sdf", "RUNNING1", "ST4000NM0035-1V4107", devices.StateInUse, reason("expunge", "this agent is at work on it", "")),
	}, NotReached: []devices.NotReached{{Name: "megaraid_sas at 0000:03:00.0", Where: "0000:03:00.0", Reason: devices.Reason{Code: "raid", Message: "its members are not shown", Hint: "set the controller to JBOD"}}}}
	tenMinutes := now.Add(-10 * time.Minute)
	s.jobs = []api.Job{
		{ID: "0123456789abcdef", Created: "2026-11-28T11:00:00Z", State: api.JobRunning, Drives: []api.JobDrive{
			atWork(1, "/dev/sdf", "RUNNING1", &sanitize.Reading{Stage: "pass 1/1", Done: 1_000_000_000_000, Total: 4_000_000_000_000, Since: tenMinutes, Before: 880_000_000_000, TemperatureC: number(41), LimitC: number(60)}),
			atWork(2, "/dev/sdg", "RUNNING2", &sanitize.Reading{Stage: "verify", Done: 399_999_999_999, Total: 400_000_000_000, Since: tenMinutes, Bad: 8192, TemperatureC: number(38)}),
			atWork(3, "/dev/nvme20n1", "RUNNING3", &sanitize.Reading{Stage: "block erase", Done: 30000, Total: 65536, Since: tenMinutes, ByDrive: true}),
			atWork(4, "/dev/sdh", "RUNNING4", &sanitize.Reading{Stage: "pass 2/3", Done: 5, Total: 4_000_000_000_000, Since: now.Add(time.Hour), Pace: "paused", TemperatureC: number(66), LimitC: number(60)}),
			atWork(5, "/dev/sdi", "RUNNING5", nil),
			ended(6, sanitize.Sanitized, "PURGED verified", nil),
		}},
		{ID: "fedcba9876543210", Created: "2026-11-27T09:00:00Z", State: api.JobInterrupted, Drives: []api.JobDrive{
			ended(11, sanitize.Failed, "FAILED - holds data", reason("write_error", "write LBA 4096+8: input/output error", "destroy the drive by other means: expunge destroy record")),
			ended(12, sanitize.Unproven, "UNPROVEN - holds data", reason("mismatch", "3 of 2000 blocks are as they were before", "")),
			ended(13, sanitize.Unknown, "UNKNOWN - treat as holding data", reason("no_status", "the drive's status was all zero", "")),
			ended(14, sanitize.Interrupted, "INTERRUPTED - holds data, resumable", reason("gone", "the drive was pulled", "put it back: expunge recover")),
			ended(15, sanitize.Interrupted, "POWER CYCLE NEEDED - holds data, resumable", reason(agent.ReasonPowerCycle, "it stays locked until its power is cycled", "take it out and put it back")),
			ended(16, sanitize.Exceptions, "CLEARED verified, but for 4096 bytes", reason("bad_blocks", "4096 bytes could not be written", "")),
			ended(17, sanitize.RefusedRun, "REFUSED - not touched", reason("mounted", "it is mounted", "")),
			ended(18, sanitize.Sanitized, "CLEARED status only", nil),
			ended(19, sanitize.Failed, "FAILED - holds data", reason("aborted", "the drive aborted the erase", "")),
		}},
		{ID: "1111111111111111", Created: "2026-11-27T10:00:00Z", State: api.JobEnded, Drives: []api.JobDrive{ended(19, sanitize.Sanitized, "PURGED verified", nil)}},
		{ID: "2222222222222222", State: api.JobUnreadable, Problem: "plan.json: unexpected end of JSON input", Drives: []api.JobDrive{}},
	}
	s.jobs[1].Drives[7].Certificate, s.jobs[1].Drives[7].Error = nil, "write certificate: no space left on device"
	for i, x := range []struct {
		n            int
		job, outcome string
	}{{6, "0123456789abcdef", "sanitized"}, {11, "fedcba9876543210", "failed"}, {16, "fedcba9876543210", "exceptions"}, {13, "fedcba9876543210", "unknown"}, {19, "1111111111111111", "invalid"}} {
		s.certificates = append(s.certificates, api.Certificate{Job: x.job, ID: id(x.n), Serial: fmt.Sprintf("ENDED%d", x.n), Model: "SAMSUNG MZQL2960HCJR-00A07", Outcome: x.outcome, File: "jobs/x/certificate.json",
			SHA256: strings.Repeat("0123456789abcdef", 4), Issued: fmt.Sprintf("2026-11-27T1%d:00:00Z", i)})
	}
	return s
}

// quiet is a host where all is well.
func quiet() *scripted {
	s := workshop()
	s.health = api.Health{Status: "ok", Version: "1.2.3", SafeToPowerOff: true, HotPlug: "kernel", Started: "2026-11-27T08:15:00Z"}
	s.drives.Items, s.drives.NotReached, s.jobs, s.certificates = s.drives.Items[:1], nil, s.jobs[2:3], nil
	return s
}

// station is a host of 200 drives, most at work.
func station() *scripted {
	s := quiet()
	s.health.Running, s.health.Drives, s.health.SafeToPowerOff = 1, 150, false
	s.drives.Items = nil
	job := api.Job{ID: "3333333333333333", Created: "2026-11-28T11:00:00Z", State: api.JobRunning}
	for i := range 200 {
		node := fmt.Sprintf("/dev/nvme%dn1", i)
		d := devices.Drive{ID: id(i), Nodes: []string{node}, Serial: fmt.Sprintf("S64FNE0R%06d", i), Model: "SAMSUNG MZQL2960HCJR-00A07", State: devices.StateReady, Geometry: devices.Geometry{SizeBytes: 960e9}}
		if i%50 == 49 {
			d.State, d.Reasons = devices.StateBlocked, []devices.Reason{{Code: "reserved", Message: "another host holds a reservation", Hint: "release it there"}}
		}
		s.drives.Items = append(s.drives.Items, d)
		if i < 150 {
			p := &sanitize.Reading{Stage: "pass 1/1", Done: int64(i) * 6e9, Total: 960e9, Since: now.Add(-10 * time.Minute), TemperatureC: number(int64(30 + i%30)), LimitC: number(70)}
			if i == 120 {
				p.Bad = 4096
			}
			job.Drives = append(job.Drives, api.JobDrive{ID: d.ID, Serial: d.Serial, Model: d.Model, Nodes: d.Nodes, Outcome: sanitize.Interrupted, Words: "RUNNING - holds data until it has ended",
				Reasons: []devices.Reason{{Code: agent.ReasonRunning}}, Progress: p})
		}
	}
	s.jobs = append(s.jobs, job)
	return s
}

// hostile is a rack whose drives say what no drive should, in words and characters of every kind.
func hostile() *scripted {
	s := workshop()
	s.health.Simulated = true
	for i, word := range hostileWords {
		d := &s.drives.Items[i%len(s.drives.Items)]
		d.Serial, d.Model, d.Nodes = word, word, []string{word}
		d.Reasons = []devices.Reason{{Code: word, Message: word, Hint: word}}
		for j := range s.jobs {
			for k := range s.jobs[j].Drives {
				x := &s.jobs[j].Drives[k]
				if k%len(hostileWords) == i {
					x.Serial, x.Model, x.Nodes, x.Words, x.Error = word, word, []string{word}, word, word
					x.Reasons = append([]devices.Reason{}, x.Reasons...)
					x.Reasons = append(x.Reasons, devices.Reason{Code: word, Message: word, Hint: word})
					if x.Progress != nil {
						p := *x.Progress
						p.Stage, p.Pace = word, word
						x.Progress = &p
					}
				}
			}
		}
		c := &s.certificates[i%len(s.certificates)]
		c.Serial, c.Model, c.Job, c.ID, c.SHA256, c.Issued, c.Outcome = word, word, word, devices.ID(word), word, word, word
	}
	word := hostileWords[0]
	s.health.Version, s.health.HotPlug, s.health.Started, s.health.Status = word, word, word, word
	s.health.PowerOff = []devices.Reason{{Code: word, Message: word, Hint: word}}
	s.health.Problems = s.health.PowerOff
	s.jobs[3].Problem = word
	s.drives.NotReached[0] = devices.NotReached{Name: word, Where: word, Reason: devices.Reason{Message: word, Hint: word}}
	return s
}

var hostileWords = []string{
	`<script>document.title="owned"</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, `</td></table><h1>PURGED verified</h1>`, `javascript:alert(1)//{{.}}`,
	"\u202eDEIFIREV DEGRUP\u202c\u200f\u2066", strings.Repeat("S", 10_000), "\x00\x1b[2J\xff\xfe\r\nZ\u0300\u0301", `../../v1/halt?x=1#y`, "שלום עולם serial ٣٤٥", `</style><style>*{display:none}`,
}

var errNoRead = api.NewProblem(api.ExitPermission, "forbidden", "", errors.New("uid:1000 may not read"))

func handlerOf(s *scripted) http.Handler {
	return (&Page{svc: s, now: func() time.Time { return now }, slot: func(d devices.Drive) string {
		if d.Serial == "FROZEN9" || d.Serial == "RUNNING1" {
			return "enclosure 0, slot " + fmt.Sprint(len(d.Nodes[0]))
		}
		return ""
	}}).begin()
}

func get(t *testing.T, s *scripted, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handlerOf(s).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	return w
}

// unreadable is an agent that answers nothing.
func unreadable() *scripted {
	s := workshop()
	s.errs = map[string]error{"health": errors.New("no answer within 10s"), "drives": errors.New("open /sys/block: permission denied"), "jobs": errors.New("open jobs: input/output error"), "certificates": nil}
	return s
}
