package sanitize

// NVMe Format with a secure erase, of user data or of the key: the controller erases the blocks of
// namespaces and completes the command when it is done (NVMe base 2.0, 5.14). There is no account of
// it: the completion is the only word that it succeeded, and a controller that is reset ends it in the
// middle. Whatever became of the command, namespaces, formats and capacity are read again before
// anything is concluded. One that was cut off is sent again by the next attempt, to a drive that is as
// it was planned. The blocks keep their size, metadata and protection.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// secureErases are SES of the techniques (NVMe base 2.0, 5.14).
var secureErases = map[Technique]nvme.SecureErase{Format: nvme.UserDataErase, CryptographicFormat: nvme.CryptographicErase}

func nvmeFormatOperation(t Technique, f devices.FormatNVM) Operation {
	w := "NVMe Format, user data erase, "
	if t == CryptographicFormat {
		w = "NVMe Format, cryptographic erase, "
	}
	switch {
	case f.ErasesAll:
		w += "every namespace of the subsystem"
	case f.NSID == nvme.EveryNamespace:
		w += "every namespace of the controller"
	default:
		w += fmt.Sprintf("namespace %d", f.NSID)
	}
	return Operation{Kind: NVMeFormat, Command: w, Code: f.With(secureErases[t]), NSID: f.NSID}
}

// formatsAs says what of a drive is not as a planned NVMe format takes it to be: its namespaces, what a
// format reaches and keeps of them, and the capacity that belongs to none. nil when all of it is.
func (dp DrivePlan) formatsAs(d devices.Drive) error {
	if len(dp.Operations) == 0 || dp.Operations[0].Kind != NVMeFormat {
		return nil
	}
	planned, what := dp.Operations[0], ""
	f := d.FormatNVM
	switch {
	case !slices.EqualFunc(dp.Namespaces, d.Namespaces, sameNamespace):
		what = fmt.Sprintf("its namespaces are not the %d that were planned", len(dp.Namespaces))
	case f == nil:
		what = "it has no Format NVM command any more"
	case f.Bars != "":
		what = f.Bars
	case planned.Technique == CryptographicFormat && !f.Crypto:
		what = "its format cannot erase cryptographically any more"
	case d.Unallocated != dp.Unallocated:
		what = fmt.Sprintf("%d bytes of its capacity belong to no namespace, planned were %d", d.Unallocated, dp.Unallocated)
	default:
		now := nvmeFormatOperation(planned.Technique, *f)
		if now.Code == planned.Code && now.NSID == planned.NSID && now.Command == planned.Command {
			return nil
		}
		what = fmt.Sprintf("its format and scope are now those of %s, CDW10 %#x, planned was %s, CDW10 %#x", now.Command, now.Code, planned.Command, planned.Code)
	}
	return fmt.Errorf("%s %s: %s: %w", d.Model, d.Serial, what, ErrPlanChanged)
}

type nvmeFormat struct{}

func (nvmeFormat) ask(ctx context.Context, t devices.Transport, _ devices.Protocol) ([]byte, bool, error) {
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
	code, err := nvme.Format{NSID: planned.NSID, SES: secureErases[planned.Technique], Namespace: n}.CDW10()
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
	format := nvme.Format{NSID: planned.NSID, SES: secureErases[planned.Technique], Namespace: before, Bytes: r.drive.SizeBytes}
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
	if err == nil && failed != nil && !failed.Aborted() {
		return false, &fault{fmt.Errorf("%s: the drive reports that it failed: %w", planned.Command, failed)}
	}
	if err == nil {
		err = r.reidentify(context.WithoutCancel(ctx), "concluding what became of "+planned.Command)
	}
	return answered, err
}
