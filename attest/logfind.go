package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// find is the newest entry that matches, with its index; -1 when there is none. Only entries that have
// the word are looked at. What it returns is in the tree: its hash was compared.
func (t *tree) find(word string, match func(leaf) bool) (found leaf, at int64, err error) {
	at = -1
	err = t.scan(word, func(l leaf, index int64) (bool, error) {
		if !match(l) {
			return false, nil
		}
		found, at = l, index
		return true, t.holds(l, index)
	})
	if err != nil {
		return leaf{}, -1, err
	}
	return found, at, nil
}

// entryAt is an entry and its place.
type entryAt struct {
	leaf
	index int64
}

// all are the entries that match, oldest first. They are looked for and compared as find does.
func (t *tree) all(word string, match func(leaf) bool) ([]entryAt, error) {
	var list []entryAt
	err := t.scan(word, func(l leaf, index int64) (bool, error) {
		if !match(l) {
			return false, nil
		}
		list = append(list, entryAt{l, index})
		return false, t.holds(l, index)
	})
	slices.Reverse(list)
	return list, err
}

// scan shows the entries that have a word, newest first, until it is told to stop.
func (t *tree) scan(word string, show func(l leaf, index int64) (stop bool, err error)) error {
	for n := (t.size - 1) >> tileHeight; n >= 0 && t.size > 0; n-- {
		list, err := t.entries(n)
		if err != nil {
			return err
		}
		for i := len(list) - 1; i >= 0; i-- {
			if !bytes.Contains(list[i], []byte(word)) {
				continue
			}
			index := n<<tileHeight + int64(i)
			var l leaf
			if err := json.Unmarshal(list[i], &l); err != nil {
				return &LogError{t.log.dir, fmt.Sprintf("entry %d is damaged: %v", index, err)}
			}
			if stop, err := show(l, index); err != nil || stop {
				return err
			}
		}
	}
	return nil
}

// holds says that an entry is the one in the tree.
func (t *tree) holds(l leaf, index int64) error {
	hashes, err := t.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return err
	}
	data, err := Canonical(l)
	if err != nil || hashes[0] != tlog.RecordHash(data) {
		return &LogError{t.log.dir, fmt.Sprintf("entry %d is not the one that was logged", index)}
	}
	return nil
}
