package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// HaltName is the file in the state directory that keeps everything from beginning, whoever asks for it. A service writes it.
const HaltName = "halt.json"

// HaltedError: nothing destructive is begun on this host until somebody ends the halt. Nothing was touched.
type HaltedError struct{ By, Since, Reason string }

func (e *HaltedError) Error() string {
	return fmt.Sprintf("the agent is halted by %s since %s: %s", e.By, e.Since, e.Reason)
}

// halted says why nothing may begin. A note that cannot be read holds.
func (a *Agent) halted() error {
	data, err := os.ReadFile(filepath.Join(a.dir, HaltName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var note struct {
		Halted            *bool
		By, Since, Reason string
	}
	if err == nil {
		err = json.Unmarshal(data, &note)
	}
	if err == nil && note.Halted == nil {
		err = errors.New("it says neither that it holds nor that it has ended")
	}
	switch {
	case err != nil:
		return &HaltedError{"unknown", "unknown", "the note of a halt is damaged: " + err.Error()}
	case *note.Halted:
		return &HaltedError{note.By, note.Since, note.Reason}
	}
	return nil
}
