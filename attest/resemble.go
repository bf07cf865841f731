package attest

import "bytes"

// Resembles says whether bytes look as if they were, or had been, a certificate, so that one that
// was damaged is told from a file that never was one, such as the envelopes of a log. It proves
// nothing: Verify does.
func Resembles(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n\xef\xbb\xbf"), []byte(`{"checkpoint":"expunge.log/`)) ||
		bytes.Contains(data, []byte("github.com/expunge-dev/expunge/certificate/")) || bytes.Contains(data, []byte("github.com/expunge-dev/expunge/record/"))
}
