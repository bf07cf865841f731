package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/internal/strict"
)

// threeReadings is what decodeClosed must come to: a document of the profile, known to encoding/json, and
// the one that its value is encoded to.
func threeReadings(data []byte, v any) error {
	if err := CheckCanonical(data); err != nil {
		return err
	}
	if err := strict.Decode(data, v); err != nil {
		return err
	}
	again, err := encode(v)
	if err == nil && !bytes.Equal(again, data) {
		err = errors.New("spelled otherwise")
	}
	return err
}

// documents are those that are read from strangers.
func documents() []any {
	return []any{
		&Certificate{}, &Record{}, &Envelope{}, &leaf{}, &RootEntry{}, &Root{}, &Statement[Result]{}, &Statement[Intent]{}, &Statement[Session]{}, &Statement[Validation]{},
		&Statement[Supersession]{}, &Statement[Manifest]{}, &Statement[Destruction]{},
	}
}

// compareReadings reads as each of the types, and returns those that accept it.
func compareReadings(t *testing.T, data []byte, as []any) (accepted []any) {
	t.Helper()
	for _, v := range as {
		got, want := reflect.New(reflect.TypeOf(v).Elem()).Interface(), reflect.New(reflect.TypeOf(v).Elem()).Interface()
		err, wanted := decodeClosed(data, got), threeReadings(data, want)
		if (err == nil) != (wanted == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%T of %.200q: %v, and by three readings: %v\n%+v\n%+v", v, data, err, wanted, got, want)
		}
		if err == nil {
			accepted = append(accepted, v)
		}
	}
	return accepted
}

// goldenDocuments are the certificates and records of testdata and what is signed in them.
func goldenDocuments(t testing.TB) [][]byte {
	t.Helper()
	var list [][]byte
	for _, name := range []string{"certificate", "judged", "manifest", "destruction"} {
		file, err := os.ReadFile("testdata/" + name + ".v1.json")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, bytes.TrimSuffix(file, []byte("\n")))
		var c struct {
			Intent, Result, Record Envelope
			Sessions, Validations  []Envelope
		}
		if err := json.Unmarshal(file, &c); err != nil {
			t.Fatal(err)
		}
		for _, e := range slices.Concat([]Envelope{c.Intent, c.Result, c.Record}, c.Sessions, c.Validations) {
			payload, err := base64.StdEncoding.DecodeString(e.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if len(payload) > 0 && !slices.ContainsFunc(list, func(other []byte) bool { return bytes.Equal(other, payload) }) {
				list = append(list, payload)
			}
		}
	}
	return list
}

// A single reading of a document accepts what three do, and nothing else, whatever becomes of any of its values.
func TestClosedIsThreeReadings(t *testing.T) {
	for _, doc := range goldenDocuments(t) {
		kind := compareReadings(t, doc, documents())
		if len(kind) != 1 {
			t.Fatalf("%.100s is of %d kinds of document", doc, len(kind))
		}
		var tree any
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		if err := dec.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		tried := 0
		again := func() {
			if tried++; testing.Short() && tried%41 != 0 {
				return
			}
			data, err := encode(tree)
			if err != nil {
				t.Fatal(err)
			}
			compareReadings(t, data, kind)
		}
		mangle(tree, func(any) {}, again)
		if tried < 50 {
			t.Fatalf("%d changes", tried)
		}
		for at := range doc {
			if at%23 == 0 {
				cut := bytes.Clone(doc)
				cut[at] ^= 1
				compareReadings(t, cut, kind)
			}
		}
	}
}

// mangle puts others in the place of every value of a tree, one after the other.
func mangle(tree any, set func(any), again func()) {
	for _, other := range []any{nil, "", "x", 0, -1, 1 << 40, true, false, []any{}, []any{nil}, map[string]any{}, "é\n\"\\"} {
		set(other)
		again()
	}
	set(tree)
	switch v := tree.(type) {
	case map[string]any:
		for name, value := range v {
			delete(v, name)
			again()
			for _, other := range []string{"", "x", "Z", name + "x"} {
				v[other] = value
				again()
				delete(v, other)
			}
			v[name] = value
			mangle(value, func(x any) { v[name] = x }, again)
		}
	case []any:
		for i, value := range v {
			mangle(value, func(x any) { v[i] = x }, again)
		}
	}
}

func FuzzDecodeClosed(f *testing.F) {
	for _, doc := range goldenDocuments(f) {
		f.Add(doc)
	}
	f.Add([]byte(`{"name":"x","version":"y"}`))
	f.Fuzz(func(t *testing.T, data []byte) { compareReadings(t, data, documents()) })
}
