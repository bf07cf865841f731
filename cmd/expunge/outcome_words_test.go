package main

import (
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// A drive of which a part could not be read was not read back whole, whatever the mode of it is called.
func TestReadBackInPartIsNotWhole(t *testing.T) {
	for _, v := range []api.Verification{
		{Mode: sanitize.VerifyFull, Result: "passed", Samples: 1, Bytes: 1310720, ReadErrors: 2560},
		{Mode: sanitize.VerifyFull, Result: "incomplete", Samples: 1, Bytes: 1310720, Unwritten: 2560},
		{Mode: sanitize.VerifyFull, Result: "incomplete", Samples: 1},
	} {
		if words := verificationText(&v); strings.Contains(words, "whole") || !strings.Contains(words, "in part") {
			t.Errorf("%+v: %s", v, words)
		}
	}
	if words := verificationText(&api.Verification{Mode: sanitize.VerifyFull, Result: "passed", Samples: 1, Bytes: 1 << 20}); !strings.Contains(words, "read back whole") {
		t.Error(words)
	}
}

// A drive of which no certificate could be made is not called cleared, in no list.
func TestUncertifiedIsNotCleared(t *testing.T) {
	for _, o := range []sanitize.Outcome{sanitize.Sanitized, sanitize.Exceptions} {
		r := agent.DriveResult{Drive: sanitize.DrivePlan{Method: sanitize.Purge}, Outcome: o, Evidence: &sanitize.Evidence{}}
		if d := api.DriveOf(r); strings.Contains(d.Words, "PURGED") || d.ExitStatus == exitOK {
			t.Errorf("%s: %q, exit status %d", o, d.Words, d.ExitStatus)
		}
		r.Certificate = "certificate.json"
		if d := api.DriveOf(r); !strings.Contains(d.Words, "PURGED") {
			t.Errorf("%s: %q", o, d.Words)
		}
	}
}
