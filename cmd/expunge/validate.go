package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/sanitize"
)

// personFlags are who somebody is, by their own word.
func personFlags(c *cobra.Command, p *attest.Person, by, who string) {
	f := c.Flags()
	f.StringVar(&p.Name, by, "", "`NAME` of "+who)
	f.StringVar(&p.Title, "title", "", "title or position")
	f.StringVar(&p.Organization, "organization", "", "organization")
	f.StringVar(&p.Contact, "contact", "", "telephone or mail")
}

// validation is what validate is told.
type validation struct {
	attest.Judgement
	key, policy string
}

func (a *app) validateCommand() *cobra.Command {
	var v validation
	c := &cobra.Command{
		Use: "validate {SERIAL | JOB} --decision accept|reject|escalate --key FILE --by NAME", Short: "accept or reject a certificate, by another key than its own", Args: cobra.ExactArgs(1),
		Long: "validate adds to a certificate what a person decides about it (800-88r2 4.5.2): accept it, reject it (sanitize again) or escalate (a stronger\n" +
			"method). It is signed by that person's own key, which must be none of this host's, logged, and kept in the certificate with the decisions\n" +
			"before it; the newest counts. What this program would decide is shown and signed with it, and decides nothing: to accept against it, and to\n" +
			"reject or escalate, takes a --reason. Only what is sanitized can be accepted, and not against a --policy.",
		Example: "  expunge validate SERIAL --decision accept --key auditor.pem --by \"A. Auditor\"",
		RunE: a.served("validate", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
			return a.validate(ag, args[0], v)
		}),
	}
	personFlags(c, &v.By, "by", "the validator")
	c.Flags().StringVar(&v.Decision, "decision", "", "accept, reject or escalate")
	c.Flags().StringVar(&v.key, "key", "", "the validator's private key (PKCS #8 in PEM), from `FILE`")
	saidFlag(c.Flags(), &v.policy, "policy", "a built-in policy or a file with one, which what is accepted must meet: `NAME|FILE`")
	c.Flags().StringVar(&v.Reason, "reason", "", "why")
	return c
}

func (a *app) validate(ag *agent.Agent, name string, v validation) (answer, error) {
	switch {
	case !slices.Contains([]string{attest.Accept, attest.Reject, attest.Escalate}, v.Decision):
		return answer{}, usage("--decision accept, reject or escalate", fmt.Errorf("there is no decision %q", v.Decision))
	case v.By.Name == "":
		return answer{}, usage("--by NAME", errors.New("it is not said who decides"))
	case v.key == "":
		return answer{}, usage("--key FILE", errors.New("there is no key to sign the decision with"))
	case v.Decision != attest.Accept && v.Reason == "":
		return answer{}, usage("--reason TEXT", fmt.Errorf("to %s wants a reason", v.Decision))
	}
	c, err := findCertificate(ag, name)
	if err != nil {
		return answer{}, err
	}
	r, err := a.ownReport(c.File, name)
	if err != nil {
		return answer{}, err
	}
	var policy *sanitize.Policy
	if v.policy != "" {
		p, err := readPolicy(v.policy)
		if err != nil {
			return answer{}, err
		}
		policy = &p
	}
	key, err := attest.LoadKeyFile(v.key, attest.RoleValidator)
	if errors.Is(err, os.ErrNotExist) {
		return answer{}, usage("--key FILE", err)
	}
	if err != nil {
		return answer{}, err
	}
	recommended := attest.Recommend(*r.Result)
	file, err := ag.Validate(c.Job, c.Drive.ID, *r.Result, v.Judgement, key, policy)
	if err != nil {
		return answer{}, err
	}
	return answer{
		result: map[string]any{"file": file, "job": c.Job, "serial": c.Drive.Serial, "decision": v.Decision, "recommendation": recommended, "keyid": key.ID},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s: %s by %s\n  recommended was to %s\n", c.Drive.Serial, decided(v.Decision), v.By.Name, recommended.Decision)
			for _, why := range recommended.Reasons {
				_, err = fmt.Fprintf(w, "    %s\n", why)
			}
			_, written := fmt.Fprintf(w, "  certificate %s\n  the validator's public key, for verify --trust:\n%s", file, key.PublicPEM())
			return errors.Join(err, written)
		},
	}, nil
}

// decided is a decision as what was done.
func decided(decision string) string {
	return map[string]string{attest.Accept: "ACCEPTED", attest.Reject: "REJECTED", attest.Escalate: "ESCALATED"}[decision]
}

// ownReport is what a certificate of this state says; a damaged one is an error.
func (a *app) ownReport(file, name string) (attest.Report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return attest.Report{}, err
	}
	trust, err := a.ownTrust()
	if err != nil {
		return attest.Report{}, err
	}
	r := attest.Verify(data, trust)
	if r.Result == nil {
		return r, &problem{code: exitInvalid, name: "invalid", err: fmt.Errorf("%s: it does not verify", file), hint: "expunge certificate reissue " + name}
	}
	return r, nil
}

// recordItems are the records beside the certificates.
func recordItems(ag *agent.Agent) ([]certificateItem, error) {
	records, err := ag.Records()
	if err != nil {
		return nil, err
	}
	var list []certificateItem
	for _, r := range records {
		item := certificateItem{Outcome: "invalid", File: r.File, Record: "record"}
		switch {
		case r.Report.Manifest != nil:
			m := r.Report.Manifest
			item.Job, item.Record, item.Outcome = m.Job, "manifest", "manifest of "+counted(len(m.Drives), "drive")
		case r.Report.Destruction != nil:
			d := r.Report.Destruction
			item.ID, item.Serial, item.Model, item.Record, item.Outcome = d.Device.ID, d.Device.Serial, d.Device.Model, "destruction", d.Words()
		}
		list = append(list, item)
	}
	return list, nil
}

// saidLater is what was said of a certificate after it was signed, line by line; expunge verify says whose word it is.
func saidLater(r attest.Report) string {
	var b strings.Builder
	for _, v := range r.Validations {
		fmt.Fprintf(&b, "%s by %q, %s: %q\n", decided(v.Decision), v.By.Name, v.Time.Claimed, v.Reason)
	}
	for _, s := range r.Supersessions {
		what := map[bool]string{true: "WITHDRAWN", false: "CORRECTED"}[s.Withdrawn]
		fmt.Fprintf(&b, "%s %s: %q\n", what, s.Time.Claimed, s.Reason)
	}
	return b.String()
}
