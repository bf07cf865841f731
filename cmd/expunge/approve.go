package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
)

// approving is what approve is told.
type approving struct {
	by                attest.Person
	key, reason, file string
	digest            string
	drives            int
	holds             time.Duration
	simulated         bool
}

func (a *app) approveCommand() *cobra.Command {
	var w approving
	c := &cobra.Command{
		Use: "approve PLAN --key FILE --by NAME", Short: "approve a plan that an agent holds, with your own key", Args: cobra.ExactArgs(1),
		Long: "approve signs that a plan may be carried out, and hands that to the agent. PLAN is the plan's id, or the file that `plan -o` wrote; what\n" +
			"the agent holds is read, shown and signed by its digest. It holds for an hour, or as long as --holds says, and for this plan alone.\n" +
			"Whose approvals count, and how many a plan needs, is in the agent's configuration and in its policy.",
		Example: "  expunge approve 0123456789abcdef0123456789abcdef --digest DIGEST --key ann.pem --by \"Ann Other\"",
		RunE:    a.verb("approve", func(ctx context.Context, args []string) (answer, error) { return a.approve(ctx, args[0], w) }),
	}
	personFlags(c, &w.by, "by", "the approver")
	f := c.Flags()
	f.StringVar(&w.key, "key", "", "the approver's private key (PKCS #8 in PEM), from `FILE`")
	f.StringVar(&w.digest, "digest", "", "the plan's `DIGEST` (its first 12 digits or more), as whoever asked for it told you")
	f.StringVar(&w.reason, "reason", "", "why")
	f.DurationVar(&w.holds, "holds", time.Hour, "how long the approval holds, at most 24h")
	return c
}

func (a *app) approve(ctx context.Context, name string, w approving) (answer, error) {
	svc, err := a.mustAsk(ctx)
	if err != nil {
		return answer{}, err
	}
	if w.key == "" || w.by.Name == "" {
		return answer{}, usage("--key FILE and --by NAME", errors.New("an approval is somebody's, signed with their key"))
	}
	id := name
	if read, err := readPlan(name); err == nil {
		id = read.ID
	}
	p, err := svc.Planned(ctx, id)
	if err == nil {
		err = asSaid(p)
	}
	if err != nil {
		return answer{}, err
	}
	if !p.Plan.Confirms(w.digest) {
		a.announce(p.Plan)
		return answer{}, &problem{code: exitRefused, name: "not_confirmed", err: errors.New("not confirmed: nothing was signed"), hint: "--digest " + p.Digest[:12] + " says that these are the drives"}
	}
	key, err := attest.LoadKeyFile(w.key, "approver")
	if err != nil {
		return answer{}, err
	}
	now := time.Now().UTC()
	e, err := attest.SignApproval(attest.Approval{
		By: w.by, Drives: len(p.Drives), PlanID: p.ID, PlanSHA256: p.Digest, Reason: w.reason, Simulated: p.Simulated,
		Time: attest.Time{Claimed: now.Format(time.RFC3339), Source: "host clock"}, Expires: now.Add(w.holds).Format(time.RFC3339),
	}, key)
	if err != nil {
		return answer{}, &problem{code: exitUsage, name: "approval", err: err, hint: "expunge approve --help"}
	}
	p, err = svc.Approve(ctx, p.ID, e)
	if err != nil {
		return answer{}, err
	}
	return answer{result: approvedResult{p.ID, p.Digest, p.ApprovalsNeeded, p.Approvals}, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "plan %s has %d of %s\n", p.Digest[:12], len(p.Approvals), counted(p.ApprovalsNeeded, "approval"))
		return err
	}}, nil
}

type approvedResult struct {
	Plan      string         `json:"plan"`
	Digest    string         `json:"digest"`
	Needed    int            `json:"approvals_needed"`
	Approvals []api.Approved `json:"approvals"`
}

func (a *app) haltCommand() *cobra.Command {
	var r api.HaltRequest
	end := false
	c := &cobra.Command{
		Use: "halt {--reason TEXT | --end}", Short: "stop the agent from beginning anything destructive, or let it again", Args: cobra.NoArgs,
		Long: "halt stops all jobs of the agent resumably and keeps any from beginning, also after a restart. Commands that run jobs with the same state\n" +
			"stop theirs within seconds; which have not yet is listed. A drive that erases itself goes on: nothing stops that, a sanitize not even a\n" +
			"loss of power, and it is listed. With --end, which takes the role to approve, unfinished jobs go on, but for those that a person stopped.",
		RunE: a.verb("halt", func(ctx context.Context, _ []string) (answer, error) {
			svc, err := a.mustAsk(ctx)
			if err != nil {
				return answer{}, err
			}
			if end == (r.Reason != "") {
				return answer{}, usage("expunge halt --reason TEXT; or expunge halt --end", errors.New("give one of --reason and --end"))
			}
			r.Halted = !end
			h, err := svc.Halt(ctx, r)
			if err != nil && !h.Halted {
				return answer{}, err
			}
			return answer{result: h, text: func(w io.Writer) error { return haltText(w, h) }}, err
		}),
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "why, for those who find the agent halted")
	c.Flags().BoolVar(&end, "end", false, "end the halt")
	return c
}

func haltText(w io.Writer, h api.Halt) error {
	words := "the agent works"
	if h.Halted {
		words = fmt.Sprintf("HALTED by %s: %s", h.By, h.Reason)
	}
	if _, err := fmt.Fprintln(w, words); err != nil {
		return err
	}
	for _, d := range h.GoesOn {
		if _, err := fmt.Fprintf(w, "%s: %s\n", d.Serial, d.Message); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB", Short: "stop a job that the agent runs; it can be resumed", Args: oneJob, ValidArgsFunction: a.completeJobs,
		Long: "cancel stops what the host does for a job. Its drives hold data until the job is resumed to an end. A drive that erases itself goes on\n" +
			"with that: nothing stops it, and it is listed.",
		RunE: a.verb("jobs-cancel", func(ctx context.Context, args []string) (answer, error) {
			svc, err := a.mustAsk(ctx)
			if err != nil {
				return answer{}, a.notCancelled(args[0], err)
			}
			c, err := svc.Cancel(ctx, args[0])
			if err != nil {
				return answer{}, err
			}
			return answer{result: c, text: func(w io.Writer) error {
				for _, d := range c.Drives {
					if _, err := fmt.Fprintf(w, "%s: %s\n", d.Serial, d.Message); err != nil {
						return err
					}
				}
				return nil
			}}, silently(exitInterrupted)
		}),
	}
}

// notCancelled is why a job cannot be cancelled where there is no agent to ask: a command that runs it can be stopped, and is not from here.
func (a *app) notCancelled(job string, err error) error {
	if p := problemOf(err); p.name != "no_agent" {
		return err // an agent that starts or stops, which runs the job, or did
	}
	jobs, unread := a.jobsThere()
	if unread != nil || !slices.ContainsFunc(jobs, func(j api.Job) bool { return j.ID == job && j.State == api.JobRunning }) {
		return err
	}
	if dir, unsaid := a.stateDir(); unsaid == nil {
		if running, unsaid := durable.Locked(filepath.Join(dir, service.LockName)); unsaid == nil && running {
			return startsOrStops(nil) // it has begun since it was looked for
		}
	}
	return &problem{code: exitRefused, name: "busy", err: fmt.Errorf("a command of this state runs job %s, and no agent does: it goes on", job), hint: heldByCommand(job)}
}

// heldByCommand is what can be done about a job that another command runs.
func heldByCommand(job string) string {
	return "Ctrl-C where that command runs (or SIGTERM to it) stops it resumably; how far it is: expunge watch " + job
}
