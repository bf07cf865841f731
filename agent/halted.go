package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// HaltName is the file in the state directory that keeps everything from beginning, whoever asks for it. A service writes it.
const HaltName = "halt.json"

// SaidHalt is a halt that somebody said, whether it holds still or not, as the note of a halt has the last one.
type SaidHalt struct {
	ID     string `json:"id"` // another for each
	By     string `json:"by"`
	Since  string `json:"since"`
	Reason string `json:"reason"`
}

// HaltedError: nothing destructive is begun on this host until somebody ends the halt. Nothing was touched.
type HaltedError struct {
	By, Since, Reason string
	Over              bool // it has ended, and stopped what ran then all the same
}

func (e *HaltedError) Error() string {
	if e.Over {
		return fmt.Sprintf("the agent was halted by %s at %s, and is not any more: %s", e.By, e.Since, e.Reason)
	}
	return fmt.Sprintf("the agent is halted by %s since %s: %s", e.By, e.Since, e.Reason)
}

// halted says why nothing may begin. Anything that is there and is no note that can be read holds, also a link to nothing.
func (a *Agent) halted() error {
	if held := a.Halted(); held != nil {
		return held
	}
	return nil
}

// Halted is the halt that holds now; nil is none.
func (a *Agent) Halted() *HaltedError {
	held, _, _ := a.haltNote()
	return held
}

// LastHalt is the id of the halt that was said last; "" when none was. The error is that of a note that does not tell: it holds as a halt.
func (a *Agent) LastHalt() (string, error) {
	held, last, told := a.haltNote()
	if !told {
		return "", held
	}
	return last.ID, nil
}

// A note is written over in place: one that is read meanwhile is damaged for a moment, and is read again so often before it counts.
const (
	tornReads = 5
	tornWait  = 20 * time.Millisecond
)

// haltNote reads the note of a halt: which one holds now, nil being none, and which was said last. One that stays damaged holds, and does not
// tell what was said last.
func (a *Agent) haltNote() (held *HaltedError, last SaidHalt, told bool) {
	for n := range tornReads {
		if n > 0 {
			time.Sleep(tornWait)
		}
		if held, last, told = a.readNote(); told {
			break
		}
	}
	return held, last, told
}

// readNote is haltNote of one look.
func (a *Agent) readNote() (held *HaltedError, last SaidHalt, told bool) {
	data, err := ReadHalt(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, SaidHalt{}, true
	}
	var note struct {
		Halted            *bool
		By, Since, Reason string
		Last              SaidHalt
	}
	if err == nil {
		err = json.Unmarshal(data, &note)
	}
	if err == nil && note.Halted == nil {
		err = errors.New("it says neither that it holds nor that it has ended")
	}
	switch {
	case err != nil:
		return &HaltedError{By: "unknown", Since: "unknown", Reason: "the note of a halt is damaged: " + err.Error()}, SaidHalt{}, false
	case *note.Halted:
		return &HaltedError{By: note.By, Since: note.Since, Reason: note.Reason}, note.Last, true
	}
	return nil, note.Last, true
}

// ReadHalt reads the note of a halt in a state directory. The error is fs.ErrNotExist only when nothing has its name: of a link that
// leads nowhere it is another.
func ReadHalt(dir string) ([]byte, error) {
	name := filepath.Join(dir, HaltName)
	data, err := os.ReadFile(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if _, err := os.Lstat(name); err != nil {
		return nil, err
	}
	// Something has the name: a note that was made since, or a link to nothing.
	if data, err = os.ReadFile(name); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s leads nowhere", name)
	}
	return data, err
}

// haltLooks is how often those look for a halt that another process may have written.
const haltLooks = time.Second

// AwaitHalt waits for a halt, whoever writes it, and returns it; nil when ctx ended before. One that was said since the halt of an id was
// the last counts however short it was.
func (a *Agent) AwaitHalt(ctx context.Context, since string) *HaltedError {
	tick := time.NewTicker(haltLooks)
	defer tick.Stop()
	for {
		switch held, last, _ := a.haltNote(); {
		case held != nil:
			return held
		case last.ID != "" && last.ID != since:
			return &HaltedError{By: last.By, Since: last.Since, Reason: last.Reason, Over: true}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// untilHalted is ctx until a halt that is said after that of an id: its cause is that then. What it returns must be called when nothing uses
// the context any more.
func (a *Agent) untilHalted(ctx context.Context, since string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var waits sync.WaitGroup
	waits.Go(func() {
		if held := a.AwaitHalt(ctx, since); held != nil {
			cancel(held)
		}
	})
	return ctx, func() { cancel(nil); waits.Wait() }
}
