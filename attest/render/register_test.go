package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// rowsOf reads a register again, as any program does, and names its cells.
func rowsOf(t *testing.T, data []byte) []map[string]string {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, cells := range all[1:] {
		row := map[string]string{}
		for i, c := range cells {
			row[all[0][i]] = c
		}
		rows = append(rows, row)
	}
	return rows
}

func TestCSV(t *testing.T) {
	good, bad := sample(t, nil), sample(t, samples["exceptions"])
	data, err := CSV([]*Form{good, bad})
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(data, []byte("\r\n")); lines != 3 || bytes.Count(data, []byte("\n")) != lines {
		t.Errorf("%d lines that end in CR LF of %d", lines, bytes.Count(data, []byte("\n")))
	}
	rows := rowsOf(t, data)
	for name, want := range map[string]string{"serial": "S676NX0R123456", "outcome": "sanitized", "words": "PURGED verified", "method": "purge", "simulated": "false", "size_bytes": "1024209543168",
		"certificate_sha256": sha256Hex(good.bundle), "keyid": good.report.KeyID, "log_origin": good.report.LogOrigin, "log_index": "2", "given_asset_tag": "EB-0047112", "given_operator": "Zo\u00eb M\u00fcller", "reason": ""} {
		if rows[0][name] != want {
			t.Errorf("%s is %q, want %q", name, rows[0][name], want)
		}
	}
	if rows[1]["outcome"] != "exceptions" || rows[1]["exception_bytes"] != "14336" || !strings.Contains(rows[1]["words"], "but for 14336 bytes") {
		t.Errorf("the second row: %v", rows[1])
	}
	if _, err := CSV(nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("a register of nothing: %v", err)
	}
}

// A spreadsheet runs nothing that a drive or a person said.
func TestCSVIsInert(t *testing.T) {
	for _, hostile := range []string{`=HYPERLINK("http://x","y")`, "+1+1", "-2+3", "@SUM(A1)"} {
		data, err := CSV([]*Form{sample(t, everywhere(hostile))})
		if err != nil {
			t.Fatal(err)
		}
		for name, cell := range rowsOf(t, data)[0] {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%s begins a formula: %s", name, cell)
			}
		}
		if got := rowsOf(t, data)[0]["given_notes"]; got != "'"+hostile {
			t.Errorf("the words changed: %q", got)
		}
	}
	for _, cell := range []string{"\t=1", "\r=1"} {
		if inert(cell) != "'"+cell {
			t.Errorf("%q stays %q", cell, inert(cell))
		}
	}
	data, err := CSV([]*Form{sample(t, func(r *attest.Result) { r.Given.Notes = "a,\"b\" c" })})
	if err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(t, data)[0]["given_notes"]; got != "a,\"b\" c" {
		t.Errorf("quotes: %q", got)
	}
}

func TestNDJSON(t *testing.T) {
	f := sample(t, samples["exceptions"])
	data, err := NDJSON([]*Form{f, sample(t, samples["status"])})
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	var first, second map[string]any
	if err := errors.Join(json.Unmarshal(lines[0], &first), json.Unmarshal(lines[1], &second)); err != nil {
		t.Fatal(err)
	}
	if first["schema"] != RecordSchema || first["serial"] != "WD-WCC7K1234567" || first["exception_bytes"] != 14336.0 || len(first["exceptions"].([]any)) != 7 || first["simulated"] != false || first["log_index"] != 2.0 {
		t.Errorf("%s", lines[0])
	}
	if _, there := second["given_operator"]; there {
		t.Error("what was not given is there")
	}
	for name := range first {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(name) {
			t.Errorf("member %q", name)
		}
	}
	if _, err := NDJSON(nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("a register of nothing: %v", err)
	}
}

// Columns are an interface: each is documented, in its order.
func TestColumnsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/forms.md")
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, c := range columns {
		next := strings.Index(string(doc[at:]), "| `"+c.name+"` |")
		if next < 0 {
			t.Fatalf("docs/forms.md does not have column %s, or not in its order", c.name)
		}
		at += next + 1
	}
	if documented := bytes.Count(doc[bytes.Index(doc, []byte("| column |")):], []byte("\n| `")); documented != len(columns) {
		t.Errorf("%d columns are documented, and there are %d", documented, len(columns))
	}
}

// Everything that people can say has its column.
func TestRegisterHasAllThatWasGiven(t *testing.T) {
	row := rowsOf(t, mustCSV(t, sample(t, func(r *attest.Result) { everywhere("said")(r); r.Given.Destination = "other" })))[0]
	short := map[string]string{"destinationDetails": "destination_details", "assetTag": "asset_tag", "backedUp": "backed_up"}
	var names []string
	for _, of := range []struct {
		prefix string
		fields reflect.Type
	}{{"given_", reflect.TypeFor[attest.Given]()}, {"given_operator_", reflect.TypeFor[attest.Person]()}} {
		for f := range of.fields.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if s := short[name]; s != "" {
				name = s
			}
			names = append(names, strings.TrimSuffix(of.prefix+name, "_name"))
		}
	}
	for _, name := range names {
		if cell, there := row[name]; !there || cell == "" {
			t.Errorf("%s is not in the register", name)
		}
	}
}

func mustCSV(t *testing.T, f *Form) []byte {
	t.Helper()
	data, err := CSV([]*Form{f})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
