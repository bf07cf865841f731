package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// evidence knows which jobs have nothing left to do, and whether what shows that is where it should be.
type evidence struct {
	agent *agent.Agent
	sink  *sink // nil where none is configured

	mu      sync.Mutex // one looks, and copies, at a time; guards settled, but for what judgeAll does
	settled map[string]settled

	overMu sync.Mutex // guards over; held for moments alone
	over   map[string]bool
}

// isOver says whether a job was found to be at its end, so that nobody is at work on it any more. It waits for no look.
func (e *evidence) isOver(job string) bool {
	e.overMu.Lock()
	defer e.overMu.Unlock()
	return e.over[job]
}

func (e *evidence) setOver(job string, is bool) {
	e.overMu.Lock()
	defer e.overMu.Unlock()
	if is {
		e.over[job] = true
	} else {
		delete(e.over, job)
	}
}

// settled is a job that was judged to have nothing left to do, by these files as they were. It is judged anew when one of them is
// another: a certificate that was issued again, or taken away.
type settled struct {
	files  []string
	were   []os.FileInfo // nil where there was none
	logged int64         // how many entries the log has at least, by its journals
}

// look says what speaks against taking the host's power, of these jobs and, where still says that nothing else writes there, of
// what they are audited by. A look that is not thorough takes it that what was copied before is there. It ends early, and says so, as
// soon as over says that nobody waits for it.
func (e *evidence) look(jobs []string, still, thorough bool, judged func(), over func() bool) []devices.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	var why []devices.Reason
	var ended []settled
	reasons := e.judgeAll(jobs, judged, over)
	if over() {
		return []devices.Reason{stopping}
	}
	for i, reason := range reasons {
		job := jobs[i]
		if reason != nil {
			why = append(why, *reason)
			still = still && reason.Code != agent.ReasonRunning
			continue
		}
		ended = append(ended, e.settled[job])
	}
	logged := int64(0)
	for _, s := range ended {
		logged = max(logged, s.logged)
	}
	switch err := e.agent.LogStands(logged); {
	case errors.Is(err, syscall.EROFS): // which it cannot be locked on: it is not gone, and nothing is to be put back
		return append(why, readOnly)
	case err != nil: // nothing of it is copied over what the sink has
		return append(why, devices.Reason{Code: "log", Message: err.Error(), Hint: api.HintLog})
	}
	if e.sink == nil {
		return why
	}
	if len(jobs) == 0 { // there may be records of no job, and the log that they are in: of a start that was refused
		beside, err := anyIn(e.agent.KeptBeside())
		if err != nil {
			return append(why, unreadableState(err))
		}
		if !beside {
			return why
		}
	}
	lacks := func(err error) devices.Reason {
		return devices.Reason{Code: "sink", Message: fmt.Sprintf("the evidence is not where it should be: %v", err), Hint: "look at the sink"}
	}
	if err := e.sink.ready(); err != nil {
		return append(why, lacks(err))
	}
	if err := e.sink.sameLog(e.agent); err != nil {
		return append(why, lacks(err))
	}
	for _, s := range ended {
		for i, name := range s.files {
			if s.were[i] == nil {
				continue
			}
			if over() {
				return append(why, stopping)
			}
			if err := e.sink.keep(name, s.were[i]); err != nil {
				return append(why, lacks(err)) // what keeps one from it keeps the others
			}
		}
	}
	if still {
		for _, dir := range e.agent.KeptBeside() {
			if over() {
				return append(why, stopping)
			}
			if err := e.sink.keepTree(dir, thorough); err != nil {
				why = append(why, lacks(err))
			}
		}
	}
	return why
}

// anyIn says whether there is anything in one of some directories, which need not be there.
func anyIn(dirs []string) (bool, error) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if len(entries) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// judgeAll says what is left to do for each of these jobs; nil is nothing. As many are judged at once as there are processors: after a
// start every certificate is verified. judged is called after each, by several at once.
func (e *evidence) judgeAll(jobs []string, judged func(), over func() bool) []*devices.Reason {
	why, now := make([]*devices.Reason, len(jobs)), make([]settled, len(jobs))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(len(jobs), runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(jobs); i = int(next.Add(1)) - 1 {
				if over() {
					why[i] = &stopping
					continue
				}
				var err error
				if now[i], why[i], err = e.judge(jobs[i]); err != nil {
					why[i] = &devices.Reason{Code: "unknown", Message: fmt.Sprintf("job %s: %v", jobs[i], err), Hint: "look at the state directory"}
				}
				judged()
			}
		})
	}
	all.Wait()
	for i, job := range jobs {
		if why[i] == nil {
			e.settled[job] = now[i]
		} else {
			delete(e.settled, job)
		}
		e.setOver(job, why[i] == nil)
	}
	return why
}

// reasonUnfinished is why not to power off while a job is not at its end.
const reasonUnfinished = "unfinished"

// drivesNamed are drives by their serial numbers, a few of them.
func drivesNamed(serials []string) string {
	const most = 3
	switch n := len(serials); {
	case n == 1:
		return "drive " + serials[0]
	case n > most+1:
		return fmt.Sprintf("drives %s and %d others", strings.Join(serials[:most], ", "), n-most)
	}
	return "drives " + strings.Join(serials, ", ")
}

// judge says what is left to do for a job that nobody is at work on here. It changes nothing.
func (e *evidence) judge(job string) (settled, *devices.Reason, error) {
	if have, known := e.settled[job]; known {
		if same, err := have.same(); err != nil || same {
			return have, nil, err
		}
	}
	// A file that another process wrote while they were read is not among those that were there: it would be taken for copied.
	for range judgeTries {
		now, why, err := e.judgeOnce(job)
		if err != nil || why != nil {
			return now, why, err
		}
		if same, err := now.same(); err != nil || same {
			return now, nil, err
		}
	}
	return settled{}, &devices.Reason{Code: "unknown", Message: "the files of job " + job + " change while they are looked at", Hint: "ask again"}, nil
}

// judgeTries is how often a job is judged whose files are others each time.
const judgeTries = 3

// judgeOnce is judge of a job that has to be read.
func (e *evidence) judgeOnce(job string) (settled, *devices.Reason, error) {
	p, err := e.agent.PlanOf(job)
	if err != nil {
		return settled{}, nil, err
	}
	now := settled{files: e.agent.KeptOf(job, p)}
	if now.were, err = stats(now.files); err != nil { // before they are read: what changes meanwhile is another then
		return now, nil, err
	}
	attended, err := e.agent.Attended(job) // first: one that comes to its end meanwhile has not stopped short of it
	if err != nil {
		return now, nil, err
	}
	j, err := e.agent.Job(job)
	if err != nil {
		return now, nil, err
	}
	if attended {
		r := runsElsewhere(job)
		return now, &r, nil
	}
	var unfinished, uncertified []string
	var unreadable error
	for _, d := range j.Drives {
		now.logged = max(now.logged, d.Logged())
		switch {
		case d.Unreadable():
			unreadable = errors.Join(unreadable, d.Err)
		case !d.Finished():
			unfinished = append(unfinished, d.Drive.Serial)
		case d.Certificate == "" && (d.Outcome != sanitize.RefusedRun || d.Evidence != nil && d.Evidence.IntentLeaf != ""):
			uncertified = append(uncertified, d.Drive.Serial)
		}
	}
	switch {
	case unreadable != nil:
		return now, &devices.Reason{Code: "unknown", Message: unreadable.Error(), Hint: "look at the state directory"}, nil
	case len(unfinished) > 0:
		return now, &devices.Reason{Code: reasonUnfinished, Message: fmt.Sprintf("job %s is not at its end, and data is left on %s", job, drivesNamed(unfinished)), Hint: "resume the job, or abandon it"}, nil
	case len(uncertified) > 0:
		return now, &devices.Reason{Code: "uncertified", Message: fmt.Sprintf("job %s has no certificate of %s", job, drivesNamed(uncertified)), Hint: "run: expunge certificate reissue " + job}, nil
	}
	return now, nil, nil
}

// same says whether all files are as they were.
func (s settled) same() (bool, error) {
	now, err := stats(s.files)
	if err != nil {
		return false, err
	}
	for i := range now {
		if !unchanged(now[i], s.were[i]) {
			return false, nil
		}
	}
	return true, nil
}

func stats(files []string) ([]os.FileInfo, error) {
	list := make([]os.FileInfo, len(files))
	for i, name := range files {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list[i] = info
	}
	return list, nil
}

// unchanged says whether a file is the one that it was, as far as its inode tells; nil is none.
func unchanged(now, was os.FileInfo) bool {
	if now == nil || was == nil {
		return now == nil && was == nil
	}
	return os.SameFile(now, was) && now.Size() == was.Size() && now.ModTime().Equal(was.ModTime())
}
