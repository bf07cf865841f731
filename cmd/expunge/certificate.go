package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
)

type certificateItem struct {
	Job     string `json:"job"`
	ID      string `json:"id"`
	Serial  string `json:"serial"`
	Model   string `json:"model"`
	Outcome string `json:"outcome"` // from verified bytes; "invalid" when they are not
	File    string `json:"file"`
	Record  string `json:"record,omitempty"` // what it is when it is no certificate: "manifest", "destruction"
}

func (a *app) certificateCommand() *cobra.Command {
	c := &cobra.Command{Use: "certificate", Short: "list, show, export or reissue certificates", Args: cobra.NoArgs, RunE: a.asked("certificate-list", a.certificateList)}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "list the certificates of this state", Args: cobra.NoArgs, RunE: a.asked("certificate-list", a.certificateList)},
		&cobra.Command{
			Use: "show {SERIAL | JOB}", Short: "show what a certificate says", Args: cobra.ExactArgs(1),
			RunE: a.served("certificate-show", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
				return a.certificateShow(ag, args[0])
			}),
		},
		a.certificateExportCommand(),
		a.evidenceCommand(),
		&cobra.Command{
			Use: "reissue {SERIAL | JOB}", Short: "make lost certificates again from log and journal", Args: cobra.ExactArgs(1),
			RunE: a.served("certificate-reissue", a.certificateReissue),
		},
		a.supersedeCommand(),
	)
	return c
}

// certificateList lists what the state keeps: of certificates, an agent says so; records are told of by whoever may read the state itself.
func (a *app) certificateList(ctx context.Context, svc api.Service, _ []string) (answer, error) {
	issued, err := svc.Certificates(ctx)
	if err != nil {
		return answer{}, err
	}
	list := []certificateItem{}
	for _, c := range issued {
		list = append(list, certificateItem{c.Job, string(c.ID), c.Serial, c.Model, c.Outcome, c.File, ""})
	}
	ag, err := a.stateOf(svc)
	if err != nil {
		return answer{}, err
	}
	if ag == nil {
		a.say("only certificates are listed: manifests and destructions are listed by whoever may read the state of the agent, at its host and without --socket")
	} else {
		records, err := recordItems(ag)
		if err != nil {
			return answer{}, err
		}
		list = append(list, records...)
	}
	return answer{items: list, text: func(w io.Writer) error { return certificatesText(w, list) }}, nil
}

// stateOf is the state of a service, for those who may read it: nil for others, and where it is not known to be here.
func (a *app) stateOf(svc api.Service) (*agent.Agent, error) {
	if here, is := svc.(*service.Service); is {
		return here.Agent, nil
	}
	if a.socket != "" {
		return nil, nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	// An agent that was found elsewhere, at the socket of the host, has not the state that is looked at here.
	if running, err := durable.Locked(filepath.Join(dir, service.LockName)); err != nil || !running {
		return nil, nil
	}
	return a.agent()
}

func certificatesText(w io.Writer, list []certificateItem) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERIAL\tMODEL\tOUTCOME\tJOB\tFILE")
	for _, c := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", dash(c.Serial), dash(c.Model), c.Outcome, dash(c.Job), c.File)
	}
	if len(list) == 0 {
		fmt.Fprintln(t, "(no certificates)")
	}
	return t.Flush()
}

// findCertificates finds the newest one of a drive, or all of a job.
func findCertificates(ag *agent.Agent, name string) ([]agent.Certificate, error) {
	issued, err := ag.Certificates()
	if err != nil {
		return nil, err
	}
	var found []agent.Certificate
	for _, c := range issued {
		if c.Drive.Serial == name || string(c.Drive.ID) == name || c.Drive.WWN == name && name != "" {
			found = []agent.Certificate{c} // the newest wins: they are in order
		} else if c.Job == name {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%q: no such certificate", name), hint: "expunge certificate list shows them"}
	}
	return found, nil
}

// findCertificate finds the newest one of a drive, or the one of a job with one drive.
func findCertificate(ag *agent.Agent, name string) (agent.Certificate, error) {
	found, err := findCertificates(ag, name)
	if err != nil {
		return agent.Certificate{}, err
	}
	if len(found) > 1 {
		return agent.Certificate{}, &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("job %s has %d certificates", name, len(found)), hint: "name the drive"}
	}
	return found[0], nil
}

func (a *app) certificateShow(ag *agent.Agent, name string) (answer, error) {
	c, err := findCertificate(ag, name)
	if err != nil {
		return answer{}, err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return answer{}, err
	}
	trust, err := a.ownTrust()
	if err != nil {
		return answer{}, err
	}
	r := attest.Verify(data, trust)
	if r.Result == nil {
		return answer{}, &problem{code: exitInvalid, name: "invalid", err: fmt.Errorf("%s: %s", c.File, r.Reasons[0].Message), hint: "expunge certificate reissue " + name}
	}
	return answer{result: r.Result, text: func(w io.Writer) error {
		text, err := indented(r.Result)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n%s\n%s%s\n", c.File, attest.Words(*r.Result), saidLater(r), text)
		return err
	}}, nil
}

func (a *app) certificateReissue(ctx context.Context, ag *agent.Agent, args []string) (answer, error) {
	name := args[0]
	jobs, err := ag.Jobs()
	if err != nil {
		return answer{}, err
	}
	var job string
	var of []devices.ID // of a job all, of a drive its last
	for _, j := range jobs {
		for _, d := range j.Drives {
			switch {
			case j.ID == name && d.Finished() && d.Evidence != nil && d.Evidence.IntentLeaf != "":
				job, of = j.ID, append(of, d.Drive.ID)
			case d.Drive.Serial == name || string(d.Drive.ID) == name:
				job, of = j.ID, []devices.ID{d.Drive.ID}
			}
		}
	}
	records, err := ag.ReissueRecords(name)
	if err != nil {
		return answer{}, err
	}
	if job == "" && len(records) > 0 {
		return fileAnswer(records[len(records)-1]), nil
	}
	if job == "" {
		return answer{}, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%q: no job on such a drive, and no record of it", name), hint: "expunge jobs lists them"}
	}
	var files []string
	var problems error
	for _, id := range of {
		file, err := ag.Reissue(job, id)
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		files = append(files, file)
	}
	if problems != nil {
		return fileAnswer(files...), problems
	}
	_, err = ag.ReissueManifest(ctx, job)
	return fileAnswer(files...), err
}

// fileAnswer names the files that were made: the first is the result's, for one drive has one.
func fileAnswer(files ...string) answer {
	if len(files) == 0 {
		return answer{}
	}
	return answer{result: map[string]any{"file": files[0], "files": files}, text: func(w io.Writer) error {
		_, err := fmt.Fprintln(w, strings.Join(files, "\n"))
		return err
	}}
}
