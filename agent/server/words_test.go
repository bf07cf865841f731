package server

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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
		if words[key] == "" {
			words[key] = byHand[key]
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
