package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

type runResult struct {
	Job    string         `json:"job,omitempty"`
	Plan   string         `json:"plan_digest,omitempty"`
	Drives []api.JobDrive `json:"drives"`
	// Manifest accounts for every drive of the host; absent before the job's end.
	Manifest string `json:"manifest,omitempty"`
}

// operationText is the drive's own word, and what ties it to this job.
func operationText(o api.Operation) string {
	what := string(o.Technique)
	if o.Unit > 0 {
		what += fmt.Sprintf(" of unit %d", o.Unit)
	}
	if !o.Complete {
		return fmt.Sprintf("%s: not complete; the drive last said: %s", what, dash(o.Status))
	}
	return fmt.Sprintf("%s: the drive reports: %s, after %v; %s", what, o.Status, time.Duration(o.Seconds)*time.Second, o.Because)
}

func jobAnswer(j api.Job) answer {
	out := answer{
		result: runResult{j.ID, j.Plan, j.Drives, j.Manifest},
		text:   func(w io.Writer) error { return outcomesText(w, j.Drives) },
	}
	for _, d := range j.Drives {
		out.outcomes = append(out.outcomes, fmt.Sprintf("%s %s: %s", d.Model, d.Serial, d.Words))
	}
	return out
}

// outcomesText is the outcomes one after the other, in the order of the plan; those of many drives as
// tables.
func outcomesText(w io.Writer, list []api.JobDrive) error {
	if len(list) > many {
		return manyText(w, list)
	}
	for _, i := range list {
		if _, err := io.WriteString(w, driveText(i)); err != nil {
			return err
		}
	}
	return nil
}

func driveText(i api.JobDrive) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", i.Model, i.Serial, i.Words)
	for _, r := range i.Reasons {
		fmt.Fprintf(&b, "  %s\n", withHint(r))
	}
	if i.Error != "" && !slices.ContainsFunc(i.Reasons, func(r devices.Reason) bool {
		return r.Code == agent.ReasonNoRoom || strings.Contains(i.Error, r.Message)
	}) {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(i.Error, "\n", "\n  "))
	}
	for _, o := range i.Operations {
		fmt.Fprintf(&b, "  %s\n", operationText(o))
	}
	if m := i.Markers; m != nil && m.Changed+m.Unchanged+m.Unreadable > 0 {
		fmt.Fprintf(&b, "  markers: %d of %d gone, %d left, %d unreadable; %s\n", m.Changed, m.Set, m.Unchanged, m.Unreadable, verificationText(i.Verification))
	}
	for _, w := range i.Warnings {
		fmt.Fprintf(&b, "  note: %s\n", w)
	}
	switch v := i.Verification; {
	case i.Outcome == sanitize.Interrupted && (v == nil || readNothing(*v)):
		if so := soFar(i); so != "" {
			fmt.Fprintf(&b, "  %s\n", so)
		}
	case i.BytesWritten > 0:
		fmt.Fprintf(&b, "  %s written, %s\n", size(i.BytesWritten), verificationText(v))
	case v != nil && i.Markers == nil && v.Result != "none":
		fmt.Fprintf(&b, "  %s\n", verificationText(v))
	}
	for _, e := range i.Excludes {
		fmt.Fprintf(&b, "  not reached %s\n", e)
	}
	if i.Certificate != nil {
		fmt.Fprintf(&b, "  certificate %s\n", *i.Certificate)
	}
	return b.String()
}

// soFar is how far a drive is that has no end; empty where nothing of it is known.
func soFar(i api.JobDrive) string {
	switch r := i.Progress; {
	case r != nil && r.Stage != "" && r.ByDrive:
		return fmt.Sprintf("%s by the drive itself: %.1f %% so far", r.Stage, 100*float64(r.Done)/float64(max(1, r.Total)))
	case r != nil && r.Stage != "":
		return fmt.Sprintf("%s: %s of %s so far", r.Stage, size(r.Done), size(r.Total))
	case i.BytesWritten > 0:
		return size(i.BytesWritten) + " written so far"
	}
	return ""
}

// readNothing says whether no part of a drive was read back, or tried to be.
func readNothing(v api.Verification) bool {
	return v.Samples == 0 && v.Bytes == 0 && v.Mismatches == 0 && v.ReadErrors == 0 && v.Unwritten == 0
}

func verificationText(v *api.Verification) string {
	if v.Mode == sanitize.VerifyStatus || readNothing(*v) {
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

// jobProblem is the exit code of a job. What is wrong was printed with each drive.
func (a *app) jobProblem(j api.Job) error {
	codes := make([]int, len(j.Drives))
	var words []string
	for n, i := range j.Drives {
		codes[n] = i.ExitStatus
		if i.ExitStatus != exitOK {
			words = append(words, i.Serial+": "+i.Words)
		}
	}
	if j.ManifestError != "" {
		return &problem{code: exitInternal, name: "manifest", err: errors.New(j.ManifestError), hint: "remove the cause, then run: expunge certificate reissue SERIAL"}
	}
	code := api.Worst(codes)
	if code == exitOK {
		return nil
	}
	return &problem{code: code, name: "outcome", err: errors.New(strings.Join(words, "\n")), silent: a.json == ""}
}
