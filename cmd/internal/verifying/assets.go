package verifying

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/attest"
)

// maxAssets is how many bytes a list of assets may have.
const maxAssets = 64 << 20

// Assets are the drives that a site says it has, by serial number, in the order of its list.
type Assets struct {
	file    string
	serials []string
	lines   map[string][]int // where each is listed; more than one is a finding
	without []int            // lines that have something, and no serial number
}

// LoadAssets reads a list of assets.
func LoadAssets(file string) (*Assets, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, plain(err)
	}
	defer func() { _ = f.Close() }() // read-only
	a, err := ParseAssets(f)
	if err != nil {
		return nil, err
	}
	a.file = file
	return a, nil
}

// ParseAssets reads CSV (RFC 4180, or with semicolons or tabs as some spreadsheets write it). The
// first line names the columns, one of which is the serial number; the others are passed over.
// Serial numbers are spelled as certificates spell them, without the spaces around them.
func ParseAssets(r io.Reader) (*Assets, error) {
	limited := &io.LimitedReader{R: r, N: maxAssets + 1}
	in := bufio.NewReader(limited)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		if _, err := in.Discard(3); err != nil {
			return nil, err
		}
	}
	rows := csv.NewReader(in)
	rows.Comma, rows.FieldsPerRecord, rows.ReuseRecord = separator(in), -1, true
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	column := -1
	for i, name := range header {
		switch strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name)) {
		case "serial", "serialnumber":
			if column >= 0 {
				return nil, fmt.Errorf("columns %d and %d are both named as serial numbers", column+1, i+1)
			}
			column = i
		}
	}
	if column < 0 {
		return nil, errors.New("its first line names no column serial, serial_number or serialnumber")
	}
	a := &Assets{lines: map[string][]int{}}
	for {
		fields, err := rows.Read()
		switch {
		case limited.N <= 0:
			return nil, fmt.Errorf("it has more than %d bytes", maxAssets)
		case errors.Is(err, io.EOF) && len(a.serials) == 0:
			return nil, errors.New("it lists no serial number")
		case errors.Is(err, io.EOF):
			return a, nil
		case err != nil:
			return nil, err
		}
		line, _ := rows.FieldPos(0)
		if err := a.add(fields, column, line); err != nil {
			return nil, err
		}
	}
}

func (a *Assets) add(fields []string, column, line int) error {
	serial := ""
	if column < len(fields) {
		serial = strings.TrimSpace(fields[column])
	}
	if !utf8.ValidString(serial) || strings.ContainsRune(serial, 0) {
		return fmt.Errorf("line %d is not UTF-8 text", line)
	}
	serial = strings.Clone(attest.CleanASCII(serial)) // not the whole line
	switch {
	case serial != "":
		if a.lines[serial] == nil {
			a.serials = append(a.serials, serial)
		}
		a.lines[serial] = append(a.lines[serial], line)
	case strings.TrimSpace(strings.Join(fields, "")) != "":
		a.without = append(a.without, line)
	}
	return nil
}

// separator is the likeliest in the first line.
func separator(in *bufio.Reader) rune {
	begin, _ := in.Peek(4096) // short is as good
	first, _, _ := bytes.Cut(begin, []byte("\n"))
	best, most := ',', bytes.Count(first, []byte(","))
	for _, r := range ";\t" {
		if n := bytes.Count(first, []byte(string(r))); n > most {
			best, most = r, n
		}
	}
	return best
}
