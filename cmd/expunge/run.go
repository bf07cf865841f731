package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

func (a *app) runCommand() *cobra.Command {
	var request sanitize.Request
	var given givenFlags
	var file, list string
	var confirm []string
	c := &cobra.Command{
		Use: "run {--plan FILE | DRIVE... | --drives FILE}", Short: "carry out a plan: DESTROYS DATA", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeDrives,
		Long: "run carries out a plan, or plans and runs in one go. It begins after a confirmation: --confirm DIGEST for a whole plan,\n" +
			"--confirm SERIAL for each drive, or typed when a person sits at the terminal. The same plan run again touches nothing that is finished.\n\n" +
			"Told to stop (Ctrl-C, SIGTERM, a closed terminal), a job that an agent runs goes on without the command, and one of this process stops\n" +
			"resumably. A second signal waits for nothing: the exit status is then 10, unless it is certain that nothing was begun (130).",
		Example: "  expunge run --plan plan.json --confirm DIGEST\n  expunge run SERIAL --method clear --confirm SERIAL",
		RunE: a.asked("run", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			names, err := a.named(args, list)
			if err != nil {
				return answer{}, err
			}
			if request.Given, err = given.request(len(names)); err != nil {
				return answer{}, err
			}
			return a.run(ctx, svc, names, request, file, confirm)
		}),
	}
	requestFlags(c.Flags(), &request)
	given.add(c.Flags())
	drivesFlag(c.Flags(), &list)
	a.pinFlag(c.Flags())
	c.Flags().StringVar(&file, "plan", "", "the plan to carry out, from `FILE`")
	c.Flags().StringArrayVar(&confirm, "confirm", nil, "the plan's `DIGEST` (its first 12 digits or more), or for each drive its serial number, or its WWN or id, as where drives share a serial number")
	return c
}

// run has a plan carried out, and follows that.
func (a *app) run(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string, confirm []string) (answer, error) {
	switch {
	case file != "" && len(names) > 0:
		return answer{}, usage("name drives when planning", errors.New("a plan has its drives: none can be named beside it"))
	case file != "" && !reflect.DeepEqual(request, sanitize.Request{}):
		return answer{}, usage("say what is wanted when planning", errors.New("a plan has what was asked for and given: it cannot be changed"))
	}
	request.TCGPIN = file == "" && a.pins.file != ""
	p, err := a.planned(ctx, svc, names, request, file)
	if err != nil {
		return answer{}, before(err)
	}
	begun := agent.Job{Plan: p.Plan} // of none, that has no name
	here, _ := svc.(*service.Service)
	if len(p.Drives) == 0 {
		if here != nil {
			begun.Manifest, err = here.Agent.Refused(ctx, p.Plan, nil)
		}
		return jobAnswer(api.JobOf(begun)), errors.Join(a.toldAbove(planProblem(p.Plan)), err)
	}
	if len(confirm) == 0 { // somebody is about to be asked: what is confirmed already is refused, and recorded, by the service
		if err := mayStart(ctx, svc, p); err != nil {
			return jobAnswer(api.JobOf(begun)), err
		}
	}
	if err := a.mayBegin(p, here != nil); err != nil {
		return jobAnswer(api.JobOf(begun)), err
	}
	listed, err := svc.Drives(ctx)
	if err != nil {
		return answer{}, before(fmt.Errorf("confirm: %w", err))
	}
	if err := a.confirmed(ctx, p.Plan, confirm, file != "", listed.Items); err != nil {
		return jobAnswer(api.JobOf(begun)), err
	}
	job, err := a.begin(ctx, svc, p)
	var refused *agent.RefusedError
	if errors.As(err, &refused) {
		begun.Drives, begun.Manifest, begun.ManifestErr = refused.Drives, refused.Manifest, refused.ManifestErr
		told := api.JobOf(begun)
		return jobAnswer(told), a.jobProblem(told)
	}
	if err != nil && here != nil {
		err = a.notBegun(here, p.Plan, err)
	}
	if err != nil {
		return jobAnswer(api.JobOf(begun)), err
	}
	return a.seeThrough(ctx, svc, job)
}

// toldAbove is a problem that what is printed on standard output says, too: who has both on one terminal reads it once.
func (a *app) toldAbove(err error) error {
	var p *problem
	if !errors.As(err, &p) || a.json != "" || !onTerminal(a.stdout) || !onTerminal(a.stderr) {
		return err
	}
	told := *p
	told.silent = true
	return &told
}

func onTerminal(w io.Writer) bool {
	f, is := w.(*os.File)
	return is && terminal.Is(f)
}

// planned is the plan that is to be carried out, as the service has it.
func (a *app) planned(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string) (api.Plan, error) {
	var p api.Plan
	if file == "" {
		made, err := svc.Plan(ctx, api.PlanRequest{Drives: names, Request: request})
		if err != nil {
			return p, err
		}
		return made, asSaid(made)
	}
	read, err := readPlan(file)
	if err != nil {
		return p, err
	}
	if here, is := svc.(*service.Service); is {
		return here.Hold(read)
	}
	p, err = svc.Planned(ctx, read.ID)
	var told *api.Problem
	if errors.As(err, &told) && told.Code == "not_found" {
		return p, &problem{code: exitRefused, name: "refused", err: fmt.Errorf("the agent has not made the plan in %s", file), hint: "make it again: expunge plan asks the agent when it runs"}
	}
	if err == nil && p.Digest != read.Digest() {
		err = sanitize.ErrPlanEdited
	}
	return p, err
}

// mayStart says whether a halt or the plan's age speaks against it.
func mayStart(ctx context.Context, svc api.Service, p api.Plan) error {
	here, _ := svc.(*service.Service)
	if p.Job != "" && here == nil {
		return nil // it is only told of
	}
	if err := halted(ctx, svc); err != nil || p.Job != "" {
		return err
	}
	host, simulated := p.Plan.Host, p.Plan.Simulated // an agent takes none but those that it made
	if here != nil {
		host, simulated = here.Agent.ID(), here.Agent.Simulated()
	}
	return p.Plan.Usable(host, simulated, time.Now())
}

// mayBegin says what is known to be missing, before anybody is asked to confirm.
func (a *app) mayBegin(p api.Plan, here bool) error {
	if p.Job != "" {
		return nil // it was permitted when it began
	}
	if have := len(p.Approvals); have < p.ApprovalsNeeded {
		if here {
			return &agent.ApprovalError{Needed: p.ApprovalsNeeded, Have: have}
		}
		return &problem{code: exitRefused, name: "approval_required", err: fmt.Errorf("the plan needs %s, and has %d", counted(p.ApprovalsNeeded, "approval"), have), hint: "an approver signs: expunge approve " + p.ID}
	}
	if a.typesPINs() {
		return nil
	}
	_, err := a.pinsOf(p.Drives)
	return err
}

// halted is the halt that keeps everything from beginning; nil when there is none.
func halted(ctx context.Context, svc api.Service) error {
	if here, is := svc.(*service.Service); is {
		if held := here.Agent.Halted(); held != nil {
			return held
		}
		return nil
	}
	h, err := svc.Halted(ctx)
	if h.Halted {
		return &agent.HaltedError{By: h.By, Since: h.Since, Reason: h.Reason}
	}
	return err
}

// begin starts a plan. Of one that was started before, a service in this process goes on with the job; an agent leaves it as it is.
func (a *app) begin(ctx context.Context, svc api.Service, p api.Plan) (api.Job, error) {
	start := api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(p.Drives)}
	if p.Job != "" {
		a.say("this plan was run before: what is finished is only reported")
		if _, here := svc.(*service.Service); !here && a.pins.file != "" {
			a.say("--pin-file is not used, for an agent begins a plan once: expunge jobs resume %s --pin-file FILE goes on with it", p.Job)
		}
	} else {
		var err error
		if start.PINs, err = a.pinsOf(p.Drives); err != nil {
			return api.Job{}, err
		}
	}
	if err := a.course.begins(ctx, "the job may have begun", jobsTell); err != nil {
		return api.Job{}, err
	}
	return svc.Start(ctx, start)
}

// notBegun judges why a plan was not begun in this process. A job that is there all the same, and that a signal kept from its drives, is
// noted as stopped by a person, as seeThrough does.
func (a *app) notBegun(here *service.Service, p sanitize.Plan, err error) error {
	switch {
	case !here.Agent.WasRun(p):
		a.course.nothing()
		return before(err) // there is no job, and without one nothing is sent to a drive
	case errors.Is(err, errStopped):
		return errors.Join(err, here.Agent.Stop(agent.JobOf(p), stoppedHere()))
	}
	return err
}

// pinsOf gives the PINs that a plan wants.
func (a *app) pinsOf(drives []sanitize.DrivePlan) (map[devices.ID]string, error) {
	pins := map[devices.ID]string{}
	for _, d := range drives {
		if what, wanted := d.PINWanted(); wanted {
			pin, err := a.pin(d)
			if err != nil {
				return nil, &problem{code: exitRefused, name: "pin_missing", err: fmt.Errorf("%s %s: its %s is wanted and was not given: %w", d.Model, d.Serial, what, err), hint: "--pin-file FILE gives it; a PSID is printed on the drive's label"}
			}
			pins[d.ID] = pin
		}
	}
	return pins, nil
}

func readPlan(file string) (sanitize.Plan, error) {
	info, err := os.Stat(file)
	if err != nil {
		return sanitize.Plan{}, usage("give the file that plan -o wrote", unread(file, err))
	}
	if !info.Mode().IsRegular() || info.Size() > 16<<20 {
		return sanitize.Plan{}, usage("give the file that plan -o wrote", fmt.Errorf("%s is not a plan file", file))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return sanitize.Plan{}, unread(file, err)
	}
	p, err := sanitize.ParsePlan(data)
	if err != nil {
		return p, fmt.Errorf("plan %s: %w", file, err)
	}
	return p, nil
}
