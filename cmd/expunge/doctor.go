package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// finding is one thing that doctor looked at.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning or problem
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "check that this machine and its state are fit for work; changes nothing on drives", Args: cobra.NoArgs,
		RunE: a.verb("doctor", func(ctx context.Context, _ []string) (answer, error) {
			findings := a.examine(ctx)
			out := answer{items: findings, text: func(w io.Writer) error { return findingsText(w, findings) }}
			var bad []string
			for _, f := range findings {
				if f.Status == "problem" {
					bad = append(bad, f.Check+": "+f.Detail)
				}
			}
			if len(bad) > 0 {
				return out, &problem{code: exitInternal, name: "doctor", err: errors.New(strings.Join(bad, "\n")), silent: a.json == ""}
			}
			return out, nil
		}),
	}
}

func (a *app) examine(ctx context.Context) []finding {
	var list []finding
	note := func(check string, err error, detail string) bool {
		if err == nil {
			list = append(list, finding{check, "ok", detail, ""})
			return true
		}
		p := a.explained(problemOf(err), err)
		list = append(list, finding{check, "problem", p.Error(), p.hint})
		return false
	}
	list = append(list, a.examinePrivilege())
	host, _, err := a.host()
	if note("host", err, "found") {
		list = append(list, examineDrives(ctx, host)...)
	}
	dir, err := a.stateDir()
	if !note("state", err, dir) {
		return list
	}
	if durable.Volatile(dir) {
		list = append(list, finding{"state", "warning", dir + " is in memory and does not survive a power cut", "choose a --state on a disk that is not to be erased"})
	}
	if f, mixed := a.examineOwners(dir); mixed {
		list = append(list, f)
	}
	ag, err := a.agent()
	if !note("owner", err, "the state belongs to this host or rack") {
		return list
	}
	key, err := ag.Key()
	if err == nil {
		note("key", nil, key.ID)
	} else {
		note("key", err, "")
	}
	note("room", ag.Room(1), "there is room for the evidence of a run")
	note("log", ag.CheckLog(), "checkpoint and tiles agree")
	return append(list, examineJobs(ag)...)
}

// examinePrivilege says whether this user can open drives.
func (a *app) examinePrivilege() finding {
	const writable = 2 // W_OK of access(2)
	switch {
	case a.rack == "" && os.Geteuid() != 0:
		return finding{"privilege", "warning", "not root: drives can be listed and not opened", "run as root to sanitize"}
	case a.rack == "":
		return finding{"privilege", "ok", "sufficient", ""}
	}
	for _, dir := range []string{a.rack, filepath.Join(a.rack, "state"), filepath.Join(a.rack, "media")} {
		err := syscall.Access(dir, writable)
		if err == nil || errors.Is(err, fs.ErrNotExist) { // that it is no rack is told next
			continue
		}
		err = &fs.PathError{Op: "write to", Path: dir, Err: err}
		hint := a.whose(err)
		if hint == "" {
			hint = "make a rack of your own: expunge rack create DIR"
		}
		return finding{"privilege", "warning", "drives of the rack can be listed and not opened: " + plainly(err).Error(), hint}
	}
	return finding{"privilege", "ok", "sufficient", ""}
}

// examineOwners looks for files of several users in a rack or a state: one of them is kept out.
func (a *app) examineOwners(state string) (finding, bool) {
	for _, dir := range []string{a.rack, state} {
		its, is := ownerOf(dir)
		if dir == "" || !is {
			continue
		}
		if name, owner, other := foreign(dir, its); other {
			return finding{"owners", "warning", fmt.Sprintf("%s belongs to %s, and %s to %s, who may be kept out of it", quote(name), userName(owner), quote(dir), userName(its)),
				fmt.Sprintf("if %s works with it: sudo chown -R %s %s", userName(its), userName(its), quote(dir))}, true
		}
	}
	return finding{}, false
}

func examineDrives(ctx context.Context, host *devices.Host) []finding {
	drives, err := host.Drives(ctx)
	if err != nil {
		return []finding{{"drives", "problem", err.Error(), ""}}
	}
	states := map[devices.State]int{}
	undetermined := ""
	for _, d := range drives {
		states[d.State]++
		for _, r := range d.Reasons {
			if r.Code == "undetermined" {
				undetermined = r.Message
			}
		}
	}
	list := []finding{{"drives", "ok", fmt.Sprintf("%d found, %d ready", len(drives), states[devices.StateReady]), ""}}
	if undetermined != "" {
		list = append(list, finding{"uses", "warning", undetermined, "run as root"})
	}
	return list
}

func examineJobs(ag *agent.Agent) []finding {
	jobs, err := ag.Jobs()
	if err != nil {
		return []finding{{"jobs", "problem", err.Error(), ""}}
	}
	list := []finding{{"jobs", "ok", fmt.Sprintf("%d", len(jobs)), ""}}
	for _, j := range jobs {
		if j.Problem != nil {
			list = append(list, finding{"job " + j.ID, "problem", j.Problem.Error(), "keep its files as they are"})
		}
		for _, d := range j.Drives {
			switch {
			case d.Err != nil:
				list = append(list, finding{"job " + j.ID, "problem", d.Err.Error(), "keep its files as they are"})
			case len(d.Reasons) > 0 && d.Reasons[0].Code == agent.ReasonRunning:
				list = append(list, finding{"job " + j.ID, "ok", d.Drive.Serial + " is being worked on", ""})
			case d.Outcome == sanitize.Interrupted:
				list = append(list, finding{"job " + j.ID, "warning", d.Drive.Serial + " is interrupted and holds data", "expunge jobs resume " + j.ID})
			case d.Certificate == "" && d.Evidence != nil && d.Evidence.IntentLeaf != "":
				list = append(list, finding{"job " + j.ID, "warning", d.Drive.Serial + " has no certificate", "expunge certificate reissue " + d.Drive.Serial})
			}
		}
	}
	return list
}

func findingsText(w io.Writer, list []finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", strings.ToUpper(f.Status), f.Check, f.Detail)
		for line := range strings.Lines(f.Hint) {
			fmt.Fprintf(t, "\t\t%s\n", strings.TrimRight(line, "\n"))
		}
	}
	return t.Flush()
}
