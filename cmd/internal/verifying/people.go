package verifying

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/attest"
)

// table is for people: one line for each certificate, and the sum. A single certificate is told in
// full. The columns have fixed widths, so that lines are written as they come.
type table struct {
	out, errs io.Writer
	prog      string
	first     *told             // held until there is a second
	rows      int               // written
	trouble   []string          // rows to be shown again at the end of a long table
	troubled  int               // all of them
	hints     map[string]string // by the code of a reason
}

// What of a long table is shown again.
const (
	longTable  = 40
	maxTrouble = 20
)

func (t *table) item(i Item) error           { return t.next(told{item: &i}) }
func (t *table) notJudged(n NotJudged) error { return t.next(told{skip: &n}) }

func (t *table) next(n told) error {
	if t.rows == 0 && t.first == nil {
		t.first = &n
		return nil
	}
	return t.write(n)
}

func (t *table) write(n told) error {
	var lines []string
	if t.rows == 0 {
		lines = append(lines, row("RESULT", "SERIAL", "MODEL", "OUTCOME", "SIGNED", "FILE"))
		if held := t.first; held != nil {
			t.first = nil
			lines = append(lines, t.row(*held))
		}
	}
	lines = append(lines, t.row(n))
	_, err := io.WriteString(t.out, strings.Join(lines, ""))
	return err
}

// row is one line. A serial number is never cut; what comes before and after gives way.
func row(result, serial, model, outcome, time, file string) string {
	return fmt.Sprintf("%-14s  %-20s  %-16s  %-28s  %-20s  %s\n", result, dash(serial), shortened(dash(model), 16), dash(outcome), dash(time), file)
}

func (t *table) row(n told) string {
	t.rows++
	if n.skip != nil {
		return row("not judged", "", "", "", "", shown(n.skip.Path)+": "+n.skip.Reasons[0].Message)
	}
	i := *n.item
	outcome := ""
	if i.result != nil {
		outcome = attest.Words(*i.result)
	}
	if i.Record != "" {
		outcome = i.recordWords()
	}
	if i.Simulated {
		outcome += ", SIMULATED"
	}
	line := row(headline(i), i.Serial, i.Model, outcome, i.Time, i.label()+why(i))
	if i.Code != attest.CodeOK {
		t.troubled++
		if len(t.trouble) < maxTrouble {
			t.trouble = append(t.trouble, line)
		}
		for _, r := range i.told() {
			if _, known := t.hints[r.Code]; !known && r.Hint != "" {
				t.hints[r.Code] = r.Hint
			}
		}
	}
	return line
}

// why is what a line has room for: reasons by their codes where the line says the rest.
func why(i Item) string {
	if len(i.Reasons) == 0 {
		return ""
	}
	if i.result == nil && i.Record == "" {
		return ": " + shortened(shown(i.told()[0].Message), 100)
	}
	codes := make([]string, len(i.Reasons))
	for n, r := range i.Reasons {
		codes[n] = r.Code
	}
	return ": " + strings.Join(codes, ", ")
}

func headline(i Item) string {
	switch {
	case i.Kind != "":
		return "NO CERTIFICATE"
	case i.Code == attest.CodePolicy && !slices.ContainsFunc(i.Reasons, func(r attest.Reason) bool { return strings.HasPrefix(r.Code, "policy_") }):
		return "NOT ACCEPTED" // nobody named a policy: an unknown key, a simulation and the like
	}
	if i.Code == attest.CodeOK || i.Code == attest.CodeInvalid || i.Code == attest.CodePolicy || i.Code == attest.CodeOutcome {
		return strings.ToUpper(i.Verdict)
	}
	return "NOT READ"
}

func (t *table) end(e ending) error {
	var b strings.Builder
	switch held := t.first; {
	case held != nil && held.item != nil:
		b.WriteString(held.item.text())
		for _, r := range held.item.told() {
			fmt.Fprintf(t.errs, "%s: %s: %s\n", t.prog, held.item.label(), shown(r.Message))
			t.hint(r.Hint)
		}
	case held != nil:
		b.WriteString(row("RESULT", "SERIAL", "MODEL", "OUTCOME", "SIGNED", "FILE"))
		b.WriteString(t.row(*held))
	case t.rows > longTable && t.troubled > 0:
		fmt.Fprintf(&b, "\nNot valid, or not sanitized:\n%s", strings.Join(t.trouble, ""))
		if more := t.troubled - len(t.trouble); more > 0 {
			fmt.Fprintf(&b, "… and %d more\n", more)
		}
	}
	if t.rows > 0 || e.Summary.OtherFiles > 0 {
		b.WriteString("\n" + e.Summary.words())
	}
	if e.Against != nil {
		b.WriteString("\n" + e.Against.words())
	}
	_, err := io.WriteString(t.out, b.String())
	for _, r := range e.Errors {
		if r.Code == "unreadable" {
			continue // its line says it
		}
		fmt.Fprintf(t.errs, "%s: %s\n", t.prog, r.Message)
		t.hint(r.Hint)
	}
	for _, code := range slices.Sorted(maps.Keys(t.hints)) {
		fmt.Fprintf(t.errs, "%s: %s: %s\n", t.prog, code, t.hints[code])
	}
	return err
}

func (t *table) hint(hint string) {
	if hint != "" {
		fmt.Fprintf(t.errs, "%s:   %s\n", t.prog, hint)
	}
}

// counted is how many there are of something.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// words is the sum of a table. What is nought and bad is said, too.
func (s Summary) words() string {
	text := fmt.Sprintf("%s: %d sanitized, %d failed, %d refused, %d invalid", counted(s.Certificates, "certificate"), s.Sanitized, s.Failed-s.Unproven-s.Unknown-s.Interrupted-s.Overruled, s.Refused, s.Invalid)
	for _, more := range []struct {
		n    int
		what string
	}{{s.Unproven, "unproven"}, {s.Unknown, "unknown"}, {s.Interrupted, "interrupted"}, {s.Overruled, "rejected or withdrawn"}, {s.Exceptions, "sanitized with exceptions"}, {s.Policy, "authentic but not accepted"}, {s.Unreadable, "not read"}} {
		if more.n > 0 {
			text += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	text += "\n"
	if s.Records > 0 {
		text += counted(s.Records, "other record") + "\n"
	}
	if s.NotJudged > 0 {
		text += fmt.Sprintf("%s not judged: no certificates\n", counted(s.NotJudged, "file"))
	}
	if s.OtherFiles > 0 {
		text += fmt.Sprintf("%s not looked at: certificates are named *.json\n", counted(s.OtherFiles, "other file"))
	}
	return text
}

// label is the file, and the line where it has several.
func (i Item) label() string {
	if i.Line > 0 {
		return fmt.Sprintf("%s:%d", shown(i.Path), i.Line)
	}
	return shown(i.Path)
}

// shown is a name that others chose, so that it cannot steer a terminal or pass for another line.
func shown(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func shortened(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
