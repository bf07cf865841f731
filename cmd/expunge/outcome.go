package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

type runResult struct {
	Job    string      `json:"job,omitempty"`
	Plan   string      `json:"plan_digest,omitempty"`
	Drives []driveItem `json:"drives"`
	// Manifest accounts for every drive of the host; absent before the job's end.
	Manifest string `json:"manifest,omitempty"`
}

// driveItem is how one drive of a job stands.
type driveItem struct {
	ID           devices.ID         `json:"id"`
	Serial       string             `json:"serial"`
	Model        string             `json:"model"`
	Outcome      sanitize.Outcome   `json:"outcome"`
	Method       sanitize.Method    `json:"method,omitempty"` // achieved
	Technique    sanitize.Technique `json:"technique,omitempty"`
	BytesWritten int64              `json:"bytes_written"`
	Seconds      float64            `json:"seconds"`
	Verification *verificationItem  `json:"verification,omitempty"`
	Exceptions   int64              `json:"exception_bytes"`
	Attempts     int                `json:"attempts"`
	Operations   []operationItem    `json:"operations,omitempty"` // what the drive did by itself
	Markers      *markerItem        `json:"markers,omitempty"`
	Warnings     []string           `json:"warnings,omitempty"`
	Reasons      []devices.Reason   `json:"reasons"`
	Certificate  *string            `json:"certificate"` // null: none could be made, or not yet
	Error        string             `json:"error,omitempty"`
	code         int
	words        string
	node         string
	size         int64
	excludes     []string // what the technique left as it was
}

type operationItem struct {
	Technique sanitize.Technique `json:"technique"`
	Status    string             `json:"status"` // the drive's last word
	Because   string             `json:"because,omitempty"`
	Complete  bool               `json:"complete"`
	Unit      int                `json:"unit,omitempty"` // of the drive's logical units
	Seconds   int64              `json:"seconds"`
	Estimate  *int64             `json:"estimate_seconds,omitempty"`
}

// text is the drive's own word, and what ties it to this job.
func (o operationItem) text() string {
	what := string(o.Technique)
	if o.Unit > 0 {
		what += fmt.Sprintf(" of unit %d", o.Unit)
	}
	if !o.Complete {
		return fmt.Sprintf("%s: not complete; the drive last said: %s", what, dash(o.Status))
	}
	return fmt.Sprintf("%s: the drive reports: %s, after %v; %s", what, o.Status, time.Duration(o.Seconds)*time.Second, o.Because)
}

type markerItem struct {
	Set        int64 `json:"set"`
	Changed    int64 `json:"changed"`
	Unchanged  int64 `json:"unchanged"`
	Unreadable int64 `json:"unreadable"`
}

type verificationItem struct {
	Mode       sanitize.VerifyMode `json:"mode"`
	Result     string              `json:"result"`
	Samples    int64               `json:"samples"`
	Bytes      int64               `json:"bytes"`
	Mismatches int64               `json:"mismatches"`
	ReadErrors int64               `json:"read_errors"`
	Unwritten  int64               `json:"unwritten_blocks,omitempty"` // above write pointers of zones: not read
}

func itemOf(r agent.DriveResult) driveItem {
	item := driveItem{
		ID: r.Drive.ID, Serial: r.Drive.Serial, Model: r.Drive.Model, Outcome: r.Outcome, Technique: r.Drive.Technique,
		Seconds: r.Seconds(), Reasons: r.Reasons, code: driveCode(r), words: words(r),
		node: strings.Join(r.Drive.Nodes, " "), size: r.Drive.SizeBytes,
	}
	if item.Reasons == nil {
		item.Reasons = []devices.Reason{}
	}
	if r.Err != nil {
		item.Error = r.Err.Error()
	}
	if r.Certificate != "" {
		item.Certificate = &r.Certificate
	}
	if e := r.Evidence; e != nil {
		item.BytesWritten, item.Exceptions, item.Attempts = e.BytesWritten, e.ExceptionBytes, e.Attempts
		v := e.Verification
		item.Verification = &verificationItem{v.Mode, v.Result, v.Samples, v.Bytes, v.Mismatches, v.ReadErrors, v.Unwritten}
		item.Warnings = e.Warnings
		for _, o := range e.Operations {
			item.Operations = append(item.Operations, operationItem{o.Technique, o.Status, o.Because, o.Complete, o.Unit, o.ElapsedSeconds, o.EstimateSeconds})
		}
		if m := e.Markers; m != nil {
			item.Markers = &markerItem{m.Set, m.Changed, max(m.Unchanged, m.UnchangedEver), m.Unreadable}
		}
		if r.Outcome == sanitize.Sanitized || r.Outcome == sanitize.Exceptions {
			for _, x := range e.Drive.Excludes {
				item.excludes = append(item.excludes, x.Message)
			}
			item.Method = e.Drive.Method
		}
	}
	return item
}

// words are the outcome as people say it.
func words(r agent.DriveResult) string {
	how := "verified"
	if r.Drive.Verification == sanitize.VerifyStatus {
		how = "status only"
	}
	achieved := map[sanitize.Method]string{sanitize.Clear: "CLEARED", sanitize.Purge: "PURGED"}[r.Drive.Method]
	switch r.Outcome {
	case sanitize.Sanitized:
		return achieved + " " + how
	case sanitize.Exceptions:
		return fmt.Sprintf("%s %s, but for %d bytes", achieved, how, r.Evidence.ExceptionBytes)
	case sanitize.RefusedRun:
		return "REFUSED - not touched"
	case sanitize.Interrupted:
		if len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonPowerCycle {
			return "POWER CYCLE NEEDED - holds data, resumable"
		}
		if len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonRunning {
			return "RUNNING - holds data until it has ended"
		}
		return "INTERRUPTED - holds data, resumable"
	case sanitize.Unproven:
		return "UNPROVEN - holds data"
	case sanitize.Unknown:
		return "UNKNOWN - treat as holding data"
	}
	return "FAILED - holds data"
}

// items lists every drive of a job, also those that planning refused.
func items(j agent.Job) []driveItem {
	list := []driveItem{}
	for _, r := range j.Drives {
		list = append(list, itemOf(r))
	}
	for _, r := range j.Plan.Refused {
		list = append(list, driveItem{ID: r.ID, Serial: r.Serial, Model: r.Model, Outcome: sanitize.RefusedRun, Reasons: r.Reasons, code: refusedCode(r), words: "REFUSED - not touched",
			node: strings.Join(r.Nodes, " ")})
	}
	return list
}

func (a *app) runAnswer(j agent.Job) answer {
	list := items(j)
	return answer{
		result: runResult{j.ID, j.Plan.Digest(), list, j.Manifest},
		text:   func(w io.Writer) error { return outcomesText(w, list) },
	}
}

// outcomesText is the outcomes one after the other, in the order of the plan; those of many drives as
// tables.
func outcomesText(w io.Writer, list []driveItem) error {
	if len(list) > many {
		return manyText(w, list)
	}
	for _, i := range list {
		if _, err := io.WriteString(w, i.text()); err != nil {
			return err
		}
	}
	return nil
}

func (i driveItem) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", i.Model, i.Serial, i.words)
	for _, r := range i.Reasons {
		fmt.Fprintf(&b, "  %s\n", withHint(r))
	}
	if i.Error != "" && !slices.ContainsFunc(i.Reasons, func(r devices.Reason) bool { return strings.Contains(i.Error, r.Message) }) {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(i.Error, "\n", "\n  "))
	}
	for _, o := range i.Operations {
		fmt.Fprintf(&b, "  %s\n", o.text())
	}
	if m := i.Markers; m != nil && m.Changed+m.Unchanged+m.Unreadable > 0 {
		fmt.Fprintf(&b, "  markers: %d of %d gone, %d left, %d unreadable; %s\n", m.Changed, m.Set, m.Unchanged, m.Unreadable, i.Verification.text())
	}
	for _, w := range i.Warnings {
		fmt.Fprintf(&b, "  note: %s\n", w)
	}
	switch v := i.Verification; {
	case i.BytesWritten > 0:
		fmt.Fprintf(&b, "  %s written, %s\n", size(i.BytesWritten), v.text())
	case v != nil && i.Markers == nil && v.Result != "none":
		fmt.Fprintf(&b, "  %s\n", v.text())
	}
	for _, e := range i.excludes {
		fmt.Fprintf(&b, "  not reached %s\n", e)
	}
	if i.Certificate != nil {
		fmt.Fprintf(&b, "  certificate %s\n", *i.Certificate)
	}
	return b.String()
}

func (v *verificationItem) text() string {
	if v.Mode == sanitize.VerifyStatus {
		return "nothing read back"
	}
	where, blank := "whole", ""
	switch {
	case v.Samples != 1:
		where = fmt.Sprintf("in %d areas", v.Samples)
	case v.ReadErrors > 0 || v.Unwritten > 0 || v.Result == "incomplete":
		where = "in part"
	}
	if v.Unwritten > 0 {
		blank = fmt.Sprintf(", %d blocks above write pointers", v.Unwritten)
	}
	return fmt.Sprintf("%s read back %s (%s), %d mismatches, %d read errors%s", size(v.Bytes), where, v.Mode, v.Mismatches, v.ReadErrors, blank)
}

// runProblem is the exit code of a job. What is wrong was printed with each drive.
func (a *app) runProblem(j agent.Job) error {
	list := items(j)
	codes := make([]int, len(list))
	var words []string
	for n, i := range list {
		codes[n] = i.code
		if i.code != exitOK {
			words = append(words, i.Serial+": "+i.words)
		}
	}
	code := worst(codes)
	if j.ManifestErr != nil {
		return &problem{code: exitInternal, name: "manifest", err: j.ManifestErr, hint: "remove the cause, then run: expunge certificate reissue SERIAL"}
	}
	if code == exitOK {
		return nil
	}
	return &problem{code: code, name: "outcome", err: errors.New(strings.Join(words, "\n")), silent: a.json == ""}
}
