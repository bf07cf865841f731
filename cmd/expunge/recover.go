package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// leftItem is a drive that was left alone, for --json.
type leftItem struct {
	ID     devices.ID     `json:"id,omitempty"`
	Serial string         `json:"serial,omitempty"`
	Model  string         `json:"model,omitempty"`
	Job    string         `json:"job,omitempty"`
	Reason devices.Reason `json:"reason"`
}

type recoverResult struct {
	Jobs []runResult `json:"jobs"` // whose drives were waited for
	Left []leftItem  `json:"left"` // what was only reported
}

// recovery is what `recover DRIVE` shall do.
type recovery struct {
	exit     bool
	password string // file
	master   bool
	confirm  string
}

func (a *app) recoverCommand() *cobra.Command {
	var r recovery
	c := &cobra.Command{
		Use: "recover [DRIVE --exit-failure-mode | DRIVE --password-file FILE]", Short: "find drives that erase themselves or are locked, and finish what a job ordered",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeDrives,
		Long: "recover is for after a crash, a power cut or a restart. A drive that sanitizes itself goes on without the host: those that a job of\n" +
			"this state ordered to are waited for, proven and certified. A security erase that was cut off leaves its drive locked by a password\n" +
			"that the job has: it is begun again with it, or the password is taken off. Nothing is begun that was not ordered. Others are reported.\n\n" +
			"With --exit-failure-mode a drive whose unrestricted sanitize failed can be used again, with the data on it. It is not certified.\n" +
			"With --password-file an ATA password that its owner knows is taken off a drive, so that it can be sanitized.",
		RunE: a.served("recover", func(ctx context.Context, ag *agent.Agent, args []string) (answer, error) {
			one := r.exit != (r.password != "")
			switch {
			case len(args) == 1 && one:
				return a.recoverDrive(ctx, ag, args[0], r)
			case len(args) > 0 || r != recovery{}:
				return answer{}, usage("expunge recover; or expunge recover DRIVE --exit-failure-mode --confirm SERIAL; or expunge recover DRIVE --password-file FILE",
					errors.New("a drive and one of --exit-failure-mode and --password-file belong together"))
			}
			return a.recover(ctx, ag)
		}),
	}
	c.Flags().BoolVar(&r.exit, "exit-failure-mode", false, "let a drive whose unrestricted sanitize failed be used again, with its data")
	c.Flags().StringVar(&r.confirm, "confirm", "", "the drive's `SERIAL`")
	c.Flags().StringVar(&r.password, "password-file", "", "take the drive's ATA password off, which is in `FILE` (at most 32 bytes; a line end is not part of it)")
	a.pinFlag(c.Flags())
	c.Flags().BoolVar(&r.master, "master", false, "it is the master password, not the user's")
	return c
}

func (a *app) recover(ctx context.Context, ag *agent.Agent) (answer, error) {
	if err := a.course.begins(ctx, "a job may have gone on", jobsTell); err != nil {
		return answer{}, err
	}
	progress := a.follow()
	jobs, left, err := ag.Recover(ctx, progress.observer())
	progress.end()
	if err != nil {
		return answer{}, err
	}
	result := recoverResult{Jobs: []runResult{}, Left: []leftItem{}}
	var codes []int
	for _, j := range jobs {
		list := api.JobOf(j).Drives
		result.Jobs = append(result.Jobs, runResult{j.ID, j.Plan.Digest(), list, j.Manifest})
		if j.ManifestErr != nil {
			a.say("%v", j.ManifestErr)
			codes = append(codes, exitInternal)
		}
		for _, i := range list {
			codes = append(codes, i.ExitStatus)
		}
	}
	for _, l := range left {
		result.Left = append(result.Left, leftItem{l.Drive.ID, l.Drive.Serial, l.Drive.Model, l.Job, l.Reason})
		switch l.Reason.Code {
		case "sanitize_failed", "format_failed", devices.ReasonLocked:
			codes = append(codes, exitFailed)
		case "unreadable_job":
			codes = append(codes, exitUnproven)
		default:
			codes = append(codes, exitInterrupted)
		}
	}
	var problem error
	if code := api.Worst(codes); code != exitOK {
		problem = silently(code)
	}
	return answer{result: result, text: func(w io.Writer) error { return recoverText(w, result) }}, problem
}

// silently is an exit code whose reasons were printed.
func silently(code int) error {
	return &problem{code: code, name: "outcome", err: errors.New("not everything is done"), silent: true}
}

func recoverText(w io.Writer, r recoverResult) error {
	var b strings.Builder
	for _, j := range r.Jobs {
		if err := outcomesText(&b, j.Drives); err != nil {
			return err
		}
	}
	for _, l := range r.Left {
		name := strings.TrimSpace(l.Model + " " + l.Serial)
		if name == "" {
			name = "job " + l.Job
		}
		fmt.Fprintf(&b, "%s: %s\n", name, l.Reason.Message)
		if l.Reason.Hint != "" {
			fmt.Fprintf(&b, "  %s\n", l.Reason.Hint)
		}
	}
	if b.Len() == 0 {
		b.WriteString("Nothing is in the middle of anything.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// recoverDrive does to one drive what a person asked for.
func (a *app) recoverDrive(ctx context.Context, ag *agent.Agent, name string, r recovery) (answer, error) {
	selected, err := a.selected(ctx, []string{name})
	if err != nil {
		return answer{}, err
	}
	d := selected[0]
	done := "can be used again. It HOLDS DATA: its sanitize failed."
	switch {
	case r.exit && (r.confirm == "" || r.confirm != d.Serial):
		return answer{}, &problem{code: exitRefused, name: "not_confirmed", err: fmt.Errorf("not confirmed for %s %s: nothing was sent", d.Model, d.Serial),
			hint: "the drive holds data and will be usable with it: --confirm " + quote(d.Serial)}
	case r.exit:
		d, err = ag.ExitFailureMode(ctx, name)
	default:
		var password [32]byte
		if password, err = readPassword(r.password); err == nil {
			done = "has no password any more. It HOLDS DATA."
			d, err = ag.TakePasswordOff(ctx, name, password, r.master)
		}
	}
	var refusal *sanitize.Refusal
	switch {
	case errors.As(err, &refusal):
		return answer{}, &problem{code: exitRefused, name: refusal.Reasons[0].Code, err: err, hint: refusal.Reasons[0].Hint}
	case errors.Is(err, agent.ErrNotFailed), errors.Is(err, agent.ErrNoPassword):
		return answer{}, &problem{code: exitCannot, name: "nothing_to_recover", err: err, hint: "expunge show " + quote(name)}
	case errors.Is(err, devices.ErrStaysFailed):
		return answer{}, &problem{code: exitCannot, name: "stays_failed", err: err, hint: "it holds data: sanitize it again, expunge plan " + quote(d.Serial) + ", or destroy it"}
	case errors.Is(err, devices.ErrPowerCycle):
		return answer{}, &problem{code: exitFailed, name: agent.ReasonPowerCycle, err: err, hint: "take power from the drive and give it back, then try again"}
	case err != nil:
		return answer{}, err
	}
	return answer{result: map[string]string{"id": string(d.ID), "serial": d.Serial}, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %s %s\n", d.Model, d.Serial, done)
		return err
	}}, nil
}

// readPassword reads an ATA password: 32 bytes, filled up with zeros (ACS-4 4.20).
func readPassword(file string) (p [32]byte, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return p, usage("--password-file FILE, which holds the password", fmt.Errorf("read the password: %w", err))
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 || len(data) > len(p) {
		return p, usage("ATA passwords have 1 to 32 bytes", fmt.Errorf("%s has %d bytes", file, len(data)))
	}
	copy(p[:], data)
	return p, nil
}

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch [JOB]", Short: "follow a job that another process runs, until it ends", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeJobs,
		Long: "watch follows a job from another terminal, or one whose drives go on by themselves. Without a name it follows the one that is not\n" +
			"finished. It changes nothing, and ends when the job has ended or nobody is at work on it; its exit status is then the job's.",
		RunE: a.asked("watch", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			j, err := theJob(ctx, svc, args)
			if err != nil {
				return answer{}, err
			}
			return a.followJob(ctx, svc, j)
		}),
	}
}
