package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) }

type note struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

// written makes a journal of n records and returns its bytes and where each record ends.
func written(t testing.TB, name string, n int) (data []byte, ends []int) {
	t.Helper()
	j, err := Create(name, clock)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := j.Append("note", note{i, "<é&>"}); err != nil {
			t.Fatal(err)
		}
		data, err = os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(data))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return data, ends
}

// A power cut can leave any prefix of the last write, or zeros in its place. Every acknowledged
// record must survive and the journal must go on.
func TestEveryTornTail(t *testing.T) {
	dir := t.TempDir()
	data, ends := written(t, filepath.Join(dir, "whole"), 4)
	for cut := range len(data) + 1 {
		whole := 0
		for _, e := range ends {
			if e <= cut {
				whole++
			}
		}
		for _, zeros := range []int{0, 17} {
			name := filepath.Join(dir, fmt.Sprintf("cut-%d-%d", cut, zeros))
			torn := append(bytes.Clone(data[:cut]), make([]byte, zeros)...)
			if err := os.WriteFile(name, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			j, records, err := Open(name, clock)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if len(records) != whole {
				t.Fatalf("cut at %d: %d records, want %d", cut, len(records), whole)
			}
			if _, err := j.Append("note", note{99, "after"}); err != nil {
				t.Fatal(err)
			}
			head, n := j.Head()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			p, err := Read(name)
			if err != nil || len(p.Records) != whole+1 || p.Head != head || n != int64(whole+1) {
				t.Fatalf("cut at %d, appended: %d records, head %s, %v", cut, len(p.Records), p.Head, err)
			}
		}
	}
}

// Anything that an edit, a splice or bit rot can do to an acknowledged record must be an error,
// never a shorter history.
func TestTamperingIsCorruption(t *testing.T) {
	dir := t.TempDir()
	data, ends := written(t, filepath.Join(dir, "a"), 3)
	other, otherEnds := written(t, filepath.Join(dir, "b"), 2)
	_ = other
	line := func(i int) []byte {
		start := 0
		if i > 0 {
			start = ends[i-1]
		}
		return data[start:ends[i]]
	}
	foreign := bytes.ReplaceAll(other[:otherEnds[0]], []byte("é"), []byte("e"))
	cases := map[string][]byte{
		"record removed":      bytes.Join([][]byte{line(0), line(2)}, nil),
		"records swapped":     bytes.Join([][]byte{line(1), line(0), line(2)}, nil),
		"record repeated":     bytes.Join([][]byte{line(0), line(0), line(1)}, nil),
		"first one missing":   bytes.Join([][]byte{line(1), line(2)}, nil),
		"spliced":             bytes.Join([][]byte{foreign, line(1)}, nil),
		"white space":         bytes.Replace(data, []byte(`"kind":`), []byte(`"kind": `), 1),
		"duplicate key":       bytes.Replace(data, []byte(`{"seq":1,`), []byte(`{"seq":1,"seq":1,`), 1),
		"unknown key":         bytes.Replace(data, []byte(`{"seq":1,`), []byte(`{"x":1,"seq":1,`), 1),
		"case of a key":       bytes.Replace(data, []byte(`"kind"`), []byte(`"Kind"`), 1),
		"empty line":          append([]byte("\n"), data...),
		"zeros in the middle": bytes.Join([][]byte{line(0), make([]byte, 8), line(1), line(2)}, nil),
	}
	for name, broken := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("j", broken)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("error %v, want a *CorruptError", err)
			}
		})
	}
	// Every byte of every record but the last is pinned by the chain.
	for i := range ends[1] {
		flipped := bytes.Clone(data)
		flipped[i] ^= 1
		if p, err := Parse("j", flipped); err == nil && len(p.Records) == 3 {
			t.Fatalf("byte %d flipped and not noticed", i)
		}
	}
}

func TestAppendAfterFailureIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "j")
	j, err := Create(name, clock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(name, clock); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second Create: %v, want fs.ErrExist", err)
	}
	if _, err := j.Append("note", note{}); err != nil {
		t.Fatal(err)
	}
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append("note", note{}); err == nil {
		t.Fatal("append to a closed file succeeded")
	}
	if _, err := j.Append("note", note{}); !errors.Is(err, ErrBroken) {
		t.Fatalf("append after a failure: %v, want ErrBroken", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing journal: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	data, _ := written(f, filepath.Join(f.TempDir(), "j"), 3)
	f.Add(data)
	f.Add([]byte("{}\n"))
	f.Add([]byte{0, 0, '\n'})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("j", data)
		if err != nil {
			return
		}
		again, err := Parse("j", data[:p.Size])
		if err != nil || again.Head != p.Head || len(again.Records) != len(p.Records) {
			t.Fatalf("the whole records alone read differently: %v", err)
		}
	})
}
