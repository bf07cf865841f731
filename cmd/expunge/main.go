// Command expunge finds a machine's drives, sanitizes them, proves it, and signs a certificate of
// destruction. This package translates between a person and the agent, and decides nothing.
//
// Rules of what it prints: data on standard output, everything for people on standard error with
// the prefix "expunge:"; the error first, then what to do; a state is always a word, never only a
// colour; every verb has --json, which prints one document also on error.
package main

import (
	"os"
	"runtime/debug"
)

// memory is what the program uses before it spends time on using less.
const memory = 384 << 20

func main() {
	debug.SetMemoryLimit(memory)
	app := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(app.execute(os.Args[1:]))
}
