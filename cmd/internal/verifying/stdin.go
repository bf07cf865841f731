package verifying

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/expunge-dev/expunge/attest"
)

// The bounds of standard input.
const (
	maxLine     = 64 << 20 // bytes of a line; what is above attest.MaxSize is passed over
	maxStrays   = 1000     // lines that do not even resemble a certificate
	largeLine   = 64 << 10 // bytes of a line that is held as one of few
	largeAtOnce = 16
)

// standardInput judges one certificate, or one on each line: the encoding of a certificate has one
// newline, its last byte. What does not begin as an object is one document, whatever it is.
func (g *gatherer) standardInput() {
	if g.stdinTaken {
		g.unreadable("-", errors.New("standard input was read already"))
		return
	}
	g.stdinTaken = true
	in := bufio.NewReaderSize(g.stdin, largeLine)
	if begin, err := in.Peek(2); err != nil || string(begin) != `{"` {
		data, err := readAll(in, 0)
		if err != nil {
			g.unreadable("-", err)
			return
		}
		g.judge(&job{path: "-", data: append([]byte{}, data...)})
		return
	}
	strays := 0
	for number := 1; g.ctx.Err() == nil; number++ {
		line, err := nextLine(in)
		_, after := in.Peek(1)
		if len(line) > 0 {
			j := &job{path: "-", line: number, data: line}
			if number == 1 && after != nil {
				j.line = 0 // it is the only one
			}
			if !g.hold(j) {
				return
			}
			if !attest.Resembles(line) {
				strays++
			}
			g.judge(j)
		}
		switch {
		case errors.Is(err, io.EOF), err == nil && errors.Is(after, io.EOF):
			return
		case err == nil && strays >= maxStrays:
			err = fmt.Errorf("%d lines are no certificates: the rest was not read", strays)
		}
		if err != nil {
			item := unreadable("-", number, err)
			g.tell(told{item: &item})
			return
		}
	}
}

// hold waits until not too many large lines are held, and says whether the job is still wanted.
func (g *gatherer) hold(j *job) bool {
	if len(j.data) <= largeLine {
		return true
	}
	select {
	case g.large <- struct{}{}:
		j.held = true
		return true
	case <-g.ctx.Done():
		return false
	}
}

// nextLine reads a line with its newline, of which no more is kept than tells that it is too long.
func nextLine(in *bufio.Reader) ([]byte, error) {
	var line bytes.Buffer
	for length := 0; ; {
		part, err := in.ReadSlice('\n')
		length += len(part)
		line.Write(part[:min(len(part), attest.MaxSize+1-line.Len())])
		switch {
		case !errors.Is(err, bufio.ErrBufferFull):
			return line.Bytes(), err
		case length > maxLine:
			return line.Bytes(), fmt.Errorf("a line of more than %d bytes: the rest was not read", maxLine)
		}
	}
}
