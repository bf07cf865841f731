package sanitize

// NVMe Sanitize: the drive erases itself, everything in its subsystem, and goes on whatever becomes
// of the host. A completed command says that the operation began; only log page 81h says how it
// went (NVMe base 2.0, 5.24 and 8.21). It goes wrong in ways that are answered here and in
// operate.go: the log's progress is FFFFh after a success and after a failure (SOS decides), the
// log shows an older success (it must be tied to our command), the host dies (the operation is
// found again and waited for), the progress stands still or falls (said, and waited for).

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// The bits of a Sanitize command's CDW10 that are judged, beside the action.
const (
	cdw10NDAS = 1 << 9
	cdw10EMVS = 1 << 10
	cdw10PREQ = 1 << 11
)

// nvmeOperation plans a Sanitize or a Format command. The code is CDW10, which the log of a sanitize
// gives back. last says that nothing follows, so that what it leaves is what is read back.
func nvmeOperation(step Technique, last bool, d devices.Drive, r Request) Operation {
	if step.formats() {
		return nvmeFormatOperation(step, *d.FormatNVM)
	}
	s := d.Sanitize
	c := nvme.Sanitize{SANACT: nvme.BlockErase, AUSE: r.FailureMode == Unrestricted, PREQ: s.PurgeRequired}
	// Zones that were deallocated are empty, and every block of an empty zone reads as if nothing were there.
	c.NDAS = s.NoDeallocate && zoned(d)
	estimate := s.EstimateBlock
	switch step {
	case CryptographicErase:
		c.SANACT, c.NDAS, estimate = nvme.CryptoErase, s.NoDeallocate, s.EstimateCrypto
	case DriveOverwrite:
		// Left allocated, the blocks read as what was written, and not as what unmapped ones do.
		c.SANACT, c.OWPASS, c.NDAS, estimate = nvme.Overwrite, 1, s.NoDeallocate, s.EstimateOverwrite
	}
	// A drive does not tell its zones while it sanitizes itself, and without them nothing can be read.
	zoned := slices.ContainsFunc(d.Namespaces, func(n devices.Namespace) bool { return n.Zoned })
	if last && s.MediaVerification && !zoned && c.SANACT != nvme.Overwrite && r.Verify != VerifyStatus && s.State != devices.SanitizeFailed {
		c.EMVS, c.NDAS = true, false
	}
	w := "NVMe Sanitize, " + c.SANACT.String()
	if c.SANACT == nvme.Overwrite {
		w += ", one pass of zeros"
	}
	if c.NDAS {
		w += ", no deallocation"
	}
	if c.EMVS {
		w += ", media verification"
	}
	if c.AUSE {
		w += ", unrestricted"
	}
	return Operation{Kind: NVMeSanitize, Command: w, Code: c.CDW10(), EstimateSeconds: estimate}
}

type nvmeSanitize struct{}

func (nvmeSanitize) ask(ctx context.Context, t devices.Transport, _ devices.Protocol) ([]byte, bool, error) {
	_, page, err := devices.ReadSanitizeStatus(ctx, t)
	return page, false, err
}

// parse judges SOS, SCDW10 and global data erased, and purged where that was demanded (NVMe base
// 2.0, 5.16.1.25).
func (nvmeSanitize) parse(page []byte, planned Operation) (account, error) {
	st, err := nvme.ParseSanitizeStatus(page)
	if err != nil {
		return account{}, err
	}
	a := account{
		phase: atRest, mine: st.SCDW10 == planned.Code, unrestricted: st.Unrestricted(), unmapped: st.Status() == nvme.SucceededDeallocating,
		progress: st.SPROG, hasProgress: true,
		words: st.Status().String(), detail: fmt.Sprintf("of CDW10 %#x, ours is %#x, global data erased: %v, sanitize state %d", st.SCDW10, planned.Code, st.GlobalDataErased(), st.SANS()),
	}
	switch st.Status() {
	case nvme.SanitizeInProgress:
		a.phase = running
	case nvme.SanitizeFailed:
		a.phase = failed
	}
	// Revisions may differ in what SOS is meanwhile; a drive without media verification has no SANS.
	if planned.audited() && a.phase != failed {
		switch st.SANS() {
		case nvme.InMediaVerification:
			a.phase, a.words = verifying, "media verification"
		case nvme.InDeallocation:
			a.phase = running
		}
	}
	a.cancelled = planned.audited() && st.VerificationCancelled()
	a.written = st.Succeeded() && !st.GlobalDataErased()
	a.explicit = a.phase == atRest && st.Succeeded() && a.mine && st.GlobalDataErased() && (planned.Code&cdw10PREQ == 0 || st.Purged())
	return a, nil
}

func (nvmeSanitize) estimate(page []byte, planned Operation) (int64, bool) {
	st, err := nvme.ParseSanitizeStatus(page)
	if err != nil {
		return 0, false
	}
	seconds, known := st.Estimate(nvme.Action(planned.Code&7), planned.Code&cdw10NDAS != 0)
	return int64(seconds), known
}

func (nvmeSanitize) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	command, err := nvmeCommand(planned)
	if err != nil {
		return false, &fault{err}
	}
	return r.sendOnce(i, func() error {
		// Once sent it goes on: giving up now would only lose its answer.
		done, err := r.transport(planned).NVMe(context.WithoutCancel(ctx), command)
		if err == nil {
			err = done.Err()
		}
		return err
	}, func(err error) bool {
		var failed *nvme.StatusError
		return errors.As(err, &failed) && failed.Refused()
	})
}

// nvmeCommand makes the command of a planned operation. What does not come out as it was planned
// is not sent.
func nvmeCommand(o Operation) (*nvme.Command, error) {
	d := o.Code
	s := nvme.Sanitize{SANACT: nvme.Action(d & 7), AUSE: d&(1<<3) != 0, NDAS: d&cdw10NDAS != 0, EMVS: d&cdw10EMVS != 0, PREQ: d&cdw10PREQ != 0}
	if s.SANACT == nvme.Overwrite {
		s.OWPASS = 1
	}
	c, err := s.Command()
	if err == nil && (c.CDW10 != d || s.SANACT == nvme.ExitFailureMode || s.SANACT == nvme.ExitMediaVerification) {
		err = fmt.Errorf("operation %q: CDW10 %#x is none that is sent", o.Command, d)
	}
	return c, err
}
