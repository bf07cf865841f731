package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// screen is what a terminal shows of what was printed: lines, the cursor up, and erased from the cursor on.
func screen(printed string) []string {
	lines, row, column := []string{""}, 0, 0
	for len(printed) > 0 {
		var up int
		switch {
		case strings.HasPrefix(printed, "\x1b[J"):
			lines = lines[:row+1]
			lines[row] = lines[row][:min(column, len(lines[row]))]
			printed = printed[3:]
			continue
		case strings.HasPrefix(printed, "\x1b["):
			if _, err := fmt.Sscanf(printed, "\x1b[%dA", &up); err != nil {
				return []string{"not known: " + printed}
			}
			row = max(0, row-up)
			printed = printed[strings.Index(printed, "A")+1:]
			continue
		case printed[0] == '\r':
			column = 0
		case printed[0] == '\n': // a terminal puts a return before it
			row, column = row+1, 0
			if row == len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] = lines[row][:min(column, len(lines[row]))] + printed[:1]
			column++
		}
		printed = printed[1:]
	}
	return lines
}

// What is said while drives are drawn stays, and nothing that was drawn before does, also where the terminal shows the key that was pressed.
// A drive of this process that was told to stop does not look as if nobody had heard; one of an agent goes on.
func TestWhatIsSaidStaysAboveTheDrawing(t *testing.T) {
	for _, remote := range []bool{false, true} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr, course: &course{remote: remote}}
		p := &progress{app: a, terminal: true, order: map[devices.ID]int{}, expected: map[devices.ID]sanitize.DrivePlan{}}
		a.course.drawing.Store(p)
		g := &told{}
		p.expect([]sanitize.DrivePlan{{ID: "a", Serial: "A", Passes: make([]sanitize.Pass, 1)}, {ID: "b", Serial: "B", Passes: make([]sanitize.Pass, 1)}})
		p.begun("a", g)
		p.begun("b", g)
		g.last.Store(&sanitize.Reading{Stage: "pass 1/1", Done: 10e6, Total: 100e6, Since: time.Now().Add(-10 * time.Second)})
		p.tell(true)
		if !strings.Contains(stderr.String(), "left") {
			t.Fatalf("%q", stderr.String())
		}
		stderr.WriteString("^C")
		a.course.mu.Lock()
		a.course.stopped = true
		a.course.mu.Unlock()
		a.say("stopping: wait")
		p.tell(true)
		p.tell(true)
		lines := screen(stderr.String())
		if len(lines) != 5 || lines[0] != "expunge: stopping: wait" || !strings.Contains(lines[1], "0 of 2 done") || !strings.HasPrefix(lines[2], "expunge: A:") || !strings.HasPrefix(lines[3], "expunge: B:") || lines[4] != "" {
			t.Fatalf("%q", lines)
		}
		for _, l := range lines[1:4] {
			if strings.Contains(l, "stopping") == remote || strings.Contains(l, " left") && !remote {
				t.Errorf("remote %v: %q", remote, l)
			}
		}
	}
}

// An agent tells of a job's drives no more than what is done to each: how far all are together is a number all the same, also when one
// has ended, and comes to the end with them.
func TestShareOfAnAgentsJob(t *testing.T) {
	for _, d := range []api.JobDrive{
		{Technique: sanitize.HostOverwrite}, {Technique: sanitize.HostOverwrite, Verification: &api.Verification{Mode: sanitize.VerifyFull}},
		{Technique: sanitize.HostOverwrite, Verification: &api.Verification{Mode: sanitize.VerifyStatus}}, {}, {Technique: sanitize.CryptoThenBlock},
	} {
		stages := []string{"pass 1/2", "pass 2/2", "verify"}
		if d.Technique == sanitize.CryptoThenBlock {
			stages = []string{string(sanitize.CryptographicErase), string(sanitize.BlockErase), "verify"}
		}
		d.ID, d.Serial = "a", "A"
		m, last := &metered{drive: drivePlanOf(d)}, 0.0
		for _, stage := range stages {
			for done := range int64(5) {
				share := m.share(sanitize.Reading{Stage: stage, Done: done, Total: 4})
				if math.IsNaN(share) || share < last-1e-9 || share > 1 || done > 0 && share <= 0 {
					t.Errorf("%+v: %v after %v in %s", d, share, last, stage)
				}
				last = share
			}
		}
		late := (&metered{drive: drivePlanOf(d)}).share(sanitize.Reading{Stage: "verify", Done: 1, Total: 4})
		if last < 0.89 || late < 0.5 {
			t.Errorf("%+v: %v at the end, and %v for who comes to the verification", d, last, late)
		}
	}
	var stderr bytes.Buffer
	p := &progress{app: &app{stderr: &stderr}, order: map[devices.ID]int{}, expected: map[devices.ID]sanitize.DrivePlan{}}
	p.expect([]sanitize.DrivePlan{drivePlanOf(api.JobDrive{ID: "a", Serial: "A"}), drivePlanOf(api.JobDrive{ID: "b", Serial: "B"})})
	g := &told{}
	p.begun("a", g)
	p.begun("b", g)
	g.last.Store(&sanitize.Reading{Stage: "pass 1/1", Done: 1, Total: 2, Since: time.Now()})
	p.endedBy(api.JobDrive{ID: "b", Serial: "B", Outcome: sanitize.Interrupted, ExitStatus: exitInterrupted, Words: "INTERRUPTED"})
	if line := p.frame(time.Now(), 10, 0, true)[0]; strings.Contains(line, "NaN") || strings.Contains(line, "Inf") || !strings.Contains(line, "72.7 %") {
		t.Errorf("%q", line)
	}
}

// A slow drive gets on in leaps. Its rate is the same between them, and that of whoever comes later is, too.
func TestRateIsSteadyBetweenLeaps(t *testing.T) {
	const leap, every = 1 << 20, 1300 * time.Millisecond
	begun := time.Now()
	for _, from := range []time.Duration{3 * every, time.Hour} {
		g := &told{}
		m := &metered{meter: g}
		for at := from; at < from+time.Minute; at += 250 * time.Millisecond {
			g.last.Store(&sanitize.Reading{Stage: "pass 1/1", Done: int64(at/every) * leap, Total: 1e12, Since: begun})
			m.read(begun.Add(at))
			if want := leap / every.Seconds(); m.rate < 0.85*want || m.rate > 1.15*want {
				t.Fatalf("after %v: %.0f bytes a second, and it does %.0f", at, m.rate, want)
			}
		}
	}
}

// Of a drive without an end nothing reads as if it had been checked, and what is known of it is said.
func TestNothingReadBackIsNoCheck(t *testing.T) {
	none := &api.Verification{Mode: sanitize.VerifySampled, Result: "none"}
	at := &sanitize.Reading{Stage: "pass 1/1", Done: 5e6, Total: 20e6}
	for _, c := range []struct {
		drive api.JobDrive
		want  string
	}{
		{api.JobDrive{Outcome: sanitize.Interrupted, Verification: none}, ""},
		{api.JobDrive{Outcome: sanitize.Interrupted, Verification: none, BytesWritten: 12600000}, "12.6 MB written so far"},
		{api.JobDrive{Outcome: sanitize.Interrupted, Verification: none, Progress: at}, "pass 1/1: 5.0 MB of 20.0 MB so far"},
		{api.JobDrive{Outcome: sanitize.Failed, Verification: none, BytesWritten: 12600000}, "12.6 MB written, nothing read back"},
	} {
		if text := driveText(c.drive); strings.Contains(text, "0 mismatches") || strings.Contains(text, "0 B") || !strings.Contains(text, c.want) {
			t.Errorf("%s", text)
		}
	}
}

// A full state is the first thing that is said of a drive that stopped for it, without the system's own words.
func TestAFullStateIsSaidFirst(t *testing.T) {
	text := driveText(api.JobDrive{Outcome: sanitize.Interrupted, Words: "INTERRUPTED", Error: "append x: no space left on device",
		Reasons: []devices.Reason{{Code: agent.ReasonNoRoom, Message: "no room", Hint: "make room"}}})
	if !strings.HasSuffix(text, "INTERRUPTED\n  no room (make room)\n") {
		t.Errorf("%s", text)
	}
}
