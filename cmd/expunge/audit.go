package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
)

// auditItem is what --json says of a log.
type auditItem struct {
	Log  string `json:"log"`
	From string `json:"certificates_from"`
	attest.Audited
}

// auditFlags are what an audit looks at; empty is what the state has.
type auditFlags struct{ log, certificates, key, pin string }

func (a *app) auditCommand() *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use: "audit", Short: "check a whole log and all certificates: what does not fit, what is not there", Args: cobra.NoArgs,
		Long: "audit makes the log's tree again from every entry, holds certificates and statements against it, and says what was changed or taken away,\n" +
			"which work has no result, which results have no certificate, and which drives failed before they succeeded. It changes nothing.\n" +
			"0: nothing is wrong; 11: the evidence contradicts itself; 12: what is there is authentic, and something is missing or the key is not trusted.",
		Example: "  expunge audit\n  expunge audit --log copy/log --certificates copy/certificates --key host.pub",
		RunE: a.verb("audit", func(context.Context, []string) (answer, error) {
			return a.audit(f)
		}),
	}
	c.Flags().StringVar(&f.log, "log", "", "the log, in `DIR` (default that of the state; with it nothing is known of jobs at work)")
	c.Flags().StringVar(&f.certificates, "certificates", "", "certificates: all files in and below `DIR` that end in .json (default those of the state)")
	c.Flags().StringVar(&f.key, "key", "", "the issuer's public key (PEM), or a trust root, from `FILE` (default the pinned root, or else the state's own, which proves nothing to others)")
	c.Flags().StringVar(&f.pin, "pin", "", "the `FINGERPRINT` of the trust root's first version, which you were given by another way")
	c.AddCommand(a.actionsCommand())
	return c
}

func (a *app) audit(f auditFlags) (answer, error) {
	in, item, err := a.auditInput(f)
	if err != nil {
		return answer{}, err
	}
	// Another process may be at work on drives. It adds to the log now and then, and what it was about
	// to write at the first look is there at the second.
	for looks := 0; looks < 20; looks++ {
		item.Audited, err = attest.Audit(in)
		if !errors.Is(err, attest.ErrLogChanged) && (err != nil || looks > 0 || in.Unfinished == nil || item.Count(attest.Omission) == 0) {
			break
		}
	}
	if errors.Is(err, attest.ErrLogChanged) {
		return answer{}, &problem{code: exitInterrupted, name: "busy", err: err, hint: "wait until less is being done, or audit a copy"}
	}
	if err != nil {
		return answer{}, err
	}
	out := answer{result: item, text: func(w io.Writer) error {
		_, err := io.WriteString(w, item.text())
		return err
	}}
	switch item.Code() {
	case attest.CodeInvalid:
		return out, &problem{code: exitInvalid, name: "contradiction", silent: a.json == "",
			err:  fmt.Errorf("the evidence contradicts itself: %s", counted(item.Count(attest.Contradiction), "finding")),
			hint: "keep all files as they are, and compare them with backups and with certificates that were handed out"}
	case attest.CodePolicy:
		return out, &problem{code: exitPolicy, name: "omission", silent: a.json == "",
			err:  fmt.Errorf("what is there is authentic, and not all that is due: %s", counted(item.Count(attest.Omission), "finding")),
			hint: "expunge jobs shows how jobs stand; expunge certificate reissue makes a certificate again"}
	}
	return out, nil
}

// auditInput is what the flags and the state give. Nothing is made or changed by it.
func (a *app) auditInput(f auditFlags) (in attest.AuditInput, item auditItem, err error) {
	state, err := a.stateDir()
	if err != nil && (f.log == "" || f.certificates == "" || f.key == "") {
		return in, item, err
	}
	item = auditItem{Log: f.log, From: f.certificates}
	if f.log == "" {
		item.Log = filepath.Join(state, "log")
	}
	if f.certificates == "" {
		item.From = filepath.Join(state, "jobs")
	}
	for _, x := range [][2]string{{"--log", item.Log}, {"--certificates", item.From}} {
		flag, dir := x[0], x[1]
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return in, item, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%s: there is no such directory", dir), hint: "name it with " + flag + " DIR"}
		case err != nil:
			return in, item, err
		case !info.IsDir():
			return in, item, usage(flag+" DIR", fmt.Errorf("%s is not a directory", dir))
		}
	}
	in.Log, in.Certificates = os.DirFS(item.Log), os.DirFS(item.From)
	if in.Trust, err = a.auditTrust(f.key, f.pin); err != nil {
		return in, item, err
	}
	if f.log == "" {
		ag, err := a.agent()
		if err != nil {
			return in, item, err
		}
		in.Unfinished = unfinished(ag)
	}
	if f.certificates == "" {
		// Records of no job lie beside the jobs.
		records := filepath.Join(state, "records")
		if info, err := os.Stat(records); err == nil && info.IsDir() {
			in.Records = os.DirFS(records)
		}
	}
	return in, item, nil
}

func (a *app) auditTrust(key, pin string) (attest.Trust, error) {
	trust, err := a.trust("--key", key, pin)
	if err == nil && trust.Empty() {
		err = usage("--key FILE with the issuer's public key in PEM: expunge key prints it", errors.New("there is no key to check the log with"))
	}
	return trust, err
}

// unfinished tells from a job's own files whether it can still come to an end on a drive. A journal
// that is not there says nothing: whoever took it away would have made an omission look like work.
func unfinished(ag *agent.Agent) func(job, drive string) string {
	return func(job, drive string) string {
		if attended, err := ag.Attended(job); err == nil && attended {
			return attest.AtWork
		}
		j, err := ag.Job(job)
		if err != nil {
			return ""
		}
		for _, d := range j.Drives {
			if drive == "" && !d.Finished() {
				return "interrupted"
			}
			if string(d.Drive.ID) == drive && !d.Finished() && d.Evidence != nil {
				return "interrupted"
			}
		}
		return ""
	}
}

// text is the report for a person: what it comes to, what was found, worst first, and how much was
// looked at.
func (i auditItem) text() string {
	headline := map[int]string{attest.CodeOK: "WHOLE", attest.CodeInvalid: "THE EVIDENCE CONTRADICTS ITSELF", attest.CodePolicy: "AUTHENTIC, NOT COMPLETE"}[i.Code()]
	if i.Simulated {
		headline += " (SIMULATED)"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", i.Log, headline)
	for _, f := range i.Findings {
		fmt.Fprintf(&b, "  %-13s %s\n", strings.ToUpper(string(f.Grade)), f.Code)
		fmt.Fprintf(&b, "    %s\n", f.Message)
		if where := whereFound(f); where != "" {
			fmt.Fprintf(&b, "    %s\n", where)
		}
	}
	trust := map[string]string{"self": "this state's own key: it proves nothing to others"}[i.Trust]
	if trust == "" {
		trust = i.Trust
	}
	fmt.Fprintf(&b, "  log       %s: %s, %s on %s; %s\n", entries(i.Size), counted(i.Intents, "intent"), counted(i.Results, "result"), counted(i.Drives, "drive"), counted(i.Tiles, "tile"))
	for _, status := range slices.Sorted(maps.Keys(i.Outcomes)) {
		fmt.Fprintf(&b, "            %5d %s\n", i.Outcomes[status], status)
	}
	if n := i.Validations + i.Supersedings + i.Manifests + i.Destructions; n > 0 {
		fmt.Fprintf(&b, "            %s, %s, %s, %s\n", counted(i.Validations, "validation"), counted(i.Supersedings, "supersession"), counted(i.Manifests, "manifest"), counted(i.Destructions, "destruction"))
	}
	fmt.Fprintf(&b, "  files     %s, %s in %s\n", counted(i.Certificates, "certificate"), counted(i.Records, "other record"), i.From)
	fmt.Fprintf(&b, "  signed by key %.16s…, %s\n", i.KeyID, trust)
	fmt.Fprintf(&b, "  found     %s, %s, %s\n", counted(i.Count(attest.Contradiction), "contradiction"), counted(i.Count(attest.Omission), "omission"), counted(i.Count(attest.Note), "note"))
	return b.String()
}

// entries is how many entries a log has.
func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// whereFound is where to look. Names of files may be anything.
func whereFound(f attest.Finding) string {
	var parts []string
	if f.Index != nil {
		parts = append(parts, fmt.Sprintf("entry %d", *f.Index))
	}
	if f.Serial != "" {
		parts = append(parts, "drive "+f.Serial)
	}
	if f.Job != "" {
		parts = append(parts, "job "+f.Job)
	}
	if f.File != "" {
		parts = append(parts, fmt.Sprintf("file %q", f.File))
	}
	return strings.Join(parts, ", ")
}
