// Package early takes SIGQUIT from the moment that the program is loaded. The Go runtime answers one that nobody takes with a trace of
// goroutines, as if the program had a fault, and what the program links takes longer to get ready than a person to press a key: so this
// imports nothing of it, and is ready before.
package early

import (
	"os"
	"os/signal"
	"syscall"
)

// Quit is where SIGQUIT goes, unless it is ignored.
var Quit = make(chan os.Signal, 2)

func init() {
	if !signal.Ignored(syscall.SIGQUIT) {
		signal.Notify(Quit, syscall.SIGQUIT)
	}
}
