package main

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// tcgWords say in a few lines what a drive says of its self-encryption.
func tcgWords(d devices.Drive) []string {
	t := d.TCG
	switch {
	case t == nil:
		return nil
	case t.Unread != nil:
		return []string{"unknown: it cannot be read"}
	}
	name := strings.Join(t.SSCs, ", ")
	if name == "" {
		name = "no class that is known here"
	}
	lines := []string{name + ": " + lockingWords(t.Facts)}
	if b := t.BlockSID; b != nil {
		words := "the owner's PIN was changed"
		if b.SIDIsMSID {
			words = "the owner's PIN is the one it was made with"
		}
		if b.Blocked {
			words += ", and authentication as owner is blocked until power is lost"
		}
		lines = append(lines, words)
	}
	if r := t.Removal; r != nil {
		lines = append(lines, removalWords(r))
	}
	return lines
}

func lockingWords(f tcg.Facts) string {
	if !f.LockingSupported {
		return "it does not lock"
	}
	words := []string{"not activated"}
	if f.LockingEnabled {
		words[0] = "activated"
	}
	if f.Locked {
		words = append(words, "LOCKED")
	}
	if f.MediaEncryption {
		words = append(words, "media encrypted")
	} else {
		words = append(words, "media NOT encrypted")
	}
	switch {
	case f.MBREnabled && f.MBRDone:
		words = append(words, "shadow MBR set aside")
	case f.MBREnabled:
		words = append(words, "shadow MBR shown")
	}
	if f.Ranges != nil {
		words = append(words, fmt.Sprintf("%d ranges", *f.Ranges))
	}
	return strings.Join(words, ", ")
}

// removalWords say how a revert removes data, and for how long by the drive's own estimate.
func removalWords(r *tcg.Removal) string {
	var list []string
	for _, m := range r.Mechanisms {
		w := m.Name
		if m.Seconds != nil {
			w += fmt.Sprintf(" (%d s)", *m.Seconds)
			if m.AtLeast {
				w = fmt.Sprintf("%s (over %d s)", m.Name, *m.Seconds)
			}
		}
		list = append(list, w)
	}
	words := "removes data by " + strings.Join(list, ", ")
	if len(list) == 0 {
		words = "does not say how it removes data"
	}
	if r.Processing {
		words += "; it is doing so"
	}
	if r.Interrupted {
		words += "; the latest was INTERRUPTED"
	}
	return words
}
