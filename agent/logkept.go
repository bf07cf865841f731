package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/expunge-dev/expunge/attest"
)

// markFile is, beside the keys, the checkpoint of the log as it was when it was settled last. A log that is gone, or another, is told by it.
const markFile = "log.checkpoint"

func (a *Agent) logMark() string { return filepath.Join(a.dir, keysDir, markFile) }

// logMarked says whether it is known how far the log was.
func (a *Agent) logMarked() (bool, error) {
	_, err := os.Lstat(a.logMark())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// logKey reads the log's key, which is made on first use: never for a log that was begun.
func (a *Agent) logKey() (*attest.LogKey, error) {
	marked, err := a.logMarked()
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	dir := filepath.Join(a.dir, keysDir)
	if name := filepath.Join(dir, attest.LogKeyFile); marked {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return nil, &attest.KeyFileError{File: name, Problem: "is missing, and the log of this state was begun with it", Hint: "restore it from a backup; another key is another log, in a new state directory"}
		}
	}
	return attest.LoadOrCreateLogKey(dir)
}

// logGoesOn says whether the log is one that a job can be begun with: it has what was logged in this state before.
func (a *Agent) logGoesOn(log *attest.Log) error {
	entries := int64(0)
	switch marked, err := a.logMarked(); {
	case err != nil:
		return fmt.Errorf("log: %w", err)
	case !marked: // none was settled since marks are kept, or the mark was lost
		if entries, err = a.logged(); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	return log.Stands(entries)
}

// countedJobs are those whose journals will never tell of more entries of the log, and what they tell: each job that begins asks all
// others, and many begin at once.
type countedJobs struct {
	mu      sync.Mutex
	entries map[string]int64
}

// logged is how many entries the log has at least, by the journals of all jobs.
func (a *Agent) logged() (entries int64, err error) {
	names, err := a.jobNames()
	if err != nil {
		return 0, err
	}
	a.counted.mu.Lock()
	defer a.counted.mu.Unlock()
	for _, job := range names {
		n, known := a.counted.entries[job]
		if !known {
			var all bool
			if n, all = a.loggedOf(job); all {
				if a.counted.entries == nil {
					a.counted.entries = map[string]int64{}
				}
				a.counted.entries[job] = n
			}
		}
		entries = max(entries, n)
	}
	return entries, nil
}

// loggedOf is what the journals of a job tell of the log, and whether they will tell no more: an intent is noted once for each drive.
func (a *Agent) loggedOf(job string) (entries int64, all bool) {
	p, err := a.loadPlan(job)
	if err != nil {
		return 0, false // whoever plans is told
	}
	all = true
	for _, d := range p.Drives {
		n := a.result(job, d).Logged()
		entries = max(entries, n)
		all = all && n > 0
	}
	return entries, all
}

// Logged is how many entries the log has at least, by the drive's journal; 0 when nothing of it was logged.
func (r DriveResult) Logged() int64 {
	if r.Evidence == nil || r.Evidence.IntentLeaf == "" {
		return 0
	}
	return r.Evidence.IntentIndex + 1
}

// LogStands says whether the log is there, with so many entries at least and all that it is known to have had. The error is an
// *attest.LogError or *attest.KeyFileError when it is not. No key is made, nor asked for.
func (a *Agent) LogStands(entries int64) error {
	marked, err := a.logMarked()
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if !marked && entries == 0 {
		return nil // nothing is known to have been logged
	}
	key, err := a.logKey()
	if err != nil {
		return err
	}
	return a.heldLog(key).Stands(entries)
}

// LogGoesOnFrom says whether the log has all that a copy of its directory has.
func (a *Agent) LogGoesOnFrom(copied fs.FS) error {
	key, err := a.logKey()
	if err != nil {
		return err
	}
	return a.heldLog(key).GoesOnFrom(copied)
}

// LogDir is the directory of the log.
func (a *Agent) LogDir() string { return filepath.Join(a.dir, logDir) }
