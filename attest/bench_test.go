package attest

import "testing"

// BenchmarkVerify is one certificate from bytes to verdict.
func BenchmarkVerify(b *testing.B) {
	is := testIssuer(b, testKey(1, RoleHost))
	data := mustIssue(b, is, "S", "j")
	trust, err := ParseTrust(is.Key.PublicPEM())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if r := Verify(data, trust); r.Code != CodeOK {
			b.Fatal(r.Reasons)
		}
	}
}
