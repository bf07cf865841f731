package durable

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func named(pairs ...string) (list []Named) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, Named{pairs[i], []byte(pairs[i+1])})
	}
	return list
}

// What is on disk whole is found again, whatever part of the next record a cut left behind it; and no part of
// a record is taken for one.
func TestRecordsSurviveEveryCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ahead")
	first := named("a/b", "one\n2 two\n", "empty", "")
	size, err := Append(name, first)
	if err != nil {
		t.Fatal(err)
	}
	second := named("head", strings.Repeat("x\n", 300))
	if _, err := Append(name, second); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(all) {
		for _, tail := range [][]byte{nil, make([]byte, len(all)-cut)} { // the end is not there, or zeros
			if tail != nil && cut == len(all) {
				continue
			}
			records, err := Records(append(bytes.Clone(all[:cut]), tail...))
			want := 0
			if cut >= int(size) {
				want = 1
			}
			if err != nil || len(records) != want {
				t.Fatalf("cut at %d of %d: %d records, %v", cut, len(all), len(records), err)
			}
		}
	}
	records, err := Records(all)
	if err != nil || len(records) != 2 || records[0][0].Name != "a/b" || string(records[0][0].Data) != "one\n2 two\n" || !bytes.Equal(records[1][0].Data, second[0].Data) {
		t.Fatalf("%v, %q", err, records)
	}
}

// A record in the middle that is not what was written is no cut: what is behind it would be lost without a word.
func TestDamagedRecordsAreTold(t *testing.T) {
	first := encodeRecord(named("a", "one"))
	all := append(bytes.Clone(first), encodeRecord(named("a", "two"))...)
	for at := range all {
		bad := bytes.Clone(all)
		bad[at] ^= 1
		records, err := Records(bad)
		if errors.Is(err, ErrDamaged) != (at < len(first)-1) || len(records) > 1 {
			t.Errorf("bit of byte %d: %d records, %v", at, len(records), err)
		}
	}
	for _, name := range []string{"../a", "/a", "", "a/../b"} {
		if records, _ := Records(encodeRecord(named(name, "x"))); len(records) > 0 {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// FuzzRecords: any bytes are answered.
func FuzzRecords(f *testing.F) {
	f.Add(encodeRecord(named("a", "one", "b/c", "")))
	f.Add([]byte(recordWord + "1\n99999999999999999999 a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := Records(data)
		var again []byte
		for _, r := range records {
			again = append(again, encodeRecord(r)...)
		}
		if !bytes.HasPrefix(data, again) || err != nil && len(again) == len(data) {
			t.Fatalf("%d records are not what was read: %v", len(records), err)
		}
	})
}

func TestLeft(t *testing.T) {
	for have, want := range map[string]bool{"": true, "ab": true, "abc": true, "a\x00c": true, "\x00\x00\x00": true, "abcd": false, "ax": false, "abC": false} {
		if got := Left([]byte(have), []byte("abc")); got != want {
			t.Errorf("%q: %v", have, got)
		}
	}
}

// Files are whole, and nothing else is left.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	reads := func(name, want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, word := range []string{"one", "one", "two"} {
		if err := Make(dir, named("x/y/z", word, "b", ""), 0o644); err != nil {
			t.Fatal(err)
		}
		reads("x/y/z", word)
		reads("b", "")
	}
	if err := Make(dir, named("b/below", ""), 0o644); err == nil {
		t.Fatal("made a file below a file")
	}
	if err := Make(dir, named("x/y", ""), 0o644); err == nil {
		t.Fatal("a directory was replaced by a file")
	}
	reads("b", "")
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".*")); len(left) != 0 {
		t.Fatalf("temporary files were left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Fatalf("temporary files were left: %v", left)
	}
}
