package sanitize

// NVMe Format with a user data erase: the controller erases the blocks of namespaces and completes the
// command when it is done (NVMe base 2.0, 5.14). There is no account of it: the completion is the only
// word that it succeeded, and a controller that is reset ends it in the middle. One that was cut off
// is sent again. The blocks keep their size, metadata and protection.

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

func nvmeFormatOperation(f devices.FormatNVM) Operation {
	w := "NVMe Format, user data erase, "
	switch {
	case f.ErasesAll:
		w += "every namespace of the subsystem"
	case f.NSID == nvme.EveryNamespace:
		w += "every namespace of the controller"
	default:
		w += fmt.Sprintf("namespace %d", f.NSID)
	}
	return Operation{Kind: NVMeFormat, Command: w, Code: f.CDW10, NSID: f.NSID}
}

type nvmeFormat struct{}

func (nvmeFormat) ask(ctx context.Context, t devices.Transport) ([]byte, bool, error) {
	page, err := devices.ReadFormatProgress(ctx, t)
	return page, false, err
}

// parse reads Identify Namespace: whether a format runs, where the controller tells, and whether the
// namespace has the format that was to be kept.
func (nvmeFormat) parse(page []byte, planned Operation) (account, error) {
	n, err := nvme.ParseNamespace(page)
	if err != nil {
		return account{}, err
	}
	code, err := nvme.Format{NSID: planned.NSID, SES: nvme.UserDataErase, Namespace: n}.CDW10()
	if err != nil {
		return account{}, err
	}
	a := account{phase: atRest, mine: true, explicit: code == planned.Code, words: "no format runs"}
	if code != planned.Code {
		a.detail = fmt.Sprintf("the namespace's format would be kept by CDW10 %#x, ours is %#x", code, planned.Code)
	}
	if left, is := n.Formatting(); is {
		a.phase, a.explicit, a.words = running, false, "format in progress"
		a.progress, a.hasProgress = uint16(wholeProgress*(100-min(left, 100))/100), true
	}
	return a, nil
}

// estimate: the drive gives none.
func (nvmeFormat) estimate([]byte, Operation) (int64, bool) { return 0, false }

func (nvmeFormat) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	before, err := nvme.ParseNamespace(r.operations[i].was)
	if err != nil {
		return false, err
	}
	format := nvme.Format{NSID: planned.NSID, SES: nvme.UserDataErase, Namespace: before, Bytes: r.drive.SizeBytes}
	command, err := format.Command()
	if err == nil && command.CDW10 != planned.Code {
		err = fmt.Errorf("%s: the namespace is not in the format that was planned (CDW10 %#x, planned %#x): make a new plan", planned.Command, command.CDW10, planned.Code)
	}
	if err != nil {
		return false, &fault{err}
	}
	var failed *nvme.StatusError // the drive's own answer, whatever it leaves open
	answered, err := r.sendOnce(i, func() error {
		// Giving up in the middle would only lose the answer.
		done, err := r.transport(planned).NVMe(context.WithoutCancel(ctx), command)
		if err == nil {
			err = done.Err()
		}
		errors.As(err, &failed)
		return err
	}, func(err error) bool { return failed != nil && failed.Refused() })
	const path = 3 // the status type of what happened between host and controller
	if err == nil && failed != nil && failed.Type != path {
		return false, &fault{fmt.Errorf("%s: the drive reports that it failed: %w", planned.Command, failed)}
	}
	return answered, err
}
