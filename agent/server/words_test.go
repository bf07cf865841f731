package server

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// update writes what is made of sources again: EXPUNGE_UPDATE=1 go test ./agent/server
var update = os.Getenv("EXPUNGE_UPDATE") != ""

// What a user would lose: a document that says other things than the sources, or nothing, of what a member means.
func TestEveryMemberIsExplained(t *testing.T) {
	s := testServer(t, Options{Service: &scripted{}})
	words := map[string]string{}
	seen := map[reflect.Type]bool{}
	sources := map[string]map[string]string{}
	add := func(of reflect.Type, field string) {
		pkg := strings.TrimPrefix(of.PkgPath(), "github.com/expunge-dev/expunge/")
		if sources[pkg] == nil {
			sources[pkg] = comments(t, pkg)
		}
		key := wordKey(of, field)
		words[key] = sources[pkg][strings.TrimPrefix(key, pkg+".")]
		for _, w := range []string{byHand[key], byName[field]} {
			if words[key] == "" {
				words[key] = w
			}
		}
		if words[key] == "" {
			t.Errorf("nothing says what %s is", key)
		}
	}
	schemas := s.described.Components.Schemas
	for name := range schemas.Map() {
		of := schemas.TypeFromRef("#/components/schemas/" + name)
		if of == nil || seen[of] {
			continue
		}
		seen[of] = true
		add(of, "")
		for _, m := range members(of) {
			add(m.of, m.field)
		}
	}
	data := &bytes.Buffer{}
	e := json.NewEncoder(data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(words); err != nil {
		t.Fatal(err)
	}
	same(t, "words.json", data.Bytes())
}

// What others build on: it changes only when somebody means it to.
func TestTheDocumentIsTheCommittedOne(t *testing.T) {
	o := Options{Service: &scripted{}, Metrics: http.NotFoundHandler()}
	s := testServer(t, o)
	same(t, filepath.Join("..", "..", "docs", "openapi.yaml"), s.OpenAPI())
	for range 3 {
		if !bytes.Equal(testServer(t, o).OpenAPI(), s.OpenAPI()) {
			t.Fatal("it is not the same each time")
		}
	}
	v := serve(t, o)
	if r := v.ask(t, "GET", "/v1/openapi.yaml", ""); r.body != string(s.OpenAPI()) || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("another one is served, of the type %s", r.header.Get("Content-Type"))
	}
	// Everything that is served is described, in words.
	for at, item := range s.described.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put} {
			if op == nil {
				continue
			}
			if op.Summary == "" || op.Description == "" || op.Responses["default"] == nil || len(op.Responses) != 2 {
				t.Errorf("%s %s: %q, %d answers", op.Method, at, op.Summary, len(op.Responses))
			}
			for _, p := range op.Parameters {
				if p.Description == "" && (p.Schema == nil || p.Schema.Description == "") {
					t.Errorf("%s: nothing says what %s is", at, p.Name)
				}
			}
			if _, ok := s.operations[op.Method+" "+at]; !ok {
				t.Errorf("%s %s is not served", op.Method, at)
			}
		}
	}
	for name, schema := range s.described.Components.Schemas.Map() {
		if schema.Description == "" {
			t.Errorf("nothing says what %s is", name)
		}
		for member, p := range schema.Properties {
			if p.Description == "" {
				t.Errorf("nothing says what %s.%s is", name, member)
			}
		}
	}
	// Those who ask say nothing that is not known; those who answer may say more, later.
	for name, closed := range map[string]bool{"StartRequest": true, "PlanRequest": true, "HaltRequest": true, "SanitizeGivenRequest": true, "Job": false, "Problem": false, "Event": false} {
		if is := s.described.Components.Schemas.Map()[name].AdditionalProperties == false; is != closed {
			t.Errorf("%s: further members are refused: %v", name, is)
		}
	}
}

// same compares a committed file with what it is made of.
func same(t *testing.T, name string, want []byte) {
	t.Helper()
	if update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s is not what it is made of (%v): run EXPUNGE_UPDATE=1 go test ./agent/server, twice", name, err)
	}
}

// comments are those of the types of a package and of their fields: "Job", "Job.State".
func comments(t *testing.T, pkg string) map[string]string {
	t.Helper()
	said := map[string]string{}
	say := func(key string, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if g == nil {
				continue
			}
			if said[key] != "" {
				said[key] += " "
			}
			said[key] += strings.Join(strings.Fields(g.Text()), " ")
		}
	}
	dir := filepath.Join("..", "..", pkg)
	names, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				spec := spec.(*ast.TypeSpec)
				doc := spec.Doc
				if doc == nil && len(d.Specs) == 1 {
					doc = d.Doc
				}
				say(spec.Name.Name, doc, spec.Comment)
				st, ok := spec.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, field := range st.Fields.List {
					for _, n := range field.Names {
						say(spec.Name.Name+"."+n.Name, field.Doc, field.Comment)
					}
				}
			}
		}
	}
	return said
}
