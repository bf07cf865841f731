package attest

import "strings"

// summaryHead is the first line of a summary.
const summaryHead = "expunge.certificate/v1"

// summary is a certificate in a few lines, for a code that a telephone reads: a person reads what was
// certified, and the hash leads to the certificate. The log signs it as a note (c2sp.org/signed-note).
//
// Its first line is "expunge.certificate/v1", with " SIMULATED" behind it for virtual drives. Each of the others
// begins with a word: serial, model, outcome, by (method, technique, policy), signed (when, by the host's clock) and
// result, the hex SHA-256 of what was signed as the result.
func summary(r Result, digest string) string {
	first := summaryHead
	if r.Simulated {
		first += " SIMULATED"
	}
	by := r.Sanitization.Method + ", " + r.Sanitization.Technique + ", " + r.Policy.Name
	return strings.Join([]string{
		first, "serial " + brief(r.Device.Serial), "model " + brief(r.Device.Model), "outcome " + Words(r), "by " + brief(by),
		"signed " + r.Time.Claimed, "result " + digest, "",
	}, "\n")
}

// brief bounds a line.
func brief(s string) string {
	const most = 100
	if s = strings.TrimSpace(s); len(s) > most {
		return s[:most-3] + "..."
	}
	return s
}
