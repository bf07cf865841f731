package api

import (
	"encoding/json"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// The types of events.
const (
	EventRecord   = "record"   // something was recorded of a drive, durably
	EventProgress = "progress" // how far a drive is; told from time to time, and to nobody again
	EventDrive    = "drive"    // a drive has come to an end
	EventJob      = "job"      // the job has ended, or nobody is at work on it; the last event
	EventProblem  = "problem"  // over HTTP: the stream cannot go on; the last event
)

// DrivesMost is how many drives the configuration of an agent can allow for one job, and CursorMost how many bytes the cursor of such a
// job has at most: three for each drive as base64, which are two million records, the job, and some to spare. Whoever serves events has to
// take as much.
const (
	DrivesMost = 10_000
	CursorMost = 40 << 10
)

// Event is something that happened in a job. Which members it has depends on its type.
type Event struct {
	Type   string     `json:"type"`
	Job    string     `json:"job,omitempty"`
	ID     devices.ID `json:"id,omitempty"` // of the drive
	Serial string     `json:"serial,omitempty"`

	// Of a record: what the journal says.
	Seq  int64           `json:"seq,omitempty"` // in the drive's journal, from 1
	Time *time.Time      `json:"time,omitempty"`
	Kind string          `json:"kind,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`

	*sanitize.Reading // of progress

	Drive *JobDrive `json:"drive,omitempty"`  // of a drive's end
	Whole *Job      `json:"result,omitempty"` // of the job's end

	Problem *Problem `json:"problem,omitempty"` // why a stream cannot go on

	// Cursor says after which records the event comes: Events goes on from there. Progress has none.
	Cursor string `json:"cursor,omitempty"`

	encoded []byte
}

// Encoded keeps the event's JSON with it, so that it is made once for all who watch.
func (e Event) Encoded() Event {
	if data, err := json.Marshal(e); err == nil {
		e.encoded = data
	}
	return e
}

// At is the event with another cursor.
func (e Event) At(cursor string) Event {
	e.Cursor, e.encoded = cursor, nil
	return e
}

// JSON is the event as one JSON object.
func (e Event) JSON() ([]byte, error) {
	if e.encoded != nil {
		return e.encoded, nil
	}
	return json.Marshal(e)
}
