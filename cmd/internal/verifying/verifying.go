// Package verifying is the command that checks certificates, as both programs have it.
package verifying

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/expunge-dev/expunge/attest"
)

// Options say what to check and against what.
type Options struct {
	Files          []string // "-" is standard input
	Trust          attest.Trust
	AllowSimulated bool
	JSON           bool
	Stream         bool   // JSON as lines, one per file
	Prog           string // for messages
}

// CodeIO: a file could not be read.
const CodeIO = 1

// CodeNotFound: there is no such file.
const CodeNotFound = 3

// Item is what is said of one file.
type Item struct {
	File    string          `json:"file"`
	Verdict string          `json:"verdict"`
	Code    int             `json:"code"`
	Reasons []attest.Reason `json:"reasons"`
	Outcome string          `json:"outcome,omitempty"`
	Method  string          `json:"method,omitempty"`
	Drive   *Drive          `json:"drive,omitempty"`
	Trust   Trust           `json:"trust"`
	result  *attest.Result
}

// Drive is the drive that a certificate speaks of, from verified bytes.
type Drive struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Serial string `json:"serial"`
	WWN    string `json:"wwn,omitempty"`
	Size   int64  `json:"size_bytes"`
	Scope  string `json:"scope"`
}

// Trust says whose word it is.
type Trust struct {
	Level     string `json:"level"` // trusted, self or untrusted
	KeyID     string `json:"keyid,omitempty"`
	Simulated bool   `json:"simulated"`
	LogIndex  int64  `json:"log_index"`
	LogSize   int64  `json:"log_size"`
}

type document struct {
	Schema     string          `json:"schema"`
	ExitStatus int             `json:"exit_status"`
	Items      []Item          `json:"items"`
	Errors     []attest.Reason `json:"errors"`
}

// Run checks every file and returns the exit code: 11 > 1 > 3 > 12 > 13 > 0.
func Run(stdin io.Reader, stdout, stderr io.Writer, o Options) int {
	doc := document{Schema: "expunge/verify/v1", Items: []Item{}, Errors: []attest.Reason{}}
	codes := map[int]bool{}
	for _, file := range o.Files {
		item := check(stdin, file, o)
		codes[item.Code] = true
		doc.Items = append(doc.Items, item)
		if item.Code == CodeIO || item.Code == CodeNotFound {
			doc.Errors = append(doc.Errors, item.Reasons...)
		}
	}
	for _, code := range []int{attest.CodeInvalid, CodeIO, CodeNotFound, attest.CodePolicy, attest.CodeOutcome} {
		if codes[code] {
			doc.ExitStatus = code
			break
		}
	}
	if err := write(stdout, stderr, doc, o); err != nil {
		fmt.Fprintf(stderr, "%s: write result: %v\n", o.Prog, err)
		return CodeIO
	}
	return doc.ExitStatus
}

func write(stdout, stderr io.Writer, doc document, o Options) error {
	if o.JSON {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		if o.Stream {
			return streamed(enc, doc)
		}
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	}
	for _, item := range doc.Items {
		if _, err := io.WriteString(stdout, item.text()); err != nil {
			return err
		}
		for _, r := range item.Reasons {
			fmt.Fprintf(stderr, "%s: %s: %s\n", o.Prog, item.File, r.Message)
			if r.Hint != "" {
				fmt.Fprintf(stderr, "%s:   %s\n", o.Prog, r.Hint)
			}
		}
	}
	return nil
}

func streamed(enc *json.Encoder, doc document) error {
	for _, item := range doc.Items {
		if err := enc.Encode(map[string]any{"type": "item", "item": item}); err != nil {
			return err
		}
	}
	return enc.Encode(map[string]any{"type": "result", "schema": doc.Schema, "exit_status": doc.ExitStatus, "errors": doc.Errors})
}

func check(stdin io.Reader, file string, o Options) Item {
	data, err := read(stdin, file)
	if err != nil {
		code := CodeIO
		if errors.Is(err, fs.ErrNotExist) {
			code = CodeNotFound
		}
		return Item{File: file, Verdict: "unreadable", Code: code, Trust: Trust{Level: "untrusted"},
			Reasons: []attest.Reason{{Code: "unreadable", Message: err.Error(), Hint: "give the path of a certificate.json"}}}
	}
	r := attest.Verify(data, o.Trust)
	if o.AllowSimulated {
		r = r.AllowSimulated()
	}
	item := Item{File: file, Verdict: r.Verdict(), Code: r.Code, Reasons: r.Reasons, result: r.Result,
		Trust: Trust{r.Trust, r.KeyID, r.Simulated, r.LogIndex, r.LogSize}}
	if item.Reasons == nil {
		item.Reasons = []attest.Reason{}
	}
	if r.Result != nil {
		d := r.Result.Device
		item.Outcome, item.Method = r.Result.Outcome.Status, r.Result.Outcome.Method
		item.Drive = &Drive{d.ID, d.Model, d.Serial, d.WWN, d.SizeBytes, r.Result.Scope}
	}
	return item
}

// read takes regular files only, and never more than a certificate can have.
func read(stdin io.Reader, file string) ([]byte, error) {
	r := stdin
	if file != "-" {
		info, err := os.Stat(file)
		if err != nil {
			return nil, plain(err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("not a regular file but %v", info.Mode().Type())
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, plain(err)
		}
		defer func() { _ = f.Close() }() // read-only
		r = f
	}
	return io.ReadAll(io.LimitReader(r, attest.MaxSize+1))
}

// plain drops the path, which the line has already.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// text is the answer for a person: what it is worth first, then whose word it is, then what.
func (i Item) text() string {
	if i.Code == CodeIO || i.Code == CodeNotFound {
		return fmt.Sprintf("%s: not read, so nothing was judged\n", i.File)
	}
	if i.result == nil {
		return fmt.Sprintf("%s: INVALID\n", i.File)
	}
	r := i.result
	headline := map[int]string{attest.CodeOK: "VALID", attest.CodePolicy: "POLICY NOT MET", attest.CodeOutcome: "AUTHENTIC, NOT SANITIZED"}[i.Code]
	if i.Trust.Simulated {
		headline += " (SIMULATED)"
	}
	s := fmt.Sprintf("%s: %s\n", i.File, headline)
	s += fmt.Sprintf("  drive     %s %s, %d bytes\n", r.Device.Model, r.Device.Serial, r.Device.SizeBytes)
	s += fmt.Sprintf("  outcome   %s\n", Words(*r))
	s += fmt.Sprintf("  technique %s, policy %s, scope %s\n", r.Sanitization.Technique, r.Policy.Name, r.Scope)
	s += fmt.Sprintf("  read back %s\n", readBack(r.Verification))
	for _, o := range r.Sanitization.Operations {
		s += fmt.Sprintf("  operation %s: %s\n", o.Technique, map[bool]string{true: "the drive reports: " + o.Status + "; " + o.Because, false: "not complete"}[o.Complete])
	}
	if m := r.Verification.Markers; m != nil && m.Changed+m.Unchanged+m.Unreadable > 0 {
		s += fmt.Sprintf("  markers   %d of %d gone, %d left, %d unreadable\n", m.Changed, m.Set, m.Unchanged, m.Unreadable)
	}
	for _, w := range r.Sanitization.Excludes {
		s += "  excludes  " + w + "\n"
	}
	for _, w := range r.Sanitization.RestsOn {
		s += "  rests on  " + w + "\n"
	}
	for _, w := range r.Sanitization.Warnings {
		s += "  note      " + w + "\n"
	}
	if r.Sanitization.Finished != "" {
		s += fmt.Sprintf("  when      %s to %s (host clock)\n", r.Sanitization.Started, r.Sanitization.Finished)
	}
	s += fmt.Sprintf("  signed by key %.16s…, %s; log entry %d of %d\n", i.Trust.KeyID, trustWords(i.Trust.Level), i.Trust.LogIndex, i.Trust.LogSize)
	return s
}

func trustWords(level string) string {
	if level == "self" {
		return "this state's own key: it proves nothing to others"
	}
	return level
}

func readBack(v attest.Verification) string {
	if v.Mode == "status" {
		return "nothing (completion status only)"
	}
	if v.Samples == 1 {
		return fmt.Sprintf("%s, %s: %d bytes, %.1f %% of the drive, %d mismatches, %d read errors",
			v.Mode, v.Result, v.Bytes, float64(v.CoveragePPM)/1e4, v.Mismatches, v.ReadErrors)
	}
	return fmt.Sprintf("%s, %s: %d bytes in %d areas, %.1f %% of the drive, %d mismatches, %d read errors",
		v.Mode, v.Result, v.Bytes, v.Samples, float64(v.CoveragePPM)/1e4, v.Mismatches, v.ReadErrors)
}

// Words puts an outcome as people say it.
func Words(r attest.Result) string {
	how := "verified"
	if r.Verification.Mode == "status" {
		how = "status only"
	}
	achieved := map[string]string{"clear": "CLEARED", "purge": "PURGED"}[r.Outcome.Method]
	switch r.Outcome.Status {
	case "sanitized":
		return achieved + " " + how
	case "exceptions":
		return fmt.Sprintf("%s %s, but for %d bytes", achieved, how, r.Outcome.ExceptionBytes)
	case "refused":
		return "REFUSED - not touched"
	case "unproven":
		return "UNPROVEN - holds data"
	}
	return "FAILED - holds data"
}
