package service

import (
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// codeState is the code of what is wrong with the state directory as a whole, and hintState what to do about one that is not the agent's.
const (
	codeState = "state"
	hintState = "put back the one that it opened, or start the agent again; ask who has moved it"
)

// errAnotherState: what is at the path of the state is not what this service opened. Jobs and certificates that are read there say
// nothing of what this process does.
var errAnotherState = errors.New("the state directory is another than the one that this agent opened")

// StateStands says whether the state at its path is the one that this service opened, by the lock that it holds there. Of one that is
// not resident, which holds none, that is not known.
func (s *Service) StateStands() error {
	if s.lock == nil {
		return nil
	}
	named, err := s.lock.Named()
	switch {
	case err != nil:
		return fmt.Errorf("whether the state directory is the one that this agent opened cannot be told: %w", err)
	case !named:
		return errAnotherState
	}
	return nil
}

// stateProblem is a refusal of what acts while the state is another.
func stateProblem(err error) error {
	return api.NewProblem(api.ExitInternal, codeState, "nothing was touched: "+hintState, err)
}

func stateReason(err error) devices.Reason {
	return devices.Reason{Code: codeState, Message: err.Error(), Hint: hintState}
}

// readOnly is what is wrong with a state on a file system that is read-only, as some become by themselves after an error.
var readOnly = devices.Reason{Code: codeState, Message: "the file system of the state is read-only", Hint: "make it writable again, as it is; then resume what has stopped (expunge jobs), or start the agent again"}
