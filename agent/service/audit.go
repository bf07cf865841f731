package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// ActionsName is the audit file, in the state directory: a journal (sanitize/journal), each record chained to the one before.
const ActionsName = "actions"

// Action is a record of the audit file: who wanted what, and what was decided.
type Action struct {
	Who        string `json:"who"`
	Via        string `json:"via"`
	Action     string `json:"action"`           // "jobs.start"
	Object     string `json:"object,omitempty"` // a plan, a job, a drive
	PlanDigest string `json:"plan_digest,omitempty"`
	Decision   string `json:"decision"` // allowed, refused
	Code       string `json:"code,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Repeated   int    `json:"repeated,omitempty"` // as many times more since the record before of the same
}

// log tells of an action in the agent's log, as it is recorded: what is only counted fills no log either.
func (x Action) log(to hclog.Logger) {
	if x.Decision == allowed {
		to.Info("allowed", "who", x.Who, "action", x.Action, "object", x.Object)
		return
	}
	to.Warn("refused", "who", x.Who, "action", x.Action, "object", x.Object, "code", x.Code, "repeated", x.Repeated)
}

// The decisions.
const (
	allowed = "allowed"
	refused = "refused"
)

// auditFile is the open audit file. One process writes it.
type auditFile struct {
	name     string
	now      func() time.Time
	log      hclog.Logger
	quietFor time.Duration

	mu        sync.Mutex // guards the rest
	journal   *journal.Journal
	found     []journal.Record     // when it was opened, until they were looked at
	last      agent.AuditMark      // of what this process has recorded
	quiet     map[string]*repeated // refusals that were recorded lately, by who, what and why
	strangers map[string]bool      // kinds of refusals of people without roles that were recorded, by who, what and why
	tick      *time.Timer          // when the counts of quiet are recorded; nil when there are none
	closed    bool
}

// repeated is a refusal that comes again and again. Of somebody who is refused not every try fills the disk.
type repeated struct {
	of    Action // what those that are counted have in common
	since time.Time
	more  int            // since it was recorded last
	tried map[string]int // of these, how many of each action and code
}

const (
	// quietFor is how long further refusals of the same are only counted. Then their number is recorded: when the process is killed,
	// the numbers of at most that time are lost.
	quietFor = time.Minute
	// quietMost is how many different ones are told apart in that time. What is beyond is counted together, by what and why.
	quietMost = 1000
	others    = "others"
	// several stands for actions, or codes, that are counted together and are not the same.
	several = "several"
	// triedMost is how many different ones are named then.
	triedMost = 40
)

// openAudit opens the audit file, or begins it.
func openAudit(name string, now func() time.Time, log hclog.Logger) (*auditFile, error) {
	a := &auditFile{name: name, now: now, log: log, quietFor: quietFor, quiet: map[string]*repeated{}, strangers: map[string]bool{}}
	err := a.reopen()
	if errors.Is(err, fs.ErrNotExist) {
		if a.journal, err = journal.Create(a.name, a.now); err != nil {
			err = fmt.Errorf("audit file: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	a.last = markOf(a.journal)
	return a, nil
}

// reopen opens the journal, whose torn tail is cut. A broken chain is an error: somebody changed what is recorded. So is one that has
// not what this process has recorded.
func (a *auditFile) reopen() error {
	j, records, err := journal.Open(a.name, a.now)
	if err == nil && !pinned(a.last, records, j) {
		err = errors.Join(errors.New("it has not what was recorded: it was cut, or another is in its place"), j.Close())
	}
	if err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	a.journal, a.found = j, records
	return nil
}

// append records an action durably.
func (a *auditFile) append(x Action) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.write(x)
}

// count records a refusal durably, unless the same was recorded lately: then it is counted.
func (a *auditFile) count(x Action) error { return a.countBy(quietKey(x), x) }

// countStranger is count of somebody without roles: what they try for the first time is recorded, and whatever comes again is counted
// together.
func (a *auditFile) countStranger(x Action) error {
	if recorded, err := a.first(x); recorded || err != nil {
		return err
	}
	return a.countBy(strangerKey(x), x)
}

// first records a refusal of a kind that this process has not recorded yet of that stranger, as long as there are not too many kinds.
func (a *auditFile) first(x Action) (recorded bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := quietKey(x)
	if a.strangers[key] || len(a.strangers) >= quietMost {
		return false, nil
	}
	if err := a.write(x); err != nil {
		return false, err
	}
	a.strangers[key] = true
	if all := strangerKey(x); a.quiet[all] == nil && len(a.quiet) < quietMost {
		a.hush(all, x)
	}
	return true, nil
}

func strangerKey(x Action) string { return strings.Join([]string{x.Who, x.Via}, "\x00") }

// hush has what is recorded now counted from now on, with mu held.
func (a *auditFile) hush(key string, x Action) {
	a.quiet[key] = &repeated{of: x.kind(), since: time.Now()}
	if a.tick == nil && !a.closed {
		a.tick = time.AfterFunc(a.quietFor, a.due)
	}
}

func (a *auditFile) countBy(key string, x Action) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.quiet[key]
	if q == nil && len(a.quiet) >= quietMost {
		x = Action{Who: others, Action: x.Action, Decision: x.Decision, Code: x.Code}
		key = quietKey(x)
		q = a.quiet[key]
	}
	if q != nil {
		q.add(x)
		return nil
	}
	if err := a.write(x); err != nil {
		return err // nothing of it is on disk: the next one is the first
	}
	a.hush(key, x)
	return nil
}

// kind is what an action has in common with others of its kind.
func (x Action) kind() Action {
	return Action{Who: x.Who, Via: x.Via, Action: x.Action, Decision: x.Decision, Code: x.Code}
}

// add counts one more.
func (q *repeated) add(x Action) {
	if what := x.Action + " " + x.Code; q.tried[what] > 0 || len(q.tried) < triedMost {
		if q.tried == nil {
			q.tried = map[string]int{}
		}
		q.tried[what]++
	}
	if q.more++; q.more == 1 {
		q.of = x.kind()
		return
	}
	if q.of.Action != x.Action {
		q.of.Action = several
	}
	if q.of.Code != x.Code {
		q.of.Code = several
	}
}

// list is what was tried: "jobs.start forbidden 2, plans.make forbidden 1".
func (q *repeated) list() string {
	all := make([]string, 0, len(q.tried))
	for _, what := range slices.Sorted(maps.Keys(q.tried)) {
		all = append(all, fmt.Sprintf("%s %d", what, q.tried[what]))
	}
	return strings.Join(all, ", ")
}

// counting is how the refusals of somebody are counted.
func counting(who api.Principal) func(*auditFile, Action) error {
	if len(who.Roles) == 0 {
		return (*auditFile).countStranger
	}
	return (*auditFile).count
}

func quietKey(x Action) string { return strings.Join([]string{x.Who, x.Via, x.Action, x.Code}, "\x00") }

// due records the counts whose time is over, and comes again as long as there are any.
func (a *auditFile) due() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	if err := a.settle(func(q *repeated) bool { return time.Since(q.since) >= a.quietFor }); err != nil {
		a.log.Error("how often refusals came again could not be recorded", "err", err)
	}
	a.tick = nil
	if len(a.quiet) > 0 {
		next := a.quietFor
		for _, q := range a.quiet {
			next = min(next, a.quietFor-time.Since(q.since))
		}
		a.tick = time.AfterFunc(max(next, a.quietFor/10), a.due)
	}
}

// settle records the counts of those that are over, with mu held. One that came again stays quiet: it has a record of now. What
// cannot be recorded is still counted.
func (a *auditFile) settle(over func(*repeated) bool) error {
	for _, key := range slices.Sorted(maps.Keys(a.quiet)) {
		q := a.quiet[key]
		switch {
		case !over(q):
		case q.more == 0:
			delete(a.quiet, key)
		default:
			x := q.of
			x.Repeated = q.more
			if x.Action == several || x.Code == several {
				x.Detail = q.list()
			}
			if err := a.write(x); err != nil {
				return err
			}
			q.more, q.tried, q.since = 0, nil, time.Now()
		}
	}
	return nil
}

// write appends to the journal, with mu held. After a failure, as of a full disk, the file is opened anew.
func (a *auditFile) write(x Action) error {
	if x.Decision != allowed {
		x.log(a.log) // it is refused, recorded or not
	}
	if a.closed {
		return fmt.Errorf("audit file: %w", fs.ErrClosed)
	}
	if a.journal == nil {
		if err := a.reopen(); err != nil {
			return err
		}
	}
	if err := a.journal.Intact(); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	if _, err := a.journal.Append("action", x); err != nil {
		err = errors.Join(fmt.Errorf("audit file: %w", err), a.journal.Close())
		a.journal = nil
		return err
	}
	a.last = markOf(a.journal)
	if x.Decision == allowed {
		x.log(a.log)
	}
	return nil
}

// close records how often refusals came again, and closes the file.
func (a *auditFile) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	err := a.settle(func(*repeated) bool { return true })
	if a.tick != nil {
		a.tick.Stop()
	}
	a.closed = true
	if a.journal != nil {
		err = errors.Join(err, a.journal.Close())
		a.journal = nil
	}
	return err
}

// note records what was decided, by one of auditFile's ways. Of a process of one command there is no audit file.
func (s *Service) note(ctx context.Context, x Action, record func(*auditFile, Action) error) error {
	who := api.PrincipalOf(ctx)
	x.Who, x.Via = who.Name, who.Via
	if s.Told.Audited != nil {
		s.Told.Audited(x.Action)
	}
	if s.audit == nil {
		x.log(s.log)
		return nil
	}
	return record(s.audit, x)
}

// refuse records a refusal and returns it. One that cannot be recorded is a refusal all the same.
func (s *Service) refuse(ctx context.Context, x Action, why error) error {
	p := api.ProblemOf(why)
	x.Detail = bounded(p.Detail)
	s.refused(ctx, x, p.Code, (*auditFile).append)
	return why
}

func (s *Service) refused(ctx context.Context, x Action, code string, record func(*auditFile, Action) error) {
	x.Decision, x.Code = refused, code
	if err := s.note(ctx, x, record); err != nil {
		s.log.Error("a refusal could not be recorded", "err", err)
	}
}

// allow records that something will be done. What cannot be recorded is not done, nor is anything while the state is another.
func (s *Service) allow(ctx context.Context, x Action) error {
	if err := s.StateStands(); err != nil {
		return stateProblem(err)
	}
	if err := s.record(ctx, x); err != nil {
		return s.unrecorded(ctx, x, err)
	}
	return nil
}

// record is allow for what is done also when it cannot be recorded.
func (s *Service) record(ctx context.Context, x Action) error {
	x.Decision = allowed
	return s.note(ctx, x, (*auditFile).append)
}

// unrecorded refuses what could not be recorded: only the log tells of that.
func (s *Service) unrecorded(ctx context.Context, x Action, err error) error {
	who := api.PrincipalOf(ctx)
	x.Who, x.Via, x.Decision, x.Code = who.Name, who.Via, refused, api.CodeAudit
	x.log(s.log)
	return api.NewProblem(api.ExitInternal, api.CodeAudit, "nothing was touched: make room for the state, or look at its audit file", err)
}

// may checks a role. Who only reads is recorded when refused.
func (s *Service) may(ctx context.Context, role api.Role, action, object string) error {
	who := api.PrincipalOf(ctx)
	if who.May(role) {
		return nil
	}
	name := who.Name
	if name == "" {
		name = "nobody known"
	}
	p := api.NewProblem(api.ExitPermission, "forbidden", "an administrator gives roles in the agent's configuration", fmt.Errorf("%s has not the role %q, which this needs", name, role))
	s.refused(ctx, Action{Action: action, Object: bounded(object), Detail: bounded(p.Detail)}, p.Code, counting(who))
	return p
}

// Refused records that somebody was refused before the service was asked, as by what serves it to others: for want of a role, or of
// what makes a request. The first of a minute is recorded, and of further ones their number; of somebody without roles the first of all.
func (s *Service) Refused(who api.Principal, action, object string, p *api.Problem) {
	x := Action{Action: action, Object: bounded(object)}
	// Where a request is wrong is told by the names that it has, and these can be anything: a PIN in the wrong place.
	if len(p.Errors) == 0 {
		x.Detail = bounded(p.Detail)
	}
	s.refused(api.WithPrincipal(context.Background(), who), x, p.Code, counting(who))
}

// bounded is text from outside, short enough for a record.
func bounded(s string) string {
	const most = 500
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
