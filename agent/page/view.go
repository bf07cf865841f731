package page

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// view is the page as its template says it. Grades are classes of the style: good, part, bad, none.
type view struct {
	AsOf    string
	Refresh int // in seconds; 0: it stays as it is
	Idle    bool

	Health    *api.Health // nil: HealthError says why
	Simulated bool
	Status    graded
	PowerOff  graded
	Started   string
	HotPlug   string
	Reasons   []devices.Reason // why not to power it off

	Trouble      []trouble
	MoreTrouble  int
	Needs        int // how many of both a later job has not made good
	Running      []running
	Drives       []drive
	Slots        bool // some drive has one
	NotReached   []devices.NotReached
	Certificates []certificate
	MoreCerts    int

	HealthError, DrivesError, JobsError, CertificatesError string
}

type graded struct{ Words, Grade string }

// drive is a row of the listing.
type drive struct {
	State               graded
	Serial, Model, Size string
	Slot, Node          string
	Reasons             []devices.Reason
	order               int
}

// certificate is a row of the certificates.
type certificate struct {
	Words         graded
	Serial, Model string
	Job, Issued   string
	SHA256, Link  string
}

func (p *Page) view(s state, still bool) view {
	now := p.now()
	v := view{AsOf: now.UTC().Format("2 Jan 2006, 15:04:05 UTC")}
	v.HealthError, v.DrivesError, v.JobsError, v.CertificatesError = why(s.health.err), why(s.drives.err), why(s.jobs.err), why(s.certificates.err)
	v.PowerOff = graded{"UNKNOWN - do not power off", "bad"}
	if s.health.err == nil {
		v.health(s.health.value)
	}
	slots := map[devices.ID]string{}
	if s.drives.err == nil {
		v.listing(s.drives.value, p.slot, slots)
	}
	if s.jobs.err == nil {
		v.jobs(s.jobs.value, now, slots)
	}
	if s.certificates.err == nil {
		v.certificates(s.certificates.value, s.jobs.value)
	}
	v.sort()
	if !still {
		v.Idle = len(v.Running) == 0 && v.JobsError == ""
		if v.Refresh = whileBusy; v.Idle {
			v.Refresh = whileIdle
		}
	}
	return v
}

// why is why a part could not be read, as the interface says it.
func why(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(api.ProblemOf(err).Detail, "unknown error")
}

func (v *view) health(h api.Health) {
	v.Health, v.Simulated, v.Started = &h, h.Simulated, moment(h.Started)
	how, why, _ := strings.Cut(h.HotPlug, ": ")
	switch devices.ChangeSource(how) {
	case "":
		v.HotPlug = "unknown"
	case devices.ChangesByKernel:
		v.HotPlug = "the kernel tells"
	case devices.ChangesByNames:
		v.HotPlug = "looked for every few seconds"
	case "not":
		v.HotPlug = "NOT noticed"
	default:
		v.HotPlug = how
	}
	if why != "" {
		v.HotPlug += ": " + why
	}
	v.Status = graded{"degraded", "bad"} // and whatever else nobody has a word for
	switch {
	case h.Halted || h.Status == "halted":
		v.Status = graded{"HALTED - nothing destructive is begun", "bad"}
	case h.Status == "ok" && len(h.Problems) == 0:
		v.Status = graded{"ok", "good"}
	case h.Status != "degraded" && h.Status != "ok":
		v.Status.Words = h.Status
	}
	v.PowerOff, v.Reasons = graded{"NO - do not power off", "bad"}, h.PowerOff
	// Reasons against it count, whatever stands beside them.
	if h.SafeToPowerOff && len(h.PowerOff) == 0 {
		v.PowerOff = graded{"yes", "good"}
	}
	for _, r := range h.Problems {
		v.Trouble = append(v.Trouble, trouble{What: "the agent", Words: graded{"PROBLEM", "bad"}, Reasons: []devices.Reason{r}, order: orderAgent})
	}
}

// states are the words of a drive's state, what needs somebody first. What nobody has a word for does.
var states = []struct {
	state devices.State
	graded
}{
	{devices.StateUnreadable, graded{"unreadable", "bad"}},
	{devices.StateBlocked, graded{"blocked", "part"}},
	{devices.StateInUse, graded{"in use", "none"}},
	{devices.StateSystem, graded{"system", "none"}},
	{devices.StateReady, graded{"ready", "good"}},
}

func (v *view) listing(d api.Drives, slot func(devices.Drive) string, slots map[devices.ID]string) {
	for _, x := range d.Items {
		row := drive{State: graded{cmp.Or(string(x.State), "unknown"), "bad"}, Serial: x.Serial, Model: x.Model, Size: "unknown", Slot: slot(x), Node: nodes(x.Nodes), Reasons: x.Reasons}
		if left := api.Left(x); left != "" {
			row.Reasons = append(slices.Clip(row.Reasons), devices.Reason{Message: left})
		}
		row.order = slices.IndexFunc(states, func(s struct {
			state devices.State
			graded
		}) bool {
			return s.state == x.State
		})
		if row.order >= 0 {
			row.State = states[row.order].graded
		}
		if x.SizeBytes > 0 {
			row.Size = size(x.SizeBytes)
		}
		v.Slots = v.Slots || row.Slot != ""
		if row.Slot != "" {
			slots[x.ID] = row.Slot
		}
		v.Drives = append(v.Drives, row)
	}
	v.NotReached = d.NotReached
}

// nodes are all nodes of a drive on one line, a few of them.
func nodes(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:3], " ") + " and " + count(len(list)-3, "other")
	}
	return strings.Join(list, " ")
}

// certificates lists them, the newest first. The words are the job's where both say the same; otherwise
// what was verified is said as it stands.
func (v *view) certificates(list []api.Certificate, jobs []api.Job) {
	type key struct {
		job string
		id  devices.ID
	}
	drives := map[key]api.JobDrive{}
	for _, j := range jobs {
		for _, d := range j.Drives {
			drives[key{j.ID, d.ID}] = d
		}
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b api.Certificate) int {
		return cmp.Or(strings.Compare(b.Issued, a.Issued), strings.Compare(a.Serial, b.Serial))
	})
	for i, c := range list {
		words := graded{cmp.Or(c.Outcome, "unknown"), gradeOf(c.Outcome)}
		if d, ok := drives[key{c.Job, c.ID}]; ok && string(d.Outcome) == c.Outcome && d.Words != "" {
			words.Words = d.Words
		}
		if c.Outcome == "invalid" || c.Outcome == "" {
			words = graded{"INVALID - proves nothing", "bad"}
			v.Trouble = append(v.Trouble, trouble{What: "its certificate", Serial: c.Serial, Model: c.Model, Job: c.Job, Words: words, order: orderCertificate,
				Reasons: []devices.Reason{{Message: "what the agent keeps as " + c.File + " is no certificate of this drive, or was changed", Hint: "keep the file, and see: expunge audit"}}})
		}
		if i < longestList {
			v.Certificates = append(v.Certificates, certificate{words, c.Serial, c.Model, c.Job, moment(c.Issued), c.SHA256, "/v1/certificates/" + url.PathEscape(c.Job) + "/" + url.PathEscape(string(c.ID))})
		}
	}
	v.MoreCerts = len(list) - len(v.Certificates)
}

// sort puts what needs somebody first, and then the nodes as people count them.
func (v *view) sort() {
	slices.SortStableFunc(v.Trouble, func(a, b trouble) int {
		return cmp.Or(cmp.Compare(a.order, b.order), natural(a.Node, b.Node), strings.Compare(a.Serial, b.Serial))
	})
	slices.SortStableFunc(v.Running, func(a, b running) int {
		return cmp.Or(cmp.Compare(a.order, b.order), natural(a.Node, b.Node), strings.Compare(a.Serial, b.Serial))
	})
	slices.SortStableFunc(v.Drives, func(a, b drive) int {
		return cmp.Or(cmp.Compare(a.order, b.order), natural(a.Slot, b.Slot), natural(a.Node, b.Node), strings.Compare(a.Serial, b.Serial))
	})
	for _, t := range v.Trouble {
		if t.Since == "" {
			v.Needs++
		}
	}
	if n := len(v.Trouble); n > longestList {
		v.Trouble, v.MoreTrouble = v.Trouble[:longestList], n-longestList
	}
}
