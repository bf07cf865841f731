package service

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// UnendedError: the service was closed, and this of it has not ended in time. What is under way ends with the process, but for drives
// that erase themselves.
type UnendedError struct {
	Jobs       []string // by name
	Themselves []string // drives of these jobs that erase themselves, by serial number
	Sink       string   // where evidence is copied to, when no job is left: it may be what does not answer
}

func (e *UnendedError) Error() string {
	switch {
	case len(e.Themselves) > 0:
		return fmt.Sprintf("%s did not stop in time; drives erase themselves, which nothing stops: %s", jobsNamed(e.Jobs), strings.Join(e.Themselves, ", "))
	case len(e.Jobs) > 0:
		return fmt.Sprintf("%s did not stop in time: a drive, or the state, does not answer", jobsNamed(e.Jobs))
	case e.Sink != "":
		return fmt.Sprintf("no job runs, and what was looked at did not answer in time: sink %s, the state, or a drive", e.Sink)
	}
	return "no job runs, and what was looked at did not answer in time: the state, or a drive"
}

func jobsNamed(jobs []string) string {
	if len(jobs) == 1 {
		return "job " + jobs[0]
	}
	return fmt.Sprintf("%d jobs (%s)", len(jobs), strings.Join(jobs, ", "))
}

// toldWithin is how long journals are given to say which drives erase themselves, when the service ends: a state may not answer.
const toldWithin = 2 * time.Second

// unended says what has not ended in time.
func (s *Service) unended() error {
	running := s.atWork()
	told := make(chan []string, 1)
	go func() {
		var list []string
		for _, job := range slices.Sorted(maps.Keys(running)) {
			itself, _ := s.Agent.ByThemselves(job) // of what cannot be read nothing is said
			for _, d := range running[job].plan.Drives {
				if itself[d.ID] {
					list = append(list, d.Serial)
				}
			}
		}
		told <- list
	}()
	e := &UnendedError{Jobs: slices.Sorted(maps.Keys(running)), Sink: s.Sink}
	select {
	case e.Themselves = <-told:
	case <-time.After(toldWithin):
	}
	return e
}
