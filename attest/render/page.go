package render

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// page is what a page says, before anybody draws it: PDF and HTML say the same.
type page struct {
	site     Site
	band     string // across the head; "" for a certificate of a real drive
	title    string
	name     string // of the drive
	intro    string
	verdict  verdict
	drive    section
	given    section
	sections []section // what was done and what that proves
	areas    *areas
	check    section
	steps    []step
}

// verdict is the outcome in words for those who have never seen a certificate.
type verdict struct {
	grade grade
	words string
	plain []string // sentences
}

// grade says how a verdict looks. It is never told by colour alone.
type grade int

const (
	done grade = iota
	partly
	undone
	pretended // done, on a virtual drive
)

type section struct {
	title, note string
	rows        []row
}

// row is a fact with its name.
type row struct {
	label, value string
	style        style
}

type style int

const (
	plain  style = iota
	exact        // compared character by character
	strong       // what is looked for first
)

// add puts a fact in that is there.
func (s *section) add(label, value string) {
	if value != "" {
		s.rows = append(s.rows, row{label, value, plain})
	}
}

func (s *section) exact(label, value string) {
	if value != "" {
		s.rows = append(s.rows, row{label, value, exact})
	}
}

func (s *section) strong(label, value string) {
	if value != "" {
		s.rows = append(s.rows, row{label, value, strong})
	}
}

// step is one thing to do, with the command that does it, if one does.
type step struct{ text, command string }

// areas lists what was not sanitized, or not proven to be.
type areas struct {
	title string
	list  []attest.Exception
	block int64
	more  string
}

const simulatedBand = "SIMULATED - made on a virtual drive. It says nothing about any real drive."

// page words a certificate. where says how a reader gets at the certificate proper from this form.
func (f *Form) page(where string) *page {
	r := f.result()
	p := &page{site: f.site, title: title(r), name: nameOf(r.Device), verdict: verdictOf(r), drive: driveSection(r), given: givenSection(r.Given), areas: areasOf(r)}
	if against := f.report.Standing(); len(against) > 0 {
		p.title = "Record of a certificate that does not stand"
		before := p.verdict.words
		p.verdict = verdict{grade: undone, words: f.words()}
		for _, reason := range against {
			p.verdict.plain = append(p.verdict.plain, reason.Message+".")
		}
		p.verdict.plain = append(p.verdict.plain, "The result, as it was signed before, said: "+before+".", "Treat this drive as holding data.")
	}
	if r.Simulated {
		p.band = simulatedBand
		p.verdict.words = "SIMULATED: " + p.verdict.words
		if p.verdict.grade == done {
			p.verdict.grade = pretended
		}
	}
	p.intro = fmt.Sprintf("What was done to the data on one drive, as seen and signed by %s %s on %s (host clock).", r.Agent.Name, r.Agent.Version, moment(r.Time.Claimed))
	p.sections = []section{workSection(r), proofSection(r), limitSection(r)}
	if later := laterSection(f.report); len(later.rows) > 0 {
		p.sections = append(p.sections, later)
	}
	p.check, p.steps = f.checkSection(where)
	return p
}

// nameOf is by what people know a drive.
func nameOf(d attest.Device) string {
	if d.Serial == "" {
		return joined(" ", d.Model, d.WWN)
	}
	return joined(" ", d.Model, d.Serial)
}

// title must not promise more than the verdict.
func title(r attest.Result) string {
	switch r.Outcome.Status {
	case "sanitized":
		return "Certificate of data sanitization"
	case "exceptions":
		return "Certificate of data sanitization, with exceptions"
	case "refused":
		return "Record of a drive that was not sanitized"
	}
	return "Record of a sanitization that did not succeed"
}

func verdictOf(r attest.Result) verdict {
	v := verdict{grade: undone, words: attest.Words(r)}
	holds := "Treat this drive as holding data."
	switch r.Outcome.Status {
	case "sanitized", "exceptions":
		v.grade = done
		v.plain = append(achieved(r), readSentence(r))
		if r.Outcome.Status == "exceptions" {
			v.grade = partly
			v.plain = append(v.plain, "NOT all of it: areas of "+grouped(r.Outcome.ExceptionBytes)+" bytes, listed below, may still hold data.")
		}
		if r.Scope == "logical" {
			v.plain = append(v.plain, "This is about the storage that the host was shown, not about the physical device behind it.")
		}
		if r.Outcome.Status == "sanitized" {
			return v
		}
	case "unproven":
		v.plain = []string{"The drive reported that it was done; what was read back says otherwise.", holds}
	case "interrupted":
		v.plain = []string{"It was not finished.", holds}
	case "unknown":
		v.plain = []string{"It cannot be told what became of the data.", holds}
	case "refused":
		v.plain = []string{"Nothing was done to this drive: it holds whatever it held."}
	default:
		v.plain = []string{"The drive was not sanitized.", holds}
	}
	v.plain = append(v.plain, "Reason: "+r.Outcome.Reason+".")
	return v
}

// achieved says in plain words what the method means (NIST SP 800-88r2, 3.1).
func achieved(r attest.Result) []string {
	if r.Outcome.Method == "purge" {
		return []string{"Purged: by the policy below, recovering its data is infeasible even with state-of-the-art laboratory techniques."}
	}
	return []string{"Cleared: data in all places that a host can address can no longer be recovered by simple, non-invasive means.", "What the host could not address is not covered."}
}

func readSentence(r attest.Result) string {
	v := r.Verification
	switch v.Mode {
	case "status":
		return "Nothing was read back: this rests on what the drive reported."
	case "full":
		return "Verified by reading the drive back (" + percent(v.CoveragePPM) + " of it)."
	}
	return "Verified by reading samples back (" + percent(v.CoveragePPM) + " of the drive)."
}

func areasOf(r attest.Result) *areas {
	o := r.Outcome
	if len(o.Exceptions) == 0 {
		return nil
	}
	a := &areas{title: "Areas that may still hold data", list: o.Exceptions, block: r.Device.LogicalBlockBytes}
	a.more = fmt.Sprintf("%s in all", count(o.ExceptionBytes, "byte"))
	if o.ExceptionsOmitted > 0 {
		a.more += "; " + count(o.ExceptionsOmitted, "further area") + " not listed"
	}
	return a
}

// line is one area: where it is in blocks, and what was wrong.
func (a *areas) line(e attest.Exception) (where, what string) {
	block := max(1, a.block)
	first, last := e.Offset/block, (e.Offset+e.Length-1)/block
	if first == last {
		return "block " + grouped(first), e.Kind
	}
	return "blocks " + grouped(first) + " to " + grouped(last), e.Kind
}

// checkSection is how a stranger checks the certificate without us.
func (f *Form) checkSection(where string) (section, []step) {
	r := f.result()
	s := section{title: "How to check it, without us and without a network"}
	s.exact("Signing key", f.report.KeyID)
	s.exact("Log", f.report.LogOrigin)
	s.add("Log entries", fmt.Sprintf("intent %d, result %d of %d", r.History.IntentIndex, f.report.LogIndex, f.report.LogSize))
	s.exact("Job", r.History.Job)
	s.exact("SHA-256", f.digest)
	file, accept, answer := "certificate.json", "", "VALID"
	if where == pdfWhere {
		file = "FILE.pdf"
	}
	if r.Simulated {
		accept, answer = " --allow-simulated", "VALID (SIMULATED)"
	}
	if r.Outcome.Status != "sanitized" || f.standing() != "" {
		answer = strings.Replace(answer, "VALID", "AUTHENTIC, NOT SANITIZED", 1)
	}
	return s, []step{
		{"This page is a picture of the certificate; only the certificate itself proves anything. " + where, ""},
		{"Get the issuer's public key, whose id is below, from the issuer by another way than this file. Then, on any computer:",
			"expunge-verify --trust issuer.pub" + accept + " " + file},
		{"It must answer " + answer + ", and name this drive and this outcome. docs/certificate.md of the program (github.com/expunge-dev/expunge) says how to check it with openssl alone.", ""},
	}
}
