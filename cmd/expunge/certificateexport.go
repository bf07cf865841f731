package main

import (
	"context"
	"crypto/sha256"
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
	"github.com/expunge-dev/expunge/attest/render"
	"github.com/expunge-dev/expunge/internal/durable"
)

// exporting is what was asked for.
type exporting struct {
	out, format, site string
	all               bool
}

// formats are the forms of a certificate, by name, with the ends of file names that ask for them. A
// register has many certificates in one file.
var formats = map[string]struct {
	extensions []string
	register   bool
}{
	"json":   {[]string{".json"}, false},
	"pdf":    {[]string{".pdf"}, false},
	"html":   {[]string{".html", ".htm"}, false},
	"qr":     {[]string{".svg"}, false},
	"csv":    {[]string{".csv"}, true},
	"ndjson": {[]string{".ndjson", ".jsonl"}, true},
}

type exportResult struct {
	Format       string   `json:"format"`
	Certificates int      `json:"certificates"`
	File         string   `json:"file,omitempty"`     // when it is one
	Files        []string `json:"files,omitempty"`    // in a directory
	Manifest     string   `json:"manifest,omitempty"` // the signed manifest of a register
}

func (a *app) certificateExportCommand() *cobra.Command {
	var e exporting
	c := &cobra.Command{
		Use: "export {SERIAL | JOB | --all} -o FILE", Short: "copy a certificate to hand out, also as a page or in a register", Args: cobra.MaximumNArgs(1),
		Long: "export hands a certificate out: as it is (json), as a page that carries it (pdf, html), as the QR code of its signed summary (qr, a\n" +
			"picture in SVG), or as rows for other programs (csv, ndjson). The end of FILE's name chooses, or --format. A job of several drives goes\n" +
			"into one csv or ndjson, or with -o DIR/ --format pdf into as many files. Certificates are verified before they are drawn.",
		RunE: a.served("certificate-export", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
			return a.certificateExport(ag, e, args)
		}),
	}
	flags := c.Flags()
	flags.StringVarP(&e.out, "output", "o", "", "`FILE` to write, which must not be there yet, or DIR/; - is standard output")
	flags.StringVar(&e.format, "format", "", "json, pdf, html, qr, csv or ndjson (default: by the end of FILE's name; in DIR/ json)")
	flags.BoolVar(&e.all, "all", false, "every certificate of this state")
	flags.StringVar(&e.site, "site", "", "letterhead of pages: a YAML `FILE` with name, address and logo (default site.yaml of the state, if it is there)")
	return c
}

func (a *app) certificateExport(ag *agent.Agent, e exporting, args []string) (answer, error) {
	directory, err := e.check(args, a.json != "")
	if err != nil {
		return answer{}, err
	}
	found, err := e.find(ag, args)
	if err != nil {
		return answer{}, err
	}
	if len(found) > 1 && !directory && !formats[e.format].register {
		return answer{}, &problem{code: exitNotFound, name: "ambiguous", err: fmt.Errorf("%s has %d certificates", args[0], len(found)),
			hint: "name the drive, or have them all: -o DIR/ --format " + e.format + ", -o FILE.csv"}
	}
	if e.format == "json" && !directory {
		data, err := os.ReadFile(found[0].File)
		if err != nil {
			return answer{}, err
		}
		return a.write(e, exportResult{Format: e.format, Certificates: 1}, data)
	}
	forms, err := a.forms(found, e)
	if err != nil {
		return answer{}, err
	}
	if formats[e.format].register {
		return a.exportRegister(ag, e, forms)
	}
	x := exportResult{Format: e.format, Certificates: len(forms)}
	drawn := make([][]byte, len(forms))
	for i, f := range forms {
		if drawn[i], err = draw(ag, e.format, f); err != nil {
			return answer{}, fmt.Errorf("%s: %w", found[i].File, err)
		}
	}
	if directory {
		return e.writeAll(x, found, drawn)
	}
	return a.write(e, x, drawn[0])
}

// check settles the format, and whether the output is a directory.
func (e *exporting) check(args []string, document bool) (directory bool, err error) {
	names := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
	switch {
	case e.out == "":
		return false, usage("-o FILE, or -o - for standard output", errors.New("there is no place to export to"))
	case e.out == "-" && document:
		return false, usage("-o FILE", errors.New("standard output is taken by --json"))
	case e.all && len(args) > 0 || !e.all && len(args) == 0:
		return false, usage("expunge certificate list shows them", errors.New("name a drive or a job, or --all of them"))
	}
	info, err := os.Stat(e.out)
	directory = strings.HasSuffix(e.out, "/") || err == nil && info.IsDir()
	extension := strings.ToLower(filepath.Ext(e.out))
	switch {
	case e.format != "":
	case directory:
		e.format = "json" // what each of them is
	case extension == "" || e.out == "-":
		e.format = "json"
	default:
		for name, f := range formats {
			if slices.Contains(f.extensions, extension) {
				e.format = name
			}
		}
	}
	f, known := formats[e.format]
	switch {
	case !known && e.format == "":
		return false, usage("--format "+names, fmt.Errorf("%s: the name's end says nothing of a format", e.out))
	case !known:
		return false, usage("--format "+names, fmt.Errorf("%q is no format of a certificate", e.format))
	case f.register && directory:
		return false, usage("-o FILE."+e.format, fmt.Errorf("%s is one file", e.format))
	case e.all && !f.register && !directory:
		return false, usage("-o DIR/, or --format csv", errors.New("all certificates do not go into one page"))
	}
	return directory, nil
}

func (e exporting) find(ag *agent.Agent, args []string) ([]agent.Certificate, error) {
	if !e.all {
		return findCertificates(ag, args[0])
	}
	found, err := ag.Certificates()
	if err == nil && len(found) == 0 {
		err = &problem{code: exitNotFound, name: "not_found", err: errors.New("there is no certificate in this state"), hint: "expunge jobs lists what was done"}
	}
	return found, err
}

// forms verifies certificates, all of them or none. What this state would not vouch for is not drawn.
func (a *app) forms(found []agent.Certificate, e exporting) ([]*render.Form, error) {
	trust, err := a.ownTrust()
	if err != nil {
		return nil, err
	}
	var site render.Site
	if e.format == "pdf" || e.format == "html" {
		if site, err = a.site(e.site); err != nil {
			return nil, err
		}
	}
	var forms []*render.Form
	for _, c := range found {
		data, err := os.ReadFile(c.File)
		if err != nil {
			return nil, err
		}
		r := attest.Verify(data, trust)
		if r.Result == nil {
			return nil, &problem{code: exitInvalid, name: "invalid", err: fmt.Errorf("%s: %s", c.File, r.Reasons[0].Message), hint: "expunge certificate reissue " + c.Drive.Serial}
		}
		if r.Trust == "untrusted" {
			return nil, &problem{code: exitPolicy, name: "untrusted_key", err: fmt.Errorf("%s: %s", c.File, r.Reasons[0].Message), hint: "it is not of this state: export it as json"}
		}
		f, err := render.New(r, data, site)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.File, err)
		}
		forms = append(forms, f)
	}
	return forms, nil
}

// draw makes one form. A page is sealed by the log of the state.
func draw(ag *agent.Agent, format string, f *render.Form) ([]byte, error) {
	switch format {
	case "pdf":
		page, err := f.PDF()
		if err != nil {
			return nil, err
		}
		return render.Seal(page, f.Bundle(), ag.SignNote)
	case "html":
		return f.HTML()
	case "qr":
		data, err := f.QR()
		if errors.Is(err, render.ErrNoSummary) {
			return nil, &problem{code: exitNotFound, name: "no_summary", err: err, hint: "export it as pdf or json"}
		}
		return data, err
	}
	return f.Bundle(), nil
}

// exportRegister writes a register, and beside it its signed manifest.
func (a *app) exportRegister(ag *agent.Agent, e exporting, forms []*render.Form) (answer, error) {
	rows := map[string]func([]*render.Form) ([]byte, error){"csv": render.CSV, "ndjson": render.NDJSON}[e.format]
	data, err := rows(forms)
	if err != nil {
		return answer{}, err
	}
	x := exportResult{Format: e.format, Certificates: len(forms)}
	if e.out == "-" {
		a.say("without a signed manifest: there is no file that it could be of")
		return a.write(e, x, data)
	}
	x.Manifest = e.out + ".manifest"
	if err := fresh(x.Manifest); err != nil {
		return answer{}, err
	}
	manifest, err := ag.SignRegister(filepath.Base(e.out), sha256.Sum256(data))
	if err != nil {
		return answer{}, fmt.Errorf("sign manifest of %s: %w", e.out, err)
	}
	out, err := a.write(e, x, data)
	if err != nil {
		return answer{}, err
	}
	return out, create(x.Manifest, manifest)
}

// write writes the one file.
func (a *app) write(e exporting, x exportResult, data []byte) (answer, error) {
	if e.out == "-" {
		_, err := a.stdout.Write(data)
		return answer{}, err
	}
	if err := fresh(e.out); err != nil {
		return answer{}, err
	}
	x.File = e.out
	if err := create(e.out, data); err != nil {
		return answer{}, err
	}
	return x.answer(), nil
}

// writeAll writes one file for each certificate, named by drive and job, into a directory that is made where it is missing.
// None is written when one of them is there already.
func (e exporting) writeAll(x exportResult, found []agent.Certificate, drawn [][]byte) (answer, error) {
	for _, c := range found {
		name := filepath.Join(e.out, fileWord(c.Drive.Serial)+"-"+fileWord(c.Job)+formats[e.format].extensions[0])
		if slices.Contains(x.Files, name) {
			return answer{}, usage("export them one by one", fmt.Errorf("two drives of a job would both become %s", name))
		}
		if err := fresh(name); err != nil {
			return answer{}, err
		}
		x.Files = append(x.Files, name)
	}
	target, err := filepath.Abs(e.out)
	if err != nil {
		return answer{}, err
	}
	if err := durable.MkdirAll(target, 0o755); err != nil {
		return answer{}, outputProblem(e.out, err)
	}
	for i, name := range x.Files {
		if err := create(name, drawn[i]); err != nil {
			return answer{}, err
		}
	}
	return x.answer(), nil
}

// fileWord spells a word of a drive so that it is one name in any directory.
func fileWord(s string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
	plain = strings.TrimLeft(plain, ".-")
	return plain[:min(len(plain), 80)]
}

// fresh says whether a file can be made anew.
func fresh(name string) error {
	if _, err := os.Lstat(name); err == nil {
		return usage("choose another name, or remove it first", fmt.Errorf("%s is there already", name))
	}
	return nil
}

func create(name string, data []byte) error {
	return createFile(name, data, 0o644)
}

func (x exportResult) answer() answer {
	return answer{result: x, text: func(w io.Writer) error {
		names := x.Files
		for _, one := range []string{x.File, x.Manifest} {
			if one != "" {
				names = append(names, one)
			}
		}
		_, err := fmt.Fprintln(w, strings.Join(names, "\n"))
		return err
	}}
}
