package agent

import (
	"os"
	"testing"

	"github.com/expunge-dev/expunge/internal/durable"
)

// Racks and states of tests lie in memory where there is room: thousands of small files are made, and
// what is looked at is what is in them.
func TestMain(m *testing.M) {
	const memory = "/dev/shm"
	if free, err := durable.Free(memory); err == nil && free > 8<<30 && os.Getenv("TMPDIR") == "" {
		if err := os.Setenv("TMPDIR", memory); err != nil {
			panic(err)
		}
	}
	m.Run()
}
