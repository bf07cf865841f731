package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What a user would lose: a certificate or key that is half there, or readable by others.
func TestFilesAreWholeAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "key")
	if err := CreateFile(name, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(name, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second CreateFile: %v, want fs.ErrExist", err)
	}
	if got, _ := os.ReadFile(name); string(got) != "one" {
		t.Fatalf("CreateFile replaced a file: %q", got)
	}
	if err := WriteFile(name, []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	info, _ := os.Stat(name)
	if err != nil || string(got) != "three" || info.Mode().Perm() != 0o600 {
		t.Fatalf("after WriteFile: %q, %v, mode %v", got, err, info.Mode())
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Fatalf("temporary files were left: %v, %v", left, err)
	}
}

func TestFailureLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "sub")
	if err := Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(name, []byte("x"), 0o600); err == nil {
		t.Fatal("a directory was replaced by a file")
	}
	if err := Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Mkdir on an existing directory: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := CreateFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(file, "x"), 0o700); err == nil {
		t.Fatal("made a directory below a file")
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Fatalf("temporary files were left: %v", left)
	}
}
