package verifying

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// text is the answer for a person: what it is worth first, then whose word it is, then what.
func (i Item) text() string {
	if i.Code == CodeIO || i.Code == CodeNotFound {
		return fmt.Sprintf("%s: not read, so nothing was judged\n", i.label())
	}
	if i.Record != "" {
		return i.recordText()
	}
	if i.result == nil && i.Code == attest.CodeInvalid {
		return fmt.Sprintf("%s: %s\n", i.label(), headline(i))
	}
	if i.result == nil {
		return i.summaryText()
	}
	r := i.result
	s := i.head()
	s += fmt.Sprintf("  drive     %s %s, %d bytes\n", r.Device.Model, r.Device.Serial, r.Device.SizeBytes)
	s += fmt.Sprintf("  outcome   %s\n", attest.Words(*r))
	s += fmt.Sprintf("  technique %s, policy %s, scope %s\n", r.Sanitization.Technique, r.Policy.Name, r.Scope)
	s += fmt.Sprintf("  read back %s\n", attest.ReadBack(r.Verification))
	for _, o := range r.Sanitization.Operations {
		s += fmt.Sprintf("  operation %s: %s\n", o.Technique, map[bool]string{true: "the drive reports: " + o.Status + "; " + o.Because, false: "not complete"}[o.Complete])
	}
	if m := r.Verification.Markers; m != nil && m.Changed+m.Unchanged+m.Unreadable > 0 {
		s += fmt.Sprintf("  markers   %d of %d gone, %d left, %d unreadable\n", m.Changed, m.Set, m.Unchanged, m.Unreadable)
	}
	for _, w := range r.Sanitization.Excludes {
		s += "  excludes  " + w + "\n"
	}
	for _, w := range r.Sanitization.RestsOn {
		s += "  rests on  " + w + "\n"
	}
	for _, w := range r.Sanitization.Warnings {
		s += "  note      " + w + "\n"
	}
	if r.Sanitization.Finished != "" {
		s += fmt.Sprintf("  when      %s to %s (host clock)\n", r.Sanitization.Started, r.Sanitization.Finished)
	}
	return s + i.laterText() + i.signedText()
}

// head is what it is worth.
func (i Item) head() string {
	words := map[int]string{attest.CodeOK: "VALID", attest.CodePolicy: headline(i), attest.CodeOutcome: "AUTHENTIC, NOT SANITIZED"}[i.Code]
	if i.Simulated {
		words += " (SIMULATED)"
	}
	return fmt.Sprintf("%s: %s\n", i.label(), words)
}

// signedText is whose word it is.
func (i Item) signedText() string {
	s := fmt.Sprintf("  signed by key %.16s…, %s; log entry %d of %d\n", i.Trust.KeyID, trustWords(i.Trust.Level), i.Trust.LogIndex, i.Trust.LogSize)
	if len(i.Cosigners) > 0 || i.NotChecked > 0 {
		s += fmt.Sprintf("  cosigned  by %s; %d cosignatures not checked\n", dash(strings.Join(i.Cosigners, ", ")), i.NotChecked)
	}
	return s
}

// summaryText tells of the code on a page.
func (i Item) summaryText() string {
	s := i.head()
	if i.Summary == nil {
		return s
	}
	s += fmt.Sprintf("  drive     %s %s\n  outcome   %s\n  by        %s\n  signed    %s (host clock), by the log %.28s…, %s\n", i.Model, i.Serial, i.Summary.Outcome, i.Summary.By, i.Time, i.Summary.Log, trustWords(i.Trust.Level))
	return s + fmt.Sprintf("  result    %s\n  this is the summary on a page, and not the certificate\n", i.Summary.Result)
}

func trustWords(level string) string {
	if level == "self" {
		return "this state's own key: it proves nothing to others"
	}
	return level
}
