package service

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// cursor is, for each drive of a job in the order of its plan, how many records of its journal somebody has seen. So it says the
// same before and after a restart, whatever the order in which records of several drives came.
type cursor []int64

const cursorForm = "1."

func (c cursor) String() string {
	data := make([]byte, 0, 2*len(c))
	for _, n := range c {
		data = binary.AppendUvarint(data, uint64(n))
	}
	return cursorForm + base64.RawURLEncoding.EncodeToString(data)
}

// parseCursor reads what String wrote for a job of so many drives; "" has seen nothing.
func parseCursor(s string, drives int) (cursor, error) {
	c := make(cursor, drives)
	if s == "" {
		return c, nil
	}
	text, known := strings.CutPrefix(s, cursorForm)
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || !known {
		return nil, errors.New("it is no cursor of this agent")
	}
	for i := range c {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > 1<<53 {
			return nil, errors.New("it is no cursor of this job")
		}
		c[i], data = int64(n), data[size:]
	}
	if len(data) > 0 {
		return nil, errors.New("it is no cursor of this job")
	}
	return c, nil
}
