package devices

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices/tcg"
)

// TCG is what a drive says of its self-encryption. With Unread nothing of it is known but that the drive
// says it has security commands, and the facts are those of a drive that can do nothing.
type TCG struct {
	tcg.Facts
	Unread *Reason `json:"unread,omitempty"`
	// Flaw is what was found wrong with self-encryption in drives of this model.
	Flaw *tcg.Flaw `json:"flaw,omitempty"`
}

// Shut says whether blocks cannot be read and written as they are: the drive is locked, or covered by its
// shadow MBR.
func (t TCG) Shut() bool { return t.Locked || t.MBREnabled && !t.MBRDone }

// Codes of what a drive's self-encryption keeps away.
const (
	ReasonTCGLocked = "tcg_locked"
	ReasonShadowMBR = "tcg_shadow_mbr"
	ReasonTCGUnread = "tcg_unread"
)

// hintLocked says what can be done about a lock.
func hintLocked(f tcg.Facts) string {
	if slices.Contains(f.SSCs, "Enterprise") {
		return "unlock it by what locked it; or, if all its data may go, erase its bands with the PIN of EraseMaster: --tcg enterprise-erase --pin-file FILE --verify status"
	}
	return hintPSID
}

const hintPSID = "unlock it by what locked it; or, if all its data may go, revert it with the PSID that is printed on its label (32 characters), which destroys its keys"

// readTCG asks a drive that said it has security commands which protocols it knows, and its TPer for Level 0
// discovery. No session is opened for a listing: one holds a security provider, of which most drives have a
// single session to give, against whoever uses it now; and an authority's PIN is nothing a listing has. A
// drive whose own erase runs or failed is not asked: it takes no other commands.
func readTCG(ctx context.Context, t Transport, d *Drive) error {
	d.TCG = nil
	if d.Sanitize != nil && d.Sanitize.State != SanitizeIdle || d.FormatFailed {
		return nil
	}
	doors, err := doorsOf(ctx, t, d.Protocol)
	if err != nil {
		return err
	}
	var why error
	for _, door := range doors {
		list, listErr := tcg.Protocols(ctx, door)
		if IsGone(listErr) {
			return listErr
		}
		if listErr == nil && !tcg.SpeaksTCG(list) {
			return nil // other protocols, as for passwords or replay protected memory
		}
		found, err := tcg.Discover(ctx, door)
		if IsGone(err) {
			return err
		}
		if err == nil {
			d.TCG = &TCG{Facts: found.Facts()}
			d.judgeTCG()
			return nil
		}
		if why == nil {
			why = err
		}
	}
	d.TCG = &TCG{Unread: &Reason{ReasonTCGUnread, fmt.Sprintf("it has security commands, and what it says of its self-encryption cannot be read: %v", why), hintTCGUnread(d.Protocol)}}
	d.Lacks = append(d.Lacks, *d.TCG.Unread)
	return nil
}

func hintTCGUnread(p Protocol) string {
	if p == ProtocolATA {
		return "attach it directly, not through a bridge; Linux lets these commands through with libata.allow_tpm=1 on its command line"
	}
	return "update its firmware, or attach it to another controller"
}

// judgeTCG draws what follows for whoever wants to write to the drive.
func (d *Drive) judgeTCG() {
	f := d.TCG.Facts
	if f.Locked {
		d.refuse(StateBlocked, Reason{ReasonTCGLocked, fmt.Sprintf("its self-encryption (%s) is locked: some or all of it cannot be read or written", sscWords(f)), hintLocked(f)})
	}
	if f.MBREnabled && !f.MBRDone {
		d.refuse(StateBlocked, Reason{ReasonShadowMBR, "its first blocks are covered by a shadow MBR, from which a computer asks for the password: what is read and written there is not what it holds", hintPSID})
	}
	if r := f.Removal; r != nil && r.Processing {
		d.refuse(StateBlocked, Reason{ReasonSanitizing, "it is removing its data by itself, as a revert told it to", "leave the drive alone until that has ended, then list again"})
	} else if r != nil && r.Interrupted {
		d.Notes = append(d.Notes, Reason{Code: "tcg_interrupted", Message: "a revert of it was interrupted: what it holds is undefined", Hint: "revert it again, or use its sanitize command"})
	}
	if flaw, is := tcg.Flawed(d.Model, d.Firmware); is {
		d.TCG.Flaw = &flaw
		d.Notes = append(d.Notes, Reason{Code: "tcg_flawed", Message: fmt.Sprintf("the self-encryption of the %s is known to be flawed: %s (%s)", flaw.Model, flaw.What, flaw.Source),
			Hint: "no cryptographic erase of it is to be relied upon alone"})
	}
}

func sscWords(f tcg.Facts) string {
	if len(f.SSCs) == 0 {
		return "of no class that is known here"
	}
	return strings.Join(f.SSCs, ", ")
}
