package service

import (
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// gapAction is the action of a record which says that the audit file lacks what was in it, and gapCode its code.
const (
	gapAction = "audit.gap"
	gapCode   = "audit_gap"
)

func markOf(j *journal.Journal) agent.AuditMark {
	head, n := j.Head()
	return agent.AuditMark{Records: n, SHA256: head}
}

// pinned says whether a journal with these records begins with what a mark is of.
func pinned(m agent.AuditMark, records []journal.Record, j *journal.Journal) bool {
	switch n := int64(len(records)); {
	case m.Records == 0:
		return true
	case m.Records < 0 || m.Records > n:
		return false
	case m.Records == n:
		head, _ := j.Head()
		return head == m.SHA256
	}
	return records[m.Records].Prev == m.SHA256
}

// mark is how far the file is; nil when there is none.
func (a *auditFile) mark() *agent.AuditMark {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.Records == 0 {
		return nil
	}
	m := a.last
	return &m
}

// intact says whether what was recorded is still there, under its name.
func (a *auditFile) intact() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.journal == nil {
		return a.reopen()
	}
	if err := a.journal.Intact(); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	return nil
}

// auditProblems says what is wrong with the audit file.
func (s *Service) auditProblems() []devices.Reason {
	var list []devices.Reason
	if s.audit != nil {
		if err := s.audit.intact(); err != nil {
			list = append(list, devices.Reason{Code: "audit", Message: err.Error(), Hint: "nothing is begun before it is back where it was, or the agent is started again; ask who has touched it"})
		}
	}
	if s.gap != "" {
		list = append(list, devices.Reason{Code: gapCode, Message: s.gap, Hint: "ask who has touched it; the file says so in a record, and this goes away when the agent is started again"})
	}
	return list
}

// accountFor compares the audit file with what the jobs of an agent say of it: each notes how far the file was when it began. Where the
// file has not that, records were taken away while no agent ran, or all of it was. That is told, and recorded, once: by when it was
// found, jobs that began before are accounted for.
func (s *Service) accountFor() error {
	a := s.audit
	records := a.found
	a.found = nil
	var told time.Time
	for _, r := range records {
		var x Action
		if err := r.Decode(&x); err == nil && x.Action == gapAction && r.Time.After(told) {
			told = r.Time
		}
	}
	jobs, err := s.Agent.JobNames()
	if err != nil {
		return err
	}
	lost, example := 0, ""
	for _, job := range jobs {
		by, err := s.Agent.StartedBy(job)
		if err != nil || by.Audit == nil || !by.At.After(told) || pinned(*by.Audit, records, a.journal) {
			continue
		}
		lost, example = lost+1, job
	}
	if lost == 0 {
		return nil
	}
	s.gap = fmt.Sprintf("the audit file has %d records, and lacks what was recorded when %d jobs began, such as %s: it was taken away, cut or replaced while no agent ran", len(records), lost, example)
	s.log.Error("records are missing", "why", s.gap)
	if err := a.append(Action{Who: "agent", Via: "local", Action: gapAction, Object: ActionsName, Decision: allowed, Code: gapCode, Detail: s.gap}); err != nil {
		s.log.Error("that could not be recorded", "err", err) // it is found again when the agent starts again
	}
	return nil
}
