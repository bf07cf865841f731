package verifying

import (
	"bytes"
	"encoding/json"
	"io"
)

// Schema names what --json prints.
const Schema = "expunge/verify/v1"

// encoder writes what a browser is not meant to read.
func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// document prints one JSON document. Its items are written as they come, so that it need not be
// held; what is known last stands last.
type document struct {
	out   io.Writer
	items int
}

func (d *document) item(i Item) error {
	before := ",\n    "
	if d.items == 0 {
		before = "{\n  \"schema\": \"" + Schema + "\",\n  \"items\": [\n    "
	}
	d.items++
	var b bytes.Buffer
	b.WriteString(before)
	enc := encoder(&b)
	enc.SetIndent("    ", "  ")
	if err := enc.Encode(i); err != nil {
		return err
	}
	_, err := d.out.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}

func (d *document) notJudged(NotJudged) error { return nil } // the ending has them

func (d *document) end(e ending) error {
	var b bytes.Buffer
	enc := encoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return err
	}
	before := "\n  ],\n"
	if d.items == 0 {
		before = "{\n  \"schema\": \"" + Schema + "\",\n  \"items\": [],\n"
	}
	_, err := io.WriteString(d.out, before+string(bytes.TrimPrefix(b.Bytes(), []byte("{\n"))))
	return err
}

// lines prints one JSON object per line: items and what was not judged, findings, and the rest.
type lines struct{ enc *json.Encoder }

func newLines(w io.Writer) lines { return lines{encoder(w)} }

func (l lines) item(i Item) error { return l.enc.Encode(map[string]any{"type": "item", "item": i}) }

func (l lines) notJudged(n NotJudged) error {
	return l.enc.Encode(map[string]any{"type": "not_judged", "item": n})
}

func (l lines) end(e ending) error {
	last := map[string]any{"type": "result", "schema": Schema, "exit_status": e.ExitStatus, "summary": e.Summary, "errors": e.Errors}
	if e.Against != nil {
		for _, f := range e.Against.Findings {
			if err := l.enc.Encode(map[string]any{"type": "finding", "item": f}); err != nil {
				return err
			}
		}
		last["against"] = map[string]any{"file": e.Against.File, "serials": e.Against.Serials, "with_success": e.Against.WithSuccess, "destroyed": e.Against.Destroyed}
	}
	return l.enc.Encode(last)
}
