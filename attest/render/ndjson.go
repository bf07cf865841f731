package render

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/expunge-dev/expunge/attest"
)

// RecordSchema is in each line of NDJSON.
const RecordSchema = "expunge/certificate-record/v1"

// NDJSON is a register of certificates: one JSON object on each line, with the members of CSV and with
// lists. What a certificate does not say is absent.
func NDJSON(forms []*Form) ([]byte, error) {
	if len(forms) == 0 {
		return nil, ErrEmpty
	}
	var out bytes.Buffer
	for _, f := range forms {
		line, err := f.record()
		if err != nil {
			return nil, fmt.Errorf("write NDJSON: %w", err)
		}
		out.Write(line)
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// record is one object, with its members in the order of the columns.
func (f *Form) record() ([]byte, error) {
	r := f.result()
	out := []byte(`{"schema":"` + RecordSchema + `"`)
	member := func(name string, v any) error {
		if v == nil {
			return nil
		}
		var value bytes.Buffer
		enc := json.NewEncoder(&value)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		out = fmt.Appendf(out, ",%q:%s", name, bytes.TrimSuffix(value.Bytes(), []byte("\n")))
		return nil
	}
	for _, c := range columns {
		if err := member(c.name, c.value(f, r)); err != nil {
			return nil, err
		}
	}
	for _, list := range []struct {
		name string
		v    []string
	}{{"nodes", r.Device.Nodes}, {"not_reached", r.Sanitization.Excludes}, {"rests_on", r.Sanitization.RestsOn}, {"warnings", r.Sanitization.Warnings}} {
		if err := member(list.name, append([]string{}, list.v...)); err != nil {
			return nil, err
		}
	}
	if err := member("exceptions", exceptionRecords(r.Outcome.Exceptions)); err != nil {
		return nil, err
	}
	if err := member("exceptions_omitted", r.Outcome.ExceptionsOmitted); err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}

type exceptionRecord struct {
	Kind   string `json:"kind"`
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
}

func exceptionRecords(list []attest.Exception) []exceptionRecord {
	out := []exceptionRecord{}
	for _, e := range list {
		out = append(out, exceptionRecord(e))
	}
	return out
}
