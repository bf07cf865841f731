package server

import (
	"fmt"
	"os"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// holdings are how much is kept for whom.
type holdings map[string]*holding // by principal

// holding is what is kept for one principal.
type holding struct {
	files map[string]keptFile // by name
	bytes int64
}

// keptFile is one kept answer.
type keptFile struct {
	bytes int64
	begun time.Time
}

// put counts a file, in place of what was counted of it before.
func (h holdings) put(file, principal string, bytes int64, begun time.Time) {
	of := h[principal]
	if of == nil {
		of = &holding{files: map[string]keptFile{}}
		h[principal] = of
	}
	of.bytes += bytes - of.files[file].bytes
	of.files[file] = keptFile{bytes, begun}
}

// drop counts a file no more.
func (h holdings) drop(file string) {
	for principal, of := range h {
		f, is := of.files[file]
		if !is {
			continue
		}
		of.bytes -= f.bytes
		if delete(of.files, file); len(of.files) == 0 {
			delete(h, principal)
		}
	}
}

// within says whether one more answer can be kept for somebody. What is over its time makes room; what is not stays.
func (k *keys) within(principal string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	of := k.held[principal]
	if of == nil || len(of.files) < k.most && of.bytes < k.size {
		return nil
	}
	for file, f := range of.files {
		if time.Since(f.begun) > keyLifetime && k.running[file] == nil && os.Remove(file) == nil {
			k.held.drop(file)
		}
	}
	if len(of.files) < k.most && of.bytes < k.size {
		return nil
	}
	return api.NewProblem(api.ExitRefused, "too_many_keys", "nothing was done; answers are kept for 7 days, and old ones make room: something asks far too often. Jobs can be cancelled all the same, and expunge halt (PUT /v1/halt) needs no key",
		fmt.Errorf("%d answers to %s are kept, in %d bytes, and no more are", len(of.files), principal, of.bytes))
}
