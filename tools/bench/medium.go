package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// markEvery is the distance of marks on a drive; each is somewhere in its part.
const markEvery = 64 << 10

const markSize = 32

// marks are what the drives hold before a run, and must not hold after it. They are put into the files
// behind the drives, and looked for there.
type marks struct {
	files []string
	size  int64
	mark  [markSize]byte
	at    uint32 // of the first; in the next parts it goes on from there
}

// markDrives puts new marks on every drive.
func markDrives(loops []Loop) (*marks, error) {
	m := &marks{}
	var drawn [4]byte
	rand.Read(m.mark[:])
	rand.Read(drawn[:])
	m.at = binary.LittleEndian.Uint32(drawn[:])
	for _, l := range loops {
		m.files, m.size = append(m.files, l.File), l.Size
		if err := m.each(l.File, os.O_WRONLY, func(f *os.File, off int64) error {
			_, err := f.WriteAt(m.mark[:], off)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *marks) each(name string, how int, do func(f *os.File, off int64) error) (err error) {
	f, err := os.OpenFile(name, how, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	within := m.at
	for part := int64(0); part+markEvery <= m.size; part += markEvery {
		within = within*1664525 + 1013904223
		if err := do(f, part+int64(within>>8)%(markEvery-markSize)); err != nil {
			return err
		}
	}
	return nil
}

// ErrNotWritten: the program ended, and the drive holds what it held before, or not what was asked for.
var ErrNotWritten = errors.New("it did not overwrite its drives")

// gone makes sure that every mark was overwritten, and by what the pass says.
func (m *marks) gone(pass Pass) error {
	zero := make([]byte, markSize)
	for n, name := range m.files {
		var previous []byte
		err := m.each(name, os.O_RDONLY, func(f *os.File, off int64) error {
			got := make([]byte, markSize)
			if _, err := f.ReadAt(got, off); err != nil {
				return err
			}
			switch {
			case bytes.Equal(got, m.mark[:]):
				return fmt.Errorf("drive %d at %d: %w", n+1, off, ErrNotWritten)
			case pass == Zeros && !bytes.Equal(got, zero):
				return fmt.Errorf("drive %d at %d: %w: not zero", n+1, off, ErrNotWritten)
			case pass != Zeros && (bytes.Equal(got, zero) || bytes.Equal(got, previous)):
				return fmt.Errorf("drive %d at %d: %w: not random", n+1, off, ErrNotWritten)
			}
			previous = got
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
