package main

import (
	"testing"

	"github.com/expunge-dev/expunge/agent/config"
)

// The example configuration is one, also with every line that it only shows.
func TestExampleConfigurationIsOne(t *testing.T) {
	if _, err := config.Read("systemd/agent.yaml"); err != nil {
		t.Fatal(err)
	}
}
