package service

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/sanitize"
)

// cursor is, for each drive of a job in the order of its plan, how many records of its journal somebody has seen. So it says the
// same before and after a restart, whatever the order in which records of several drives came.
type cursor []int64

// cursorForm begins every cursor. Those of the first form did not say of which job they are.
const cursorForm = "2."

// of is the cursor as those who watch a job get it: the job is in it, for the same numbers of another would pass over what nobody has
// seen. It is at most api.CursorMost long.
func (c cursor) of(job string) string {
	data := make([]byte, 0, 2*len(c))
	for _, n := range c {
		data = binary.AppendUvarint(data, uint64(n))
	}
	return cursorForm + job + "." + base64.RawURLEncoding.EncodeToString(data)
}

// parseCursor reads what of wrote for a job of so many drives; "" has seen nothing.
func parseCursor(s, job string, drives int) (cursor, error) {
	c := make(cursor, drives)
	if s == "" {
		return c, nil
	}
	rest, known := strings.CutPrefix(s, cursorForm)
	whose, text, whole := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || !known || !whole:
		return nil, errors.New("it is no cursor of this agent, or one of an earlier version")
	case whose != job:
		return nil, fmt.Errorf("it is a cursor of another job than %s", job)
	}
	damaged := fmt.Errorf("it is no cursor of job %s as this agent gave it", job)
	for i := range c {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > 1<<53 {
			return nil, damaged
		}
		c[i], data = int64(n), data[size:]
	}
	if len(data) > 0 {
		return nil, damaged
	}
	return c, nil
}

// wasRecorded says whether a job's journals have as much as somebody says to have seen: by more, what comes next would be passed over. A
// record is told when it is on disk, so that a cursor of this agent is never beyond them. The exception is a record that was read where
// another process had written it and did not have it on disk yet: a power cut may take that one back, and what is recorded then in its
// place has its number and is something else. So whoever has seen more than there is begins again, which repeats something and misses
// nothing. Of a journal that cannot be read nothing more is told, and the outcome says so.
func (s *Service) wasRecorded(job string, drives []sanitize.DrivePlan, seen cursor) error {
	s.mu.Lock()
	r := s.running[job]
	s.mu.Unlock()
	came := make([]int64, len(drives))
	if r != nil {
		came = r.hub.came()
	}
	file := s.journalOf(job)
	for i, d := range drives {
		if seen[i] <= came[i] {
			continue
		}
		records, err := readJournal(file(d))
		if n := int64(len(records)); err == nil && seen[i] > n {
			return fmt.Errorf("it is beyond what was recorded: %d records of drive %s, which has %d", seen[i], d.ID, n)
		}
	}
	return nil
}
