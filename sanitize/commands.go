package sanitize

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// commandRecord is a command as it will be sent, without its data.
type commandRecord struct {
	Unit  int    `json:"unit,omitempty"`
	Name  string `json:"name"`
	Bytes string `json:"bytes"` // hex
}

// answeredRecord is how the latest command was completed.
type answeredRecord struct {
	Status    string `json:"status,omitempty"`
	Sense     string `json:"sense,omitempty"` // hex
	ElapsedMs int64  `json:"elapsed_ms"`
	Error     string `json:"error,omitempty"` // of sending it
}

// CommandEvidence is a command that could change or destroy what the drive holds.
type CommandEvidence struct {
	Time   time.Time
	Unit   int
	Name   string
	Bytes  string // hex
	Status string // in words; "unknown" where no answer is known
	Sense  string // hex
	// ElapsedMs is nil where no answer is known.
	ElapsedMs *int64
}

// maxCommands bounds the list that evidence carries.
const maxCommands = 16

// unknownStatus is that of a command whose answer nobody has.
const unknownStatus = "unknown"

// watch has every command that destroys noted, on disk before it is sent. What carries a security protocol is one
// only while the job sends an operation or activates: what else travels so opens sessions and asks.
func (r *run) watch() {
	noted := false
	r.handle.Watch(devices.Watcher{
		Before: func(s devices.Sent) error {
			if noted = !s.Security || r.sending; !noted {
				return nil
			}
			return r.append(kindCommand, commandRecord{s.Unit, s.Name, hex.EncodeToString(s.Bytes)})
		},
		After: func(s devices.Sent, a devices.Answer) error {
			if !noted {
				return nil
			}
			sense := a.Sense[:min(len(a.Sense), maxSense)]
			return r.append(kindAnswered, answeredRecord{a.Status, hex.EncodeToString(sense), a.Elapsed.Milliseconds(), text(a.Err)})
		},
	})
}

// maxSense is the greatest length of sense data (SPC-5 4.4.1).
const maxSense = 252

// applyCommand keeps the latest commands, and counts those before them.
func (s *state) applyCommand(r journal.Record) error {
	if s.attempts == 0 {
		return fmt.Errorf("journal record %d (%s) outside an attempt", r.Seq, r.Kind)
	}
	if r.Kind == kindCommand {
		var c commandRecord
		if err := r.Decode(&c); err != nil {
			return err
		}
		if len(s.commands) == maxCommands {
			s.commands, s.commandsOmitted = s.commands[1:], s.commandsOmitted+1
		}
		s.commands = append(s.commands, CommandEvidence{Time: r.Time, Unit: c.Unit, Name: c.Name, Bytes: c.Bytes, Status: unknownStatus})
		s.unanswered = true
		return nil
	}
	var a answeredRecord
	if err := r.Decode(&a); err != nil {
		return err
	}
	if !s.unanswered {
		return fmt.Errorf("journal record %d answers a command that was not sent", r.Seq)
	}
	s.unanswered = false
	c := &s.commands[len(s.commands)-1]
	if c.Sense = a.Sense; a.Status != "" {
		c.Status, c.ElapsedMs = a.Status, &a.ElapsedMs
	}
	return nil
}
