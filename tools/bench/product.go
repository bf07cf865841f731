package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The program as it is shipped: what it does beside the engine (finding drives, plan, journal, signatures,
// a certificate of each drive) is in its time, from its start to its end.

// productName is its row.
const productName = "expunge run"

// build makes the program from the tree that this one is of.
func build(ctx context.Context, to string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/expunge-dev/expunge").Output()
	if err != nil {
		return fmt.Errorf("find the source of expunge (name the program by -expunge elsewhere than in tools/): %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, "./cmd/expunge")
	cmd.Dir, cmd.Env = strings.TrimSpace(string(root)), append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build expunge: %w: %s", err, tail(string(said)))
	}
	return nil
}

// product is the row of the program at a path.
func product(path string) tool {
	serials := map[string]string{} // by node and backing file
	return tool{name: productName, clock: byProcess, does: func(Pass) bool { return true },
		run: func(ctx context.Context, s *set, pass Pass, w *watch) (time.Duration, error) {
			state := filepath.Join(s.work, "state")
			words := []string{path, "run", "--state", state, "--json"}
			switch pass {
			case Zeros:
				words = append(words, "--pattern", "zero", "--verify", "status")
			case Random:
				words = append(words, "--pattern", "random", "--verify", "status")
			case Verify:
				words = append(words, "--pattern", "random", "--verify", "full")
			}
			for _, l := range s.loops {
				serial := serials[l.Node+" "+l.File]
				if serial == "" {
					return 0, fmt.Errorf("%s was not listed by it", l.Node)
				}
				words = append(words, l.Node, "--confirm", serial)
			}
			return s.runAll(ctx, [][]string{words}, w)
		},
		ready: func(ctx context.Context, s *set) error {
			list, err := s.listed(ctx, path)
			for _, l := range s.loops {
				serials[l.Node+" "+l.File] = list[l.Node]
			}
			return err
		}}
}

// listed asks the program for the serial numbers of the drives in the cell, by node.
func (s *set) listed(ctx context.Context, path string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, path, "list", "--json", "--state", filepath.Join(s.work, "state"))
	var said strings.Builder
	cmd.Stdout, cmd.Dir = &said, s.work
	if err := s.cell.start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s list: %w: %s", path, err, tail(said.String()))
	}
	var document struct {
		Items []struct {
			Serial string
			State  string
			Nodes  []string
		}
	}
	if err := json.Unmarshal([]byte(said.String()), &document); err != nil {
		return nil, fmt.Errorf("what %s lists: %w", path, err)
	}
	serials := map[string]string{}
	for _, item := range document.Items {
		for _, node := range item.Nodes {
			if slices.Contains(s.nodes(), node) && item.State == "ready" {
				serials[node] = item.Serial
			}
		}
	}
	return serials, nil
}
