package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/terminal"
	"github.com/expunge-dev/expunge/sanitize"
)

// pins gives out the PINs and PSIDs that plans want. They come from a file or are typed, and never from an
// argument, which every user of the host can read in its list of processes.
type pins struct {
	file  string
	given map[devices.ID]string
	read  map[string]string // by serial number; "" is the only one of a file without serial numbers
}

const pinsMost = 1 << 20 // bytes of a file

func (a *app) pinFlag(flags *pflag.FlagSet) {
	flags.StringVar(&a.pins.file, "pin-file", "", "the PIN or PSID that a TCG erase wants, from `FILE` (- is the standard input): it alone, or lines of a serial number and a PIN; without it a PSID is typed, and the PIN is the one that the drive tells")
}

// asking: one PIN is asked for at a time, whichever drive wants it. It guards what pins have read and given.
var asking sync.Mutex

// pin is agent.Options.PIN.
func (a *app) pin(d sanitize.DrivePlan) (string, error) {
	what, _ := d.PINWanted()
	asking.Lock()
	defer asking.Unlock()
	if pin, has := a.pins.given[d.ID]; has {
		return pin, nil
	}
	pin, err := a.findPIN(d, what)
	if err != nil {
		return "", err
	}
	if err := d.CheckPIN(pin); err != nil {
		return "", err
	}
	if a.pins.given == nil {
		a.pins.given = map[devices.ID]string{}
	}
	a.pins.given[d.ID] = pin
	return pin, nil
}

// typesPINs says that PINs are asked for when they are needed: a person sits at the terminal, and gave no file.
func (a *app) typesPINs() bool {
	in, isFile := a.stdin.(*os.File)
	return a.pins.file == "" && isFile && terminal.Is(in)
}

func (a *app) findPIN(d sanitize.DrivePlan, what string) (string, error) {
	if a.pins.file == "" {
		if !a.typesPINs() {
			return "", errors.New("give it with --pin-file")
		}
		in, _ := a.stdin.(*os.File)
		fmt.Fprintf(a.stderr, "expunge: %s %s: type its %s: ", d.Model, d.Serial, what)
		pin, err := terminal.Secret(in)
		fmt.Fprintln(a.stderr)
		return pin, err
	}
	if a.pins.read == nil {
		if err := a.readPINs(); err != nil {
			return "", err
		}
	}
	if pin, has := a.pins.read[d.Serial]; has {
		return pin, nil
	}
	if pin, has := a.pins.read[""]; has && len(a.pins.given) == 0 {
		return pin, nil
	} else if has {
		return "", fmt.Errorf("%s has one for one drive: give lines of a serial number and a PIN", a.pins.file)
	}
	return "", fmt.Errorf("%s has none for it", a.pins.file)
}

// pinsOfJob are those that the file gives for drives of a job that have not come to their end. Which drive wants one, an agent that has the
// job does not tell: so each that the file names must be of the job. What it names is not told, for it may be a PIN in the wrong column.
func (a *app) pinsOfJob(j api.Job) (map[devices.ID]string, error) {
	if a.pins.file == "" {
		return nil, nil
	}
	refused := func(hint, format string, args ...any) error {
		return &problem{code: exitRefused, name: "pin_file", err: fmt.Errorf("resume job %s: "+format, append([]any{j.ID}, args...)...), hint: hint}
	}
	asking.Lock()
	defer asking.Unlock()
	if a.pins.read == nil {
		if err := a.readPINs(); err != nil {
			return nil, refused("a PIN alone, or lines of a serial number and a PIN; nothing was begun", "%w", err)
		}
	}
	pins, named := map[devices.ID]string{}, map[string]bool{}
	open := 0
	for _, d := range j.Drives {
		named[d.Serial] = true
		if d.Outcome != sanitize.Interrupted {
			continue
		}
		open++
		pin, has := a.pins.read[d.Serial]
		if alone, is := a.pins.read[""]; is {
			pin, has = alone, true
		}
		if has {
			pins[d.ID] = pin
		}
	}
	const lines = "give lines of a serial number and a PIN, for drives of the job alone: expunge jobs show "
	strangers := 0
	for serial := range a.pins.read {
		if serial != "" && !named[serial] {
			strangers++
		}
	}
	switch _, alone := a.pins.read[""]; {
	case strangers > 0:
		return nil, refused(lines+j.ID, "%s names %s that the job does not have", a.pins.file, counted(strangers, "drive"))
	case alone && open > 1:
		return nil, refused(lines+j.ID, "%s has one for one drive, and %d have not come to their end", a.pins.file, open)
	}
	return pins, nil
}

// readPINs reads the file. Its errors quote nothing of what is in it.
func (a *app) readPINs() (err error) {
	in := a.stdin
	if a.pins.file != "-" {
		f, openErr := os.Open(a.pins.file)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	read := map[string]string{}
	data, err := io.ReadAll(io.LimitReader(in, pinsMost+1))
	if err != nil {
		return err
	}
	if len(data) > pinsMost {
		return fmt.Errorf("%s: more than %d bytes are no list of PINs", a.pins.file, pinsMost)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	n := 0
	for lines.Scan() {
		n++
		fields := strings.Fields(lines.Text())
		serial, pin := "", ""
		switch len(fields) {
		case 0:
			continue
		case 1:
			pin = fields[0]
		case 2:
			serial, pin = fields[0], fields[1]
		default:
			return fmt.Errorf("%s: line %d is neither a PIN nor a serial number and a PIN", a.pins.file, n)
		}
		if _, twice := read[serial]; twice {
			return fmt.Errorf("%s: line %d has a second one for the same drive", a.pins.file, n)
		}
		read[serial] = pin
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", a.pins.file, err)
	}
	if _, alone := read[""]; alone && len(read) > 1 || len(read) == 0 {
		return fmt.Errorf("%s: neither one PIN alone nor lines of a serial number and a PIN", a.pins.file)
	}
	a.pins.read = read
	return nil
}
