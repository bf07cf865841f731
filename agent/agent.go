package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/attest/keystore"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// Options say which host an agent serves and where it keeps its state.
type Options struct {
	Host     *devices.Host
	StateDir string
	Owner    Owner // with an empty ID: whatever the state says, or drawn now
	Version  string
	Log      hclog.Logger     // nil is silent
	Now      func() time.Time // nil is time.Now
	// Wait waits for what drives do by themselves; nil waits as long as it is told to.
	Wait func(ctx context.Context, d time.Duration) error
	// PIN gives the PIN or PSID that a drive's plan wants in a job, which only a person has. nil has none.
	PIN func(job string, d sanitize.DrivePlan) (string, error)
	// Unlock opens the signing key, where that is encrypted.
	Unlock keystore.Unlock
	// Decided is told what each rule of a policy came to, once for a drive whenever it is planned or looked at
	// again: pass, deny, require_approval, min_method or error. From several goroutines; nil is not told.
	Decided func(rule, decision string)
	// Certified is told the outcome of each certificate that was issued. From several goroutines; nil is not told.
	Certified func(outcome string)
}

// Agent serves one host or rack. Its methods may be called from several goroutines and several
// processes: a job is run by one of them at a time.
type Agent struct {
	host    *devices.Host
	dir     string
	owner   Owner
	version string
	log     hclog.Logger
	now     func() time.Time
	wait    func(ctx context.Context, d time.Duration) error
	pin     func(job string, d sanitize.DrivePlan) (string, error)
	budget  *overwrite.Budget // of all drives that are worked on at once
	decided func(rule, decision string)

	certified func(outcome string)

	keys      *keystore.Store
	attestRun func() *attest.Run // made when something is signed first
	holding   sync.Mutex
	held      *attest.Log // nil until it is needed
	counted   countedJobs

	testOnlyObserve func(journal.Record) // every record, after it is on disk
}

// Open opens the state directory, which is made on first use. The error is an *OwnerError when it
// belongs to another host or rack.
func Open(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	owner, err := claimState(o.StateDir, o.Owner)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		host: o.Host, dir: o.StateDir, owner: owner, version: o.Version,
		budget: overwrite.NewBudget(overwrite.DefaultBudget), wait: o.Wait, pin: o.PIN, decided: o.Decided, certified: o.Certified, log: o.Log.Named("agent"), now: func() time.Time { return o.Now().UTC().Round(0) },
	}
	a.keys = &keystore.Store{Dir: filepath.Join(a.dir, keysDir), Role: a.keyRole(), Unlock: o.Unlock}
	a.attestRun = sync.OnceValue(a.newRun)
	return a, nil
}

// Simulated says whether everything this agent does is on virtual drives.
func (a *Agent) Simulated() bool { return a.owner.Kind == "rack" }

// Plan decides, without touching anything, what would be done to the named drives. Every one is
// in the plan, planned or refused. The errors are *devices.SelectError, *sanitize.RequestError,
// or those of listing the drives.
func (a *Agent) Plan(ctx context.Context, names []string, request sanitize.Request) (sanitize.Plan, error) {
	request, err := request.Normal()
	if err != nil {
		return sanitize.Plan{}, err
	}
	policy, err := sanitize.PolicyFor(request)
	if err != nil {
		return sanitize.Plan{}, err
	}
	request.PolicyFile = nil // the plan has it in its reference
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return sanitize.Plan{}, err
	}
	selected, err := a.host.Select(listed, names)
	if err != nil {
		return sanitize.Plan{}, err
	}
	given, err := givenOf(request.Given, selected)
	if err != nil {
		return sanitize.Plan{}, err
	}
	request.Given = nil // each drive's plan has its own
	unfinished, err := a.unfinished()
	if err != nil {
		return sanitize.Plan{}, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	created := a.now().Truncate(time.Second)
	plan := sanitize.Plan{
		Schema: sanitize.PlanSchema, ID: hex.EncodeToString(id),
		Created: created, Expires: created.Add(sanitize.PlanLifetime),
		Agent: a.version, Host: a.owner.ID, Simulated: a.Simulated(),
		Policy: policy.Ref(), Request: request,
		Drives: []sanitize.DrivePlan{}, Refused: []sanitize.Refused{},
	}
	for _, d := range selected {
		planned, err := a.choose(ctx, d, request, policy, unfinished, len(selected))
		var refusal *sanitize.Refusal
		switch {
		case errors.As(err, &refusal):
			plan.Refused = append(plan.Refused, refused(d, refusal))
		case err != nil:
			return sanitize.Plan{}, err
		default:
			planned.Given = given[d.ID]
			plan.Drives = append(plan.Drives, planned)
		}
	}
	return plan, nil
}

// choose plans one drive of so many. It is opened, for reading, only when nothing else speaks against it.
func (a *Agent) choose(ctx context.Context, d devices.Drive, r sanitize.Request, p sanitize.Policy, unfinished map[devices.ID]string, drives int) (sanitize.DrivePlan, error) {
	if job := unfinished[d.ID]; job != "" {
		return sanitize.DrivePlan{}, a.unfinishedRefusal(job)
	}
	judged, err := a.judge(ctx, d, r, p, drives)
	if err != nil {
		return sanitize.DrivePlan{}, err
	}
	if _, err := sanitize.Choose(d, "", r, p, judged); err != nil {
		return sanitize.DrivePlan{}, err
	}
	inspected, table, err := a.inspect(ctx, d)
	if err != nil {
		return sanitize.DrivePlan{}, err
	}
	planned, err := sanitize.Choose(inspected, table, r, p, judged)
	if err == nil && a.volatile() && slices.ContainsFunc(planned.Operations, func(o sanitize.Operation) bool { return o.Kind == sanitize.ATASecurityErase }) {
		return planned, &sanitize.Refusal{Reasons: []devices.Reason{{Code: "state_volatile",
			Message: "the state is kept in memory: a drive would stay locked for ever if this host lost power in a security erase",
			Hint:    "choose a --state on a disk, or another technique"}}}
	}
	return planned, err
}

// judge judges the policy's rules for one drive of so many, and tells of it. The error is that ctx has ended.
func (a *Agent) judge(ctx context.Context, d devices.Drive, r sanitize.Request, p sanitize.Policy, drives int) (sanitize.Rulings, error) {
	judged := p.Judge(ctx, d, r, a.Situation(drives))
	if cause := context.Cause(ctx); cause != nil {
		return judged, cause
	}
	if a.decided != nil {
		for _, j := range judged.List() {
			a.decided(j.Rule.Name, string(j.Decision))
		}
	}
	return judged, nil
}

// Situation is what the rules of policies are told of this host, now, about a drive of so many.
func (a *Agent) Situation(drives int) sanitize.Situation {
	return sanitize.Situation{Host: a.owner.ID, Simulated: a.Simulated(), Drives: drives, Now: a.now()}
}

// volatile says whether what is kept in the state is lost with the host's power, and the drives are
// not.
func (a *Agent) volatile() bool { return !a.Simulated() && durable.Volatile(a.dir) }

// inspect opens a drive for reading. What it cannot tell speaks against the drive.
func (a *Agent) inspect(ctx context.Context, d devices.Drive) (devices.Drive, string, error) {
	inspected, table, err := a.host.Inspect(ctx, d)
	if err == nil {
		return inspected, table, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return d, "", cause
	}
	return d, "", openRefusal(d, err)
}

// unfinishedRefusal is of a drive that another job has begun with, and what can be done about that.
func (a *Agent) unfinishedRefusal(job string) *sanitize.Refusal {
	r := devices.Reason{
		Code: ReasonUnfinished, Message: fmt.Sprintf("job %s on this drive is not finished", job),
		Hint: fmt.Sprintf("run: expunge jobs resume %s; or give it up: expunge jobs abandon %s", job, job),
	}
	if attended, err := a.Attended(job); err == nil && attended {
		r.Message, r.Hint = fmt.Sprintf("job %s is at work on this drive", job), "run: expunge watch "+job
	}
	return &sanitize.Refusal{Reasons: []devices.Reason{r}}
}

// openRefusal words why a drive could not be opened.
func openRefusal(d devices.Drive, err error) *sanitize.Refusal {
	var inUse *devices.InUseError
	reason := devices.Reason{Code: "unreadable", Message: err.Error(), Hint: "list again; a drive that does not answer cannot be sanitized by a host"}
	switch {
	case errors.As(err, &inUse) && len(inUse.Reasons) > 0:
		return &sanitize.Refusal{Reasons: inUse.Reasons}
	case errors.As(err, &inUse):
		reason.Code, reason.Hint = "in_use", "find who holds it: expunge show "+d.Serial
	case errors.Is(err, devices.ErrPathsDiffer):
		reason.Code, reason.Hint = "paths_differ", "attach the drives that claim one identity one at a time, or leave one path to the drive"
	case errors.Is(err, devices.ErrChanged):
		reason.Code, reason.Hint = "changed", "list again and make a new plan"
	case errors.Is(err, devices.ErrGone), errors.Is(err, devices.ErrNotFound):
		reason.Code, reason.Hint = "gone", "attach the drive again"
	case isPermission(err):
		reason.Code, reason.Hint = "permission", "run as root"
	}
	return &sanitize.Refusal{Reasons: []devices.Reason{reason}}
}

func refused(d devices.Drive, r *sanitize.Refusal) sanitize.Refused {
	return sanitize.Refused{ID: d.ID, Serial: d.Serial, Model: d.Model, Nodes: d.Nodes, Cannot: r.Cannot, Reasons: r.Reasons}
}
