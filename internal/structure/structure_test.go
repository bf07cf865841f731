// Package structure keeps the rules of the tree as tests: which package may import which, that
// every package says what it is, and what no package may do.
package structure

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/expunge-dev/expunge/"

// source is one Go file of the tree.
type source struct {
	path    string // relative to the root
	dir     string
	test    bool
	file    *ast.File
	lines   int
	imports []string // of this module without its name; others whole
}

func tree(t *testing.T) []source {
	t.Helper()
	const root = "../.."
	var list []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, data, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: rel, dir: filepath.Dir(rel), test: strings.HasSuffix(path, "_test.go"), file: f, lines: strings.Count(string(data), "\n")}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, strings.TrimPrefix(name, module))
		}
		list = append(list, s)
		return nil
	})
	if err != nil || len(list) < 40 {
		t.Fatalf("%d files, %v", len(list), err)
	}
	return list
}

// within says whether a package is a folder or lies below it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// Know, destroy, prove, serve: imports go one way.
func TestImportsGoOneWay(t *testing.T) {
	forbidden := []struct {
		from string
		to   []string
		why  string
	}{
		{"devices", []string{"sanitize", "attest", "agent", "cmd"}, "devices decides nothing and signs nothing"},
		{"devices/scsi", []string{"devices/virtual", "devices/nvme"}, "codecs and emulator are written apart"},
		{"devices/nvme", []string{"devices/virtual", "devices/scsi"}, "codecs and emulator are written apart"},
		{"devices/ata", []string{"devices/virtual", "devices/nvme"}, "codecs and emulator are written apart"},
		{"devices/tcg", []string{"devices/virtual", "devices/scsi", "devices/ata", "devices/nvme"}, "codecs and emulator are written apart, and a TPer is behind any of the command sets"},
		{"devices/virtual", []string{"devices/ata", "devices/tcg"}, "codecs and emulator are written apart"},
		{"sanitize", []string{"attest", "agent", "cmd"}, "sanitize never signs"},
		{"attest", []string{"devices", "sanitize", "agent", "cmd"}, "the wire format is independent of everything"},
		{"attest", []string{"attest/keystore"}, "what verifies links no private keys"},
		{"cmd/expunge-verify", []string{"attest/keystore", "agent"}, "what verifies links no private keys"},
		{"cmd/internal/verifying", []string{"attest/keystore", "agent"}, "what verifies links no private keys"},
		{"agent", []string{"cmd"}, "a service does not know its commands"},
		{"agent/api", []string{"agent/server", "agent/client", "agent/access"}, "an interface does not know who speaks it"},
		{"agent/client", []string{"agent/server", "agent/access"}, "a client knows the interface alone"},
		{"agent/server", []string{"agent/client"}, "a server knows the interface alone"},
		{"sanitize/journal", []string{"devices", "sanitize/overwrite"}, "a journal does not know what it records"},
		{"sanitize/overwrite", []string{"sanitize/journal", "sanitize"}, "the write engine does not know plans"},
		{"sanitize/rules", []string{"devices", "sanitize/journal", "sanitize/overwrite"}, "rules know facts, and no drives"},
		{"cmd/expunge-verify", []string{"attest/render"}, "the verifier draws nothing, and stays small"},
		{"cmd/internal", []string{"attest/render"}, "the verifier draws nothing, and stays small"},
		{"internal/durable", []string{"devices", "sanitize", "attest", "agent", "cmd"}, "internal has no place in the story"},
	}
	for _, s := range tree(t) {
		for _, imported := range s.imports {
			for _, rule := range forbidden {
				for _, to := range rule.to {
					if !s.test && within(s.dir, rule.from) && within(imported, to) && !within(s.dir, to) {
						t.Errorf("%s imports %s: %s", s.path, imported, rule.why)
					}
				}
			}
			if imported == "devices/virtual" && !s.test && !within(s.dir, "cmd") {
				t.Errorf("%s imports devices/virtual: only commands and tests may", s.path)
			}
		}
	}
}

func TestDangerousThingsHaveOnePlace(t *testing.T) {
	for _, s := range tree(t) {
		for _, imported := range s.imports {
			switch {
			case within(s.dir, "internal/e2e"): // runs kernels, for tests
			case within(s.dir, "tools") && (imported == "os/exec" || strings.HasPrefix(imported, "golang.org/x/sys")): // runs other programs, and is not shipped
			case imported == "os/exec" && !s.test:
				t.Errorf("%s imports os/exec: we never shell out", s.path)
			case strings.HasPrefix(imported, "golang.org/x/sys") && !within(s.dir, "devices") && !within(s.dir, "internal"):
				t.Errorf("%s imports %s: the kernel's door is devices, or internal", s.path, imported)
			case imported == "math/rand" || imported == "math/rand/v2" && !s.test && !within(s.dir, "devices/virtual"):
				t.Errorf("%s imports %s: what must not be guessed comes from crypto/rand", s.path, imported)
			case imported == "unsafe" && !within(s.dir, "devices"):
				t.Errorf("%s imports unsafe", s.path)
			}
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" && !endsConnection(call) {
					t.Errorf("%s calls panic: bad input is refused with an error", s.path)
				}
			}
			return true
		})
	}
}

// endsConnection says whether a call of panic is how a handler of net/http ends its connection.
func endsConnection(call *ast.CallExpr) bool {
	s, ok := call.Args[0].(*ast.SelectorExpr)
	return ok && s.Sel.Name == "ErrAbortHandler"
}

// What the emulator and the codecs share would be wrong in both and right in every test.
func TestEmulatorSharesNothingWithCodecs(t *testing.T) {
	for _, s := range tree(t) {
		if s.test || !within(s.dir, "devices/virtual") {
			continue
		}
		codecs := map[string]bool{}
		for _, i := range s.file.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if path == module+"devices/scsi" || path == module+"devices/nvme" {
				codecs[filepath.Base(path)] = true
			}
		}
		// The doors of the seam are all that it may name.
		allowed := []string{"Command", "Result", "Completion"}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && codecs[x.Name] && !slices.Contains(allowed, sel.Sel.Name) {
				t.Errorf("%s uses %s.%s of the codec", s.path, x.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range tree(t) {
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("no file of %s has a package comment", dir)
		}
	}
}

func TestExportedThingsAreExplained(t *testing.T) {
	for _, s := range tree(t) {
		if s.test || within(s.dir, "cmd") || ast.IsGenerated(s.file) {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && d.Recv == nil {
					t.Errorf("%s: func %s has no comment", s.path, d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil && ts.Comment == nil {
						t.Errorf("%s: type %s has no comment", s.path, ts.Name)
					}
				}
			}
		}
	}
}

// A file is one idea. Past 600 lines it needs a reason, which this list would give.
func TestFilesAreShort(t *testing.T) {
	reasons := map[string]string{"tools/apiclient/generated/client.go": "a generator makes it, and a test compares"}
	for _, s := range tree(t) {
		if s.lines > 600 && reasons[s.path] == "" {
			t.Errorf("%s has %d lines", s.path, s.lines)
		}
	}
}

// The project speaks of itself alone.
func TestNoForeignWords(t *testing.T) {
	for _, s := range tree(t) {
		for _, group := range s.file.Comments {
			text := group.Text()
			for _, word := range []string{"TODO", "FIXME", "XXX", fmt.Sprint("/wo", "rk/")} {
				if strings.Contains(text, word) {
					t.Errorf("%s: a comment says %s", s.path, word)
				}
			}
		}
	}
}
