package attest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckCanonical(t *testing.T) {
	good := []string{`{}`, `[]`, `0`, `-1`, `9007199254740991`, `"é\n\"\\"`, `{"a":1,"b":[true,false,null],"c":{"d":""}}`, strings.Repeat("[", 16) + strings.Repeat("]", 16)}
	for _, s := range good {
		if err := CheckCanonical([]byte(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	bad := map[string]string{
		"empty": ``, "space": ` {}`, "space inside": `{"a": 1}`, "newline": "{}\n", "duplicate": `{"a":1,"a":1}`, "order": `{"b":1,"a":1}`,
		"float": `1.5`, "exponent": `1e0`, "leading zero": `01`, "minus zero": `-0`, "too large": `9007199254740992`, "huge": strings.Repeat("9", 400),
		"plus": `+1`, "hex": `0x1`, "NaN": `NaN`, "case": `True`, "unicode escape": `"\u0041"`, "solidus escape": `"\/"`, "tab escape": `"\t"`,
		"control": "\"\x01\"", "delete": "\"\x7f\"", "NUL": "\"\x00\"", "newline in string": "\"\n\"", "invalid UTF-8": "\"\xff\"", "surrogate": "\"\xed\xa0\x80\"",
		"overlong": "\"\xc0\xaf\"", "BOM": "\ufeff{}", "BOM inside": "\"\ufeff\"", "bidi": "\"\u202e\"", "isolate": "\"\u2066\"", "zero width": "\"\u200b\"",
		"tag": "\"\U000e0041\"", "soft hyphen": "\"\u00ad\"", "trailing": `{}{}`, "comma": `[1,]`, "no comma": `[1 2]`, "open": `{"a":1`, "open string": `"a`,
		"escape at end": `"a\`, "no value": `{"a":}`, "number as name": `{1:1}`, "deep": strings.Repeat("[", 18) + strings.Repeat("]", 18),
		"very deep": strings.Repeat("[", 500000), "large": `"` + strings.Repeat("a", MaxSize) + `"`, "bare minus": `-`,
	}
	for name, s := range bad {
		if err := CheckCanonical([]byte(s)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeClosed(t *testing.T) {
	var a Agent
	if err := decodeClosed([]byte(`{"name":"x","version":"y"}`), &a); err != nil || a != (Agent{"x", "y"}) {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, s := range []string{`{"Name":"x","version":"y"}`, `{"name":"x"}`, `{"extra":1,"name":"x","version":"y"}`, `{"name":null,"version":"y"}`, `{"NAME":"z","name":"x","version":"y"}`} {
		if err := decodeClosed([]byte(s), &a); err == nil {
			t.Errorf("%s: accepted", s)
		}
	}
}

func TestCleanASCII(t *testing.T) {
	if got := CleanASCII("a\x1b[2Jé\n"); got != `a\x1b[2J\xc3\xa9\x0a` {
		t.Fatal(got)
	}
}

// Whatever the scanner accepts is what encoding/json reads, in one spelling only.
func FuzzCheckCanonical(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":["x",true,null]}`, `"\n"`, `-12`, `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if CheckCanonical(data) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		again, err := Canonical(json.RawMessage(data))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is spelled %q again: %v", data, again, err)
		}
	})
}

// What encodes fast encodes as the plain way does: by a tree of maps, whose names are sorted.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{`{"b":[1,{"d":"x","c":null}],"a":"\u003c\n\"\\","":-2}`, `[]`, `{}`, `"é\u2028"`, `[true,[[]],{"a":{}}]`, `12`, `{"a":{"z":1,"y":[{"b":0,"a":1}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var tree any
		if dec.Decode(&tree) != nil || !utf8.Valid(data) {
			return
		}
		got, err := encode(tree)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		dec = json.NewDecoder(bytes.NewReader(got))
		dec.UseNumber()
		if err := dec.Decode(&again); err != nil && json.Valid(got) {
			t.Fatal(err)
		}
		// encoding/json writes maps in the order of their names.
		plain, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(again); err == nil && CheckCanonical(got) == nil && !bytes.Equal(back, plain) {
			t.Fatalf("%s became %s", plain, got)
		}
	})
}
