package strict

import "testing"

func TestDecode(t *testing.T) {
	type thing struct{ A int }
	var v thing
	if err := Decode([]byte(" {\"A\":1}\n"), &v); err != nil || v.A != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	for _, s := range []string{"", "{", `{"A":1}{"A":2}`, `{"A":1} x`, `{"A":1,"B":2}`, `{"A":"1"}`, `[]`} {
		if err := Decode([]byte(s), &v); err == nil {
			t.Errorf("%s: accepted", s)
		}
	}
}
