package sanitize

// A cryptographic erase by the trusted peripheral of a self-encrypting drive (TCG Storage Core 2.01, Opal SSC
// 2.30, Enterprise SSC). A revert brings the drive back to how it was made, with new keys. It does so only
// where the Locking SP is active: on a drive that was never taken into use it leaves all data (Opal 2.30
// 5.1.2.2), so that the SP is activated first, and seen to be active. The status of the method says that
// it was taken; Level 0 discovery, before and after, says that the SP was active and is not any more, and
// whether data are still being removed. New keys for each range, and the erase of each Enterprise band,
// leave no account at all: the completion is the only word for them, as with an NVMe format.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// tcgErase reads accounts and sends commands of both kinds.
type tcgErase struct{ keepsAccount bool }

func (tcgErase) ask(ctx context.Context, t devices.Transport, p devices.Protocol) ([]byte, bool, error) {
	_, d, err := devices.OpenTCG(ctx, t, p)
	return d.Page, false, err
}

func (e tcgErase) parse(page []byte, planned Operation) (account, error) {
	d, err := tcg.ParseDiscovery(page)
	if err != nil {
		return account{}, err
	}
	f := d.Facts()
	if !f.LockingSupported || !f.MediaEncryption {
		return account{}, errors.New("Level 0 discovery: no locking with encryption of the media")
	}
	words := []string{"Locking SP inactive"}
	if f.LockingEnabled {
		words[0] = "Locking SP active"
	}
	if f.Locked {
		words = append(words, "locked")
	}
	if f.MBREnabled && !f.MBRDone {
		words = append(words, "shadow MBR shown")
	}
	a := account{phase: atRest, mine: true, active: f.LockingEnabled, barred: f.Locked || f.MBREnabled && !f.MBRDone}
	// An Enterprise drive's Locking SP is always active.
	a.explicit = !a.barred && (!f.LockingEnabled || !e.keepsAccount)
	if f.Removal != nil && f.Removal.Processing {
		a.phase, a.explicit, words = running, false, append(words, "removing data")
	} else if f.Removal != nil && f.Removal.Interrupted {
		a.cutOff, a.explicit, words = true, false, append(words, "removal of data was interrupted")
	}
	a.words = strings.Join(words, ", ")
	return a, nil
}

// estimate: the drive has one for each mechanism, and does not say without a session which is in use.
func (tcgErase) estimate([]byte, Operation) (int64, bool) { return 0, false }

func (tcgErase) send(ctx context.Context, r *run, i int) (bool, error) {
	planned := r.drive.Operations[i]
	door, d, err := devices.OpenTCG(ctx, r.transport(planned), r.drive.Protocol)
	if err != nil {
		return false, err
	}
	pin, err := r.tcgPIN(ctx, door, d, i)
	if err != nil {
		return false, err
	}
	defer pin.Wipe()
	// What was begun is brought to its end: an interrupted revert leaves nobody knows what.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tcgPatience)
	defer cancel()
	if !r.operations[i].before.active {
		if sends := r.operations[i].sends; planned.Code&tcgActivate == 0 && sends > 0 {
			return false, &untold{fmt.Errorf("%s: its Locking SP is not active any more, and nothing tells whether this job or somebody else brought that about: make a new plan", planned.Command)}
		}
		if planned.Code&tcgActivate == 0 {
			return false, &fault{fmt.Errorf("%s: its Locking SP is not active: nothing would be erased, and nothing was begun", planned.Command)}
		}
		if d, err = r.activate(ctx, door, d, i, pin); err != nil {
			return false, err
		}
	}
	sp, as, err := planned.tcgSession()
	if err != nil {
		return false, &fault{err}
	}
	// The session is opened before the intent is noted: a PIN that is wrong is no command.
	session, err := tcgSession(ctx, door, d, sp, as, pin)
	if err != nil {
		return false, r.tcgRefused(planned, err)
	}
	var ranges []tcg.Range
	if planned.Kind == TCGKeysCommand {
		if ranges, err = session.ReadRanges(ctx); err == nil && !slices.ContainsFunc(ranges, tcg.Range.Global) {
			err = errors.New("the range that all other blocks belong to is not among them")
		}
		if err != nil {
			return false, errors.Join(fmt.Errorf("%s: which ranges there are: %w", planned.Command, err), session.Close(ctx))
		}
	}
	begun := false
	answered, err := r.sendOnce(i, func() error {
		switch planned.tcgWay() {
		case tcg.WayRevertSP:
			return session.RevertSP(ctx)
		case tcg.WayGenKey, tcg.WayEnterpriseErase:
			for n, x := range ranges {
				if err := newKey(ctx, session, planned.tcgWay(), x); err != nil {
					return fmt.Errorf("range %d of %d: %w", n+1, len(ranges), err)
				}
				begun = true
			}
			return session.Close(ctx)
		}
		return session.Revert(ctx, tcg.AdminSP)
	}, func(err error) bool {
		var status *tcg.StatusError
		return errors.As(err, &status) && status.Refused() && !begun
	})
	if err != nil {
		return answered, errors.Join(err, session.Close(ctx))
	}
	return answered, nil
}

func newKey(ctx context.Context, s *tcg.Session, w tcg.Way, x tcg.Range) error {
	if w == tcg.WayEnterpriseErase {
		return s.Erase(ctx, x)
	}
	if x.ActiveKey == 0 {
		return errors.New("its key is not told")
	}
	return s.GenKey(ctx, x.ActiveKey)
}

// activate makes the Locking SP active, and makes sure that it is.
func (r *run) activate(ctx context.Context, door tcg.Door, d tcg.Discovery, i int, pin tcg.Secret) (tcg.Discovery, error) {
	planned := r.drive.Operations[i]
	session, err := tcgSession(ctx, door, d, tcg.AdminSP, tcg.SID, pin)
	if err != nil {
		return d, r.tcgRefused(planned, err)
	}
	if err := r.append(kindActivating, releasedRecord{i + 1}); err != nil {
		return d, errors.Join(err, session.Close(ctx))
	}
	r.sending = true
	activated := errors.Join(session.Activate(ctx), session.Close(ctx))
	r.sending = false
	if devices.IsGone(activated) {
		return d, activated
	}
	at, err := r.status(ctx, i, false)
	switch {
	case err != nil:
		return d, fmt.Errorf("whether its Locking SP is active is not known: %w", err)
	case !at.active && activated != nil:
		return d, r.tcgRefused(planned, fmt.Errorf("its Locking SP cannot be activated: %w", activated))
	case !at.active:
		return d, &fault{fmt.Errorf("%s: the drive says that its Locking SP was activated, and that it is not active: nothing was begun", planned.Command)}
	}
	return tcg.ParseDiscovery(r.operations[i].was)
}
