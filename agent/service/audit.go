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

// The decisions.
const (
	allowed = "allowed"
	refused = "refused"
)

// auditFile is the open audit file. One process writes it.
type auditFile struct {
	name string
	now  func() time.Time

	mu      sync.Mutex // guards the rest
	journal *journal.Journal
	found   []journal.Record     // when it was opened, until they were looked at
	last    agent.AuditMark      // of what this process has recorded
	quiet   map[string]*repeated // refusals that were recorded lately, by who and what
}

// repeated is a refusal that comes again and again. Of a caller without rights not every try fills the disk.
type repeated struct {
	since time.Time
	more  int
}

const quietFor = time.Minute

// openAudit opens the audit file, or begins it.
func openAudit(name string, now func() time.Time) (*auditFile, error) {
	a := &auditFile{name: name, now: now, quiet: map[string]*repeated{}}
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

// append records an action durably. After a failure, as of a full disk, the file is opened anew.
func (a *auditFile) append(x Action) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.Decision == refused && x.Code == "forbidden" {
		key := strings.Join([]string{x.Who, x.Action, x.Code}, "\x00")
		if q := a.quiet[key]; q != nil && time.Since(q.since) < quietFor {
			q.more++
			return nil
		} else if q != nil {
			x.Repeated = q.more
		}
		if len(a.quiet) > 10_000 {
			clear(a.quiet)
		}
		a.quiet[key] = &repeated{since: time.Now()}
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
	return nil
}

// close records how often refusals came again, and closes the file.
func (a *auditFile) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.journal == nil {
		return nil
	}
	var err error
	for _, key := range slices.Sorted(maps.Keys(a.quiet)) {
		if q := a.quiet[key]; q.more > 0 && err == nil {
			words := strings.Split(key, "\x00")
			_, err = a.journal.Append("action", Action{Who: words[0], Action: words[1], Code: words[2], Decision: refused, Repeated: q.more})
		}
	}
	return errors.Join(err, a.journal.Close())
}

// note records what was decided. Of a process of one command there is no audit file.
func (s *Service) note(ctx context.Context, x Action) error {
	who := api.PrincipalOf(ctx)
	x.Who, x.Via = who.Name, who.Via
	if x.Decision != allowed {
		s.log.Warn("refused", "who", x.Who, "action", x.Action, "object", x.Object, "code", x.Code)
		if s.Told.Refused != nil {
			s.Told.Refused(x.Code)
		}
	} else {
		s.log.Info("allowed", "who", x.Who, "action", x.Action, "object", x.Object)
	}
	if s.Told.Audited != nil {
		s.Told.Audited(x.Action)
	}
	if s.audit == nil {
		return nil
	}
	return s.audit.append(x)
}

// refuse records a refusal and returns it. One that cannot be recorded is a refusal all the same.
func (s *Service) refuse(ctx context.Context, x Action, why error) error {
	p := api.ProblemOf(why)
	x.Decision, x.Code, x.Detail = refused, p.Code, bounded(p.Detail)
	if err := s.note(ctx, x); err != nil {
		s.log.Error("a refusal could not be recorded", "err", err)
	}
	return why
}

// allow records that something will be done. What cannot be recorded is not done.
func (s *Service) allow(ctx context.Context, x Action) error {
	x.Decision = allowed
	if err := s.note(ctx, x); err != nil {
		return api.NewProblem(api.ExitInternal, "audit", "nothing was touched: make room for the state, or look at its audit file", err)
	}
	return nil
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
	return s.refuse(ctx, Action{Action: action, Object: bounded(object)}, api.NewProblem(api.ExitPermission, "forbidden", "an administrator gives roles in the agent's configuration",
		fmt.Errorf("%s has not the role %q, which this needs", name, role)))
}

// Forbidden records that somebody was refused for want of a role before the service was asked, as by what serves it to others.
func (s *Service) Forbidden(who api.Principal, action, object string, p *api.Problem) {
	_ = s.refuse(api.WithPrincipal(context.Background(), who), Action{Action: action, Object: bounded(object)}, p)
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
