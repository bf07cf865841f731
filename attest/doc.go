// Package attest signs what was done to a drive, keeps the history of it in a Merkle log, and
// verifies certificates with no drive, agent, network or clock at hand.
//
// A certificate is one file: an in-toto Statement v1 about the result and one about the intent,
// each in a DSSE envelope, the key that signed them, and proofs that both are in the log, the
// intent first. docs/certificate.md describes it for people who do not have this program.
//
// It knows neither drives nor sanitization: it is handed statements, and refuses those that
// contradict themselves, when signing as when verifying. What a certificate says is read from
// bytes that were verified, and each document has exactly one encoding, so a changed byte anywhere
// is an invalid certificate.
package attest
