package main

import (
	"github.com/expunge-dev/expunge/agent/api"
	"strings"
	"testing"

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
