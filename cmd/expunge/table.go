package main

import (
	"fmt"
	"github.com/expunge-dev/expunge/agent/api"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/expunge-dev/expunge/sanitize"
)

// many is how many drives a person reads one after the other. More are shown as tables, with what needs
// somebody first.
const many = 8

// counted is how many there are of something.
func counted[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// shortened cuts a text so that tables keep their columns.
func shortened(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// firstNode is a drive's node, and how many more it has.
func firstNode(nodes string) string {
	list := strings.Fields(nodes)
	if len(list) > 1 {
		return fmt.Sprintf("%s +%d", list[0], len(list)-1)
	}
	return dash(nodes)
}

// planTable is one line for each drive of a plan, numbered.
func planTable(drives []sanitize.DrivePlan) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "#\tNODE\tSERIAL\tMODEL\tSIZE\tWILL BE")
	for i, d := range drives {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s by %s\n", i+1, firstNode(strings.Join(d.Nodes, " ")), dash(d.Serial), shortened(d.Model, 16), size(d.SizeBytes), d.Method, d.Technique.Word())
	}
	return flushed(t, &b)
}

// flushed is what a table writer wrote; a strings.Builder takes everything.
func flushed(t *tabwriter.Writer, b *strings.Builder) string {
	if err := t.Flush(); err != nil {
		return err.Error() + "\n"
	}
	return b.String()
}

// likeness is the drives of a plan to which the same will be done.
type likeness struct {
	text    string
	numbers []int // in the table, from 1
}

// alike puts drives with the same lines together, in the order of the plan.
func alike(drives []sanitize.DrivePlan) []likeness {
	var list []likeness
	for i, d := range drives {
		text := planLines(d)
		at := slices.IndexFunc(list, func(l likeness) bool { return l.text == text })
		if at < 0 {
			at, list = len(list), append(list, likeness{text: text})
		}
		list[at].numbers = append(list[at].numbers, i+1)
	}
	return list
}

// title names the drives by number, those that follow each other as a range.
func (l likeness) title() string {
	var parts []string
	for i := 0; i < len(l.numbers); {
		from := i
		for i++; i < len(l.numbers) && l.numbers[i] == l.numbers[i-1]+1; i++ {
		}
		part := fmt.Sprint(l.numbers[from])
		if i-from > 1 {
			part += fmt.Sprintf("-%d", l.numbers[i-1])
		}
		parts = append(parts, part)
	}
	word := "drives"
	if len(l.numbers) == 1 {
		word = "drive"
	}
	return word + " " + strings.Join(parts, ", ") + ":"
}

// urgency orders outcomes by what a person has to do about them; 0 is nothing.
func urgency(i api.JobDrive) int {
	switch {
	case i.ExitStatus == exitOK:
		return 0
	case i.ExitStatus == exitInternal:
		return 1 // done, perhaps, and not certified
	}
	order := []sanitize.Outcome{sanitize.Failed, sanitize.Unproven, sanitize.Unknown, sanitize.Exceptions, sanitize.RefusedRun, sanitize.Interrupted}
	if at := slices.Index(order, i.Outcome); at >= 0 {
		return 2 + at
	}
	return 2
}

// manyText is the outcomes of many drives: what needs somebody in full, then the others a line each in
// the order of their nodes, then how many of each there are and what that comes to.
func manyText(w io.Writer, list []api.JobDrive) error {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b api.JobDrive) int {
		if by := urgency(a) - urgency(b); by != 0 || urgency(a) > 0 {
			return by
		}
		return byNode(node(a), node(b))
	})
	good := slices.IndexFunc(sorted, func(i api.JobDrive) bool { return urgency(i) > 0 })
	if good < 0 {
		good = len(sorted)
	}
	var b strings.Builder
	for _, i := range sorted[good:] {
		b.WriteString(driveText(i))
	}
	if good > 0 {
		if good < len(sorted) {
			b.WriteString("\n")
		}
		b.WriteString(goodTable(sorted[:good]))
	}
	b.WriteString("\n" + tally(slices.Concat(sorted[good:], sorted[:good])))
	_, err := io.WriteString(w, b.String())
	return err
}

// byNode sorts sdb before sdaa.
func byNode(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func goodTable(list []api.JobDrive) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSERIAL\tMODEL\tSIZE\tTIME\tOUTCOME")
	for _, i := range list {
		outcome := i.Words
		switch n := len(i.Warnings); {
		case n == 1:
			outcome += ", 1 note"
		case n > 1:
			outcome += fmt.Sprintf(", %d notes", n)
		}
		took := time.Duration(i.Seconds * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\t%s\n", firstNode(node(i)), dash(i.Serial), shortened(i.Model, 16), size(i.SizeBytes), took, outcome)
	}
	return flushed(t, &b) + "certificates, with what was read back, what was not reached and all notes: expunge certificate show SERIAL\n"
}

// tally counts the outcomes, in the order in which they come, and says what they come to.
func tally(list []api.JobDrive) string {
	var order []string
	count := map[string]int{}
	codes := make([]int, len(list))
	for n, i := range list {
		if count[i.Words]++; count[i.Words] == 1 {
			order = append(order, i.Words)
		}
		codes[n] = i.ExitStatus
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", counted(len(list), "drive"))
	for _, words := range order {
		fmt.Fprintf(&b, "%5d  %s\n", count[words], words)
	}
	code := api.Worst(codes)
	fmt.Fprintf(&b, "exit status of the run: %d, %s\n", code, meaning(code))
	return b.String()
}

// meaning is what the table of exit codes says of one.
func meaning(code int) string {
	for line := range strings.Lines(exitTable) {
		if n, words, ok := strings.Cut(strings.TrimSpace(line), " "); ok && n == fmt.Sprint(code) {
			return strings.TrimSpace(words)
		}
	}
	return "failure"
}

// node is the nodes of a drive in one word.
func node(i api.JobDrive) string { return strings.Join(i.Nodes, " ") }
