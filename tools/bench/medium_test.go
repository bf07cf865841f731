package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A program that did not write, or wrote other things, must not have a figure.
func TestMarks(t *testing.T) {
	const size = 1 << 20
	random := make([]byte, size)
	rand.Read(random)
	for _, c := range []struct {
		name  string
		pass  Pass
		write func(f *os.File) error
		good  bool
	}{
		{"nothing", Zeros, func(*os.File) error { return nil }, false},
		{"zeros", Zeros, func(f *os.File) error { return at(f, make([]byte, size), 0) }, true},
		{"random", Random, func(f *os.File) error { return at(f, random, 0) }, true},
		{"random, verified", Verify, func(f *os.File) error { return at(f, random, 0) }, true},
		{"zeros for random", Random, func(f *os.File) error { return at(f, make([]byte, size), 0) }, false},
		{"random for zeros", Zeros, func(f *os.File) error { return at(f, random, 0) }, false},
		{"the same again and again", Random, func(f *os.File) error {
			same := make([]byte, size)
			for i := range same {
				same[i] = 7
			}
			return at(f, same, 0)
		}, false},
		{"not the last part", Zeros, func(f *os.File) error { return at(f, make([]byte, size-markEvery), 0) }, false},
		{"not the first part", Random, func(f *os.File) error { return at(f, random[markEvery:], markEvery) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var loops []Loop
			for _, name := range []string{"good", "tried"} {
				l := Loop{File: filepath.Join(dir, name), Size: size}
				if err := os.WriteFile(l.File, random[:size/2], 0o600); err != nil {
					t.Fatal(err)
				}
				loops = append(loops, l)
			}
			m, err := markDrives(loops)
			if err != nil {
				t.Fatal(err)
			}
			good := random
			if c.pass == Zeros {
				good = make([]byte, size)
			}
			for i, write := range []func(*os.File) error{func(f *os.File) error { return at(f, good, 0) }, c.write} {
				f, err := os.OpenFile(loops[i].File, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(write(f), f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.gone(c.pass); (err == nil) != c.good || err != nil && !errors.Is(err, ErrNotWritten) {
				t.Errorf("%v", err)
			}
		})
	}
}

func at(f *os.File, data []byte, off int64) error {
	_, err := f.WriteAt(data, off)
	return err
}
