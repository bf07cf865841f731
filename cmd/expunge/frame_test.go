package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// following is the progress of so many drives, of which the first have begun and some of those ended.
func following(t *testing.T, drives, begun, failed, good int) (*progress, *bytes.Buffer) {
	t.Helper()
	var stderr bytes.Buffer
	p := &progress{app: &app{stderr: &stderr}, order: map[devices.ID]int{}, expected: map[devices.ID]sanitize.DrivePlan{}}
	o := p.observer()
	var list []sanitize.DrivePlan
	for n := range drives {
		list = append(list, sanitize.DrivePlan{ID: devices.ID(fmt.Sprint(n)), Serial: fmt.Sprintf("SERIAL%06d", n), Passes: make([]sanitize.Pass, 1), Verification: sanitize.VerifySampled})
	}
	o.Planned(list)
	for n := range begun {
		o.Begun(list[begun-1-n], &sanitize.Meter{})
	}
	for n := range failed + good {
		r := agent.DriveResult{Drive: list[n], Outcome: sanitize.Sanitized, Certificate: "certificate.json"}
		if n < failed {
			r.Outcome = sanitize.Failed
		}
		o.Ended(r)
	}
	return p, &stderr
}

// On a terminal the whole is told in one line, failures stay in sight, and nothing is drawn that does
// not fit. What is left out is counted.
func TestFrameFitsTheTerminal(t *testing.T) {
	for _, c := range []struct {
		name                              string
		drives, begun, failed, good, rows int
		lines                             int
		first, second, last               string
		troubles, atWork                  int
	}{
		{"one drive", 1, 1, 0, 0, 23, 1, "SERIAL000000: starting", "", "", 0, 1},
		{"some", 4, 4, 1, 1, 23, 4, "1 of 4 done, 1 ended otherwise, 2 at work", "SERIAL000000: FAILED - holds data", "SERIAL000003: starting", 1, 2},
		{"sixty", 60, 60, 0, 0, 23, 23, "0 of 60 done, 60 at work", "SERIAL000000: starting", "… and 39 more at work", 0, 21},
		{"sixty, few begun", 60, 10, 2, 3, 23, 8, "3 of 60 done, 2 ended otherwise, 5 at work, 50 to begin", "SERIAL000000: FAILED", "SERIAL000009: starting", 2, 5},
		{"all fail", 60, 60, 40, 0, 23, 23, "0 of 60 done, 40 ended otherwise, 20 at work", "SERIAL000000: FAILED", "… and 6 more at work", 6, 14},
		{"a terminal of three rows", 60, 60, 40, 0, 2, 2, "0 of 60 done", "… and 40 more that ended otherwise", "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := following(t, c.drives, c.begun, c.failed, c.good)
			lines := p.frame(time.Now(), c.rows, 0, true)
			text := strings.Join(lines, "\n")
			if len(lines) != c.lines || !strings.Contains(lines[0], c.first) || c.second != "" && !strings.HasPrefix(lines[1], c.second) || !strings.HasPrefix(lines[len(lines)-1], c.last) {
				t.Errorf("%d lines:\n%s", len(lines), text)
			}
			count := func(what string) int {
				return len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, what) }))
			}
			if count("FAILED") > 0 != (c.troubles > 0) || count("starting") != c.atWork {
				t.Errorf("%d failures and %d at work in:\n%s", count("FAILED"), count("starting"), text)
			}
		})
	}
}

// Without a terminal failures are told at once, the others together, and of many drives not each.
func TestManyAreToldByEvent(t *testing.T) {
	p, stderr := following(t, 60, 60, 2, 7)
	if got := stderr.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "SERIAL000001: FAILED - holds data (0 of 60 done, 2 ended otherwise)") {
		t.Errorf("%q", got)
	}
	stderr.Reset()
	p.tellEnds()
	p.tellEnds()
	if got, want := stderr.String(), "expunge: SERIAL000002, SERIAL000003, SERIAL000004 and 4 more: done (7 of 60 done, 2 ended otherwise)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	stderr.Reset()
	if p.tell(false); strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "51 at work") {
		t.Errorf("%q", stderr)
	}
	p, stderr = following(t, 4, 4, 1, 1)
	if p.tellEnds(); stderr.Len() > 0 {
		t.Errorf("a few drives: %q", stderr)
	}
}

// The share of a drive grows from 0 to 1 through all that is done to it.
func TestShareGrowsThroughAllStages(t *testing.T) {
	overwrite := sanitize.DrivePlan{Passes: make([]sanitize.Pass, 3), Verification: sanitize.VerifyFull}
	erase := sanitize.DrivePlan{Operations: []sanitize.Operation{{Technique: sanitize.CryptographicErase}, {Technique: sanitize.BlockErase}}, Verification: sanitize.VerifySampled}
	for _, c := range []struct {
		name   string
		drive  sanitize.DrivePlan
		stages []string
	}{
		{"overwrite", overwrite, []string{"pass 1/3", "pass 2/3", "pass 3/3", "verify"}},
		{"erase", erase, []string{string(sanitize.CryptographicErase), string(sanitize.BlockErase), "verify"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, last := &metered{drive: c.drive}, 0.0
			for _, stage := range c.stages {
				for done := range int64(4) {
					share := m.share(sanitize.Reading{Stage: stage, Done: done, Total: 4})
					if share < last || done > 0 && share == last {
						t.Errorf("%s at %d of 4: %v after %v", stage, done, share, last)
					}
					last = share
				}
			}
			if end := m.share(sanitize.Reading{Stage: "verify", Done: 4, Total: 4}); end < 0.999 || end > 1.001 || last >= end {
				t.Errorf("%v at the end, %v before", end, last)
			}
		})
	}
	if m := (&metered{drive: overwrite}); m.share(sanitize.Reading{Stage: "something else"}) != 0 {
		t.Error("a stage that is not known has a share")
	}
}

// A list of names is read as a person wrote it, and nothing else is.
func TestNamesOfAList(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"plain", "A\nB\n", []string{"A", "B"}}, {"no line end, CRLF, blanks", "\r\n  A \r\n\n\tB", []string{"A", "B"}},
		{"comments", "# all\nA # first\nB\t# second\nC#D\n#E\n", []string{"A", "B", "C#D"}},
		{"nothing", "", nil}, {"only comments", "# A\n  # B\n", nil}, {"binary", "A\x00B\n", nil}, {"endless", strings.Repeat("A\n", maxNames), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := (&app{stdin: strings.NewReader(c.text)}).named([]string{"FIRST"}, "-")
			if c.want == nil {
				if err == nil || problemOf(err).code != exitUsage {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if want := append([]string{"FIRST"}, c.want...); err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, want %q, %v", got, want, err)
			}
		})
	}
}

// What matters stands in a terminal of 80 columns, and as much of it as there is room for in a narrower one: the drive, how far it is,
// what is bad and how long it takes.
func TestLinesFitTheirColumns(t *testing.T) {
	warm, limit := int64(71), int64(70)
	r := sanitize.Reading{Stage: "pass 2/3", Done: 1234e9, Total: 18000e9, Bad: 4096, Pace: "slowed", TemperatureC: &warm, LimitC: &limit}
	own := sanitize.Reading{Stage: string(sanitize.CryptoThenBlock), Done: 1, Total: 4, ByDrive: true}
	m := &metered{drive: sanitize.DrivePlan{Serial: "WD-WCC4N0123456789AB"}, rate: 212e6, last: r}
	for _, c := range []struct {
		name    string
		r       sanitize.Reading
		short   bool
		columns int
		want    []string
	}{
		{"80", r, false, 70, []string{m.drive.Serial, "6.9 %", "left", "4.1 kB BAD", "slowed: too warm"}},
		{"80 among many", r, true, 70, []string{m.drive.Serial, "6.9 %", "left", "4.1 kB BAD", "slowed: too warm"}},
		{"60", r, false, 50, []string{m.drive.Serial, "6.9 %", "4.1 kB BAD"}},
		{"40", r, false, 30, []string{m.drive.Serial, "6.9 %"}},
		{"by the drive, 80", own, false, 70, []string{m.drive.Serial, "25.0 %"}},
		{"by the drive, 60", own, false, 50, []string{m.drive.Serial, "25.0 %"}},
		{"without a bound", r, false, 0, []string{"pass 2/3", "1.2 TB of 18.0 TB", "212 MB/s", "its limit is 70"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := m.line(c.r, 17, c.short, false, c.columns)
			if n := len([]rune(line)); c.columns > 0 && n > c.columns {
				t.Errorf("%d columns: %q", n, line)
			}
			for _, want := range c.want {
				if !strings.Contains(line, want) {
					t.Errorf("%q has no %q", line, want)
				}
			}
		})
	}
	p, _ := following(t, 60, 60, 2, 7)
	if line := p.frame(time.Now(), 23, 40, true)[0]; len([]rune(line)) > 40 || !strings.Contains(line, "7 of 60 done, 2 ended otherwise") {
		t.Errorf("%q", line)
	}
}

// An agent tells how far a drive is each second, and a terminal is drawn more often: what it shows in between is the speed, which is
// that of the drive. A drive that stands still is told of, too, and loses speed.
func TestSpeedStaysBetweenTidings(t *testing.T) {
	begun := time.Now()
	g := &told{}
	m := &metered{meter: g}
	tell := func(second, done int64) {
		g.at.Store(begun.Add(time.Duration(second) * time.Second).UnixNano())
		g.last.Store(&sanitize.Reading{Stage: "pass 1/1", Done: done, Total: 1e12, Since: begun})
	}
	for second := range int64(20) {
		tell(second+1, 100e6*(second+1))
		for quarter := range int64(4) {
			m.read(begun.Add(time.Duration(second+1)*time.Second + time.Duration(quarter)*250*time.Millisecond))
			if m.rate < 99e6 || m.rate > 101e6 {
				t.Fatalf("second %d, quarter %d: %.0f bytes a second", second, quarter, m.rate)
			}
		}
	}
	for second := range int64(20) {
		tell(21+second, 2000e6)
		m.read(begun.Add(time.Duration(21+second) * time.Second))
	}
	if m.rate > 1e6 {
		t.Errorf("a drive that stands still goes at %.0f bytes a second", m.rate)
	}
}
