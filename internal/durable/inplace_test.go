package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What is written in place fills the file that is there, and never makes it longer or leaves anything of what was in it.
func TestOverwrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := Overwrite(name, []byte("x"), ' '); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made a file: %v", err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"abc": "abc       ", "": "          ", "abcdefghij": "abcdefghij"} {
		if err := Overwrite(name, []byte(text), ' '); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(name)
		now, errStat := os.Stat(name)
		if err := errors.Join(err, errStat); err != nil || string(data) != want || !os.SameFile(before, now) {
			t.Errorf("%q, %v", data, err)
		}
	}
	if err := Overwrite(name, []byte("abcdefghijk"), ' '); !errors.Is(err, ErrSlot) {
		t.Errorf("%v", err)
	}
	if err := Overwrite(filepath.Dir(name), nil, ' '); err == nil {
		t.Error("a directory was written to")
	}
}
