package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
)

// servingRoom is what servingFile takes on disk, from the first start of an agent on: while none runs it has the name spareFile. So an
// agent can say where it listens on a full disk, and whoever wants to halt it finds it.
const servingRoom = 1 << 10

const spareFile = "serve.spare"

// announcement tells commands with the same state where the agent listens. An agent whose word cannot be written serves all the same: it
// holds the state's lock, so that no command takes the state for its own, and those that know its socket get through.
type announcement struct {
	state string
	text  []byte

	mu   sync.Mutex // guards the rest
	why  error      // why it is not told
	over bool       // it was taken back
}

func announcementOf(state, socket string) (*announcement, error) {
	abs, err := filepath.Abs(socket)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(serving{abs})
	return &announcement{state: state, text: append(text, '\n')}, err
}

// keep sees to it that the agent's word is there, and returns why it is not where that is new.
func (a *announcement) keep() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return nil
	}
	err := a.write()
	again := err != nil && a.why != nil && err.Error() == a.why.Error()
	if a.why = err; again {
		return nil
	}
	return err
}

// write leaves what is there already. Else it writes in place, under the other name: whoever reads the file gets one word or the other,
// and no mixture of both.
func (a *announcement) write() error {
	file, spare := filepath.Join(a.state, servingFile), filepath.Join(a.state, spareFile)
	have, err := os.ReadFile(file)
	said := err == nil && bytes.Equal(bytes.TrimSpace(have), bytes.TrimSpace(a.text))
	if said && len(have) >= servingRoom {
		return nil
	}
	if err == nil && !said {
		if err := os.Rename(file, spare); err != nil {
			return err
		}
	}
	if !said {
		err = durable.Overwrite(spare, a.text, ' ')
		if err == nil {
			err = os.Rename(spare, file)
		}
		if err == nil {
			return durable.SyncDir(a.state)
		}
	}
	room := bytes.Repeat([]byte{' '}, max(servingRoom, len(a.text)))
	copy(room, a.text)
	if err := durable.WriteFile(file, room, 0o600); err != nil && !said {
		return err
	}
	return nil
}

// withdraw takes the word back, and leaves its room.
func (a *announcement) withdraw() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	err := os.Rename(filepath.Join(a.state, servingFile), filepath.Join(a.state, spareFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was not told
	}
	return err
}

// problems is what of this the agent's health says.
func (a *announcement) problems() []devices.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why == nil {
		return nil
	}
	return []devices.Reason{{Code: "not_announced", Message: "commands at this host are not told where the agent listens: " + a.why.Error(), Hint: "make room for the state; until then they reach it with --socket PATH"}}
}
