package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
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
	c := &cobra.Command{Use: "certificate", Short: "list, show, export or reissue certificates", Args: cobra.NoArgs, RunE: a.served("certificate-list", a.certificateList)}
	var out string
	export := &cobra.Command{
		Use: "export {SERIAL | JOB} -o FILE", Short: "copy a certificate to hand out", Args: cobra.ExactArgs(1),
		RunE: a.served("certificate-export", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
			return a.certificateExport(ag, args[0], out)
		}),
	}
	export.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write, which must not be there yet; - is standard output")
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "list the certificates of this state", Args: cobra.NoArgs, RunE: a.served("certificate-list", a.certificateList)},
		&cobra.Command{
			Use: "show {SERIAL | JOB}", Short: "show what a certificate says", Args: cobra.ExactArgs(1),
			RunE: a.served("certificate-show", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
				return a.certificateShow(ag, args[0])
			}),
		},
		export,
		&cobra.Command{
			Use: "reissue {SERIAL | JOB}", Short: "make a lost certificate again from log and journal", Args: cobra.ExactArgs(1),
			RunE: a.served("certificate-reissue", a.certificateReissue),
		},
		a.supersedeCommand(),
	)
	return c
}

func (a *app) certificateList(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
	issued, err := ag.Certificates()
	if err != nil {
		return answer{}, err
	}
	trust, err := a.ownTrust()
	if err != nil {
		return answer{}, err
	}
	list := []certificateItem{}
	for _, c := range issued {
		item := certificateItem{c.Job, string(c.Drive.ID), c.Drive.Serial, c.Drive.Model, "invalid", c.File, ""}
		if data, err := os.ReadFile(c.File); err == nil {
			if r := attest.Verify(data, trust); r.Result != nil {
				item.Outcome = r.Result.Outcome.Status
				for _, reason := range r.Reasons {
					switch reason.Code {
					case "validation_rejected", "validation_escalated", "withdrawn":
						item.Outcome += ", " + reason.Code
					}
				}
			}
		}
		list = append(list, item)
	}
	records, err := recordItems(ag)
	if err != nil {
		return answer{}, err
	}
	list = append(list, records...)
	return answer{items: list, text: func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "SERIAL\tMODEL\tOUTCOME\tJOB\tFILE")
		for _, c := range list {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", dash(c.Serial), dash(c.Model), c.Outcome, dash(c.Job), c.File)
		}
		if len(list) == 0 {
			fmt.Fprintln(t, "(no certificates)")
		}
		return t.Flush()
	}}, nil
}

// findCertificate finds the newest one of a drive, or the one of a job with one drive.
func findCertificate(ag *agent.Agent, name string) (agent.Certificate, error) {
	issued, err := ag.Certificates()
	if err != nil {
		return agent.Certificate{}, err
	}
	var found []agent.Certificate
	for _, c := range issued {
		if c.Drive.Serial == name || string(c.Drive.ID) == name || c.Drive.WWN == name && name != "" {
			found = []agent.Certificate{c} // the newest wins: they are in order
		} else if c.Job == name {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return agent.Certificate{}, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%q: no such certificate", name), hint: "expunge certificate list shows them"}
	case 1:
		return found[0], nil
	}
	return agent.Certificate{}, &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("job %s has %d certificates", name, len(found)), hint: "name the drive"}
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
		_, err = fmt.Fprintf(w, "%s\n%s\n%s%s\n", c.File, attest.OutcomeWords(*r.Result), saidLater(r), text)
		return err
	}}, nil
}

func (a *app) certificateExport(ag *agent.Agent, name, out string) (answer, error) {
	if out == "" {
		return answer{}, usage("-o FILE, or -o - for standard output", errors.New("there is no place to export to"))
	}
	c, err := findCertificate(ag, name)
	if err != nil {
		return answer{}, err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return answer{}, err
	}
	if out == "-" {
		_, err := a.stdout.Write(data)
		return answer{}, err
	}
	if _, err := os.Lstat(out); err == nil {
		return answer{}, usage("choose another name, or remove it first", fmt.Errorf("%s is there already", out))
	}
	target, err := filepath.Abs(out)
	if err != nil {
		return answer{}, err
	}
	return fileAnswer(out), durable.CreateFile(target, data, 0o644)
}

func (a *app) certificateReissue(ctx context.Context, ag *agent.Agent, args []string) (answer, error) {
	name := args[0]
	jobs, err := ag.Jobs()
	if err != nil {
		return answer{}, err
	}
	var job string
	var id devices.ID
	for _, j := range jobs {
		for _, d := range j.Drives {
			if d.Drive.Serial == name || string(d.Drive.ID) == name || j.ID == name && len(j.Drives) == 1 {
				job, id = j.ID, d.Drive.ID
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
	file, err := ag.Reissue(job, id)
	if err != nil {
		return answer{}, err
	}
	_, err = ag.ReissueManifest(ctx, job)
	return fileAnswer(file), err
}

func fileAnswer(file string) answer {
	return answer{result: map[string]string{"file": file}, text: func(w io.Writer) error {
		_, err := fmt.Fprintln(w, file)
		return err
	}}
}

// ownTrust are the public keys of this state: what they vouch for is trusted by itself only.
func (a *app) ownTrust() (attest.Trust, error) {
	dir, err := a.stateDir()
	if err != nil {
		return attest.Trust{}, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "keys", "*.pub"))
	if err != nil {
		return attest.Trust{}, err
	}
	var all []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return attest.Trust{}, err
		}
		all = append(all, data...)
	}
	if len(all) == 0 {
		return attest.Trust{}, nil
	}
	trust, err := attest.ParseTrust(all)
	trust.Self = true
	return trust, err
}

func (a *app) keyCommand() *cobra.Command {
	show := func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
		key, err := ag.Key()
		if err != nil {
			return answer{}, err
		}
		return answer{
			result: map[string]string{"keyid": key.ID, "role": key.Role, "public_key": string(key.PublicPEM())},
			text: func(w io.Writer) error {
				_, err := w.Write(key.PublicPEM())
				return err
			},
		}, nil
	}
	c := &cobra.Command{
		Use: "key", Short: "print the public key that verifies this state's certificates", Args: cobra.NoArgs, RunE: a.served("key", show),
		Long: "key prints the public key, as a trust file for verify --trust. Hand it to auditors by another way than the certificates.\n" +
			"The private key is made on first use and stays in the state directory, readable by its owner alone.",
	}
	c.AddCommand(&cobra.Command{Use: "show", Short: "print the public key", Args: cobra.NoArgs, RunE: a.served("key", show)})
	return c
}
