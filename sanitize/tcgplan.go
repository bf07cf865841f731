package sanitize

// Which keys of a self-encrypting drive can be destroyed by what it says of itself, and as whom.

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// The code of an operation: which way, and with what.
const (
	tcgWayMask  = 0xff
	tcgActivate = 1 << 8 // the Locking SP is activated first
	tcgGivenPIN = 1 << 9 // with the PIN or PSID that was given; otherwise with the MSID that the drive tells
)

// tcgWays are the ways by their number in a code.
var tcgWays = []tcg.Way{1: tcg.WayPSIDRevert, 2: tcg.WaySIDRevert, 3: tcg.WayRevertSP, 4: tcg.WayGenKey, 5: tcg.WayEnterpriseErase}

func (o Operation) tcgWay() tcg.Way {
	n := int(o.Code & tcgWayMask)
	if n >= len(tcgWays) {
		return ""
	}
	return tcgWays[n]
}

// byTCG says whether the operation is carried out in a session with the drive's trusted peripheral.
func (o Operation) byTCG() bool { return o.Kind == TCGRevertCommand || o.Kind == TCGKeysCommand }

// PINWanted says whether the plan needs a PIN or PSID that only a person has, and which.
func (dp DrivePlan) PINWanted() (what string, wanted bool) {
	for _, o := range dp.Operations {
		if o.byTCG() && o.Code&tcgGivenPIN != 0 {
			return pinOf(o.tcgWay()), true
		}
	}
	return "", false
}

// pinLongest is bytes of a PIN (Opal SSC 2.30, 4.2.1.8), and what a PSID has (Opal SSC feature set PSID 1.00, 4.1).
const pinLongest = 32

// CheckPIN says why what somebody gave cannot be the PIN or PSID that the plan wants. The drive is not asked: it counts wrong ones.
func (dp DrivePlan) CheckPIN(pin string) error {
	what, _ := dp.PINWanted()
	switch {
	case what == "PSID" && len(pin) != pinLongest:
		return fmt.Errorf("what was given has %d characters: a PSID has 32, printed on the drive's label", len(pin))
	case len(pin) > pinLongest:
		return fmt.Errorf("what was given has %d characters, and no drive takes more than %d", len(pin), pinLongest)
	}
	return nil
}

func pinOf(w tcg.Way) string {
	switch w {
	case tcg.WayPSIDRevert:
		return "PSID"
	case tcg.WayRevertSP, tcg.WayGenKey:
		return "PIN of Admin1"
	case tcg.WayEnterpriseErase:
		return "PIN of EraseMaster"
	}
	return "PIN of the owner (SID)"
}

// tcgAbility is the way that was asked for, or the one that needs nothing but what the drive tells. code and why
// say why there is none.
func tcgAbility(d devices.Drive, r Request) (a tcg.Ability, code, why string) {
	switch {
	case d.TCG == nil:
		return a, "not_supported", "the drive has no TCG security commands"
	case d.TCG.Unread != nil:
		return a, d.TCG.Unread.Code, d.TCG.Unread.Message
	case d.TCG.Flaw != nil:
		return a, "tcg_flawed", fmt.Sprintf("the self-encryption of the %s is known to be flawed: %s (%s)", d.TCG.Flaw.Model, d.TCG.Flaw.What, d.TCG.Flaw.Source)
	case len(d.Units) > 0:
		return a, "logical_units", "the drive has several logical units: which of them its keys reach is not known"
	}
	abilities := tcg.Abilities(d.TCG.Facts)
	for _, a := range abilities {
		if r.TCG != "" && a.Way == r.TCG {
			if !a.Able {
				return a, "tcg_" + a.Code, a.Why
			}
			return a, "", ""
		}
	}
	for _, a := range abilities {
		if a.Able && a.PIN != tcg.PINLabel && a.PIN != tcg.PINOwner {
			return a, "", ""
		}
	}
	if at := slices.IndexFunc(abilities, func(a tcg.Ability) bool { return a.Code == tcg.WhySIDBlocked }); at >= 0 {
		return abilities[at], "tcg_" + abilities[at].Code, abilities[at].Why
	}
	if at := slices.IndexFunc(abilities, func(a tcg.Ability) bool { return a.Able }); at >= 0 {
		return abilities[at], "tcg_owned", "somebody owns it, and the PIN is not the one that it was made with: --tcg psid-revert takes the PSID on its label, --tcg sid-revert the owner's PIN"
	}
	for _, a := range abilities {
		if a.Way == tcg.WayEnterpriseErase == slices.Contains(d.TCG.SSCs, "Enterprise") {
			code, why = "tcg_"+a.Code, a.Why // the last one says it of its own class
		}
	}
	return a, code, why
}

// unfitTCG judges the erase by keys of a self-encrypting drive.
func unfitTCG(d devices.Drive, r Request) (code, why string) {
	a, code, why := tcgAbility(d, r)
	switch {
	case code != "":
		return code, why
	case a.PIN == tcg.PINOwner && !r.TCGPIN:
		return "tcg_owned", "it wants the " + pinOf(a.Way) + ": give it with --pin-file"
	case d.Sanitize != nil && d.Sanitize.State == devices.SanitizeFailed:
		return "sanitize_failed", "an earlier sanitize of the drive failed, and it takes nothing but another"
	}
	return unmarkable(d, r)
}

func tcgOperation(d devices.Drive, r Request) Operation {
	a, _, _ := tcgAbility(d, r)
	o := Operation{Kind: TCGRevertCommand, Code: uint32(slices.Index(tcgWays, a.Way))}
	with := "the MSID"
	if a.PIN == tcg.PINLabel || r.TCGPIN {
		o.Code |= tcgGivenPIN
		with = "the PIN that was given"
	}
	switch a.Way {
	case tcg.WayPSIDRevert:
		o.Command = "TCG Revert of the Admin SP as PSID"
	case tcg.WaySIDRevert:
		o.Command = "TCG Revert of the Admin SP as SID, with " + with
	case tcg.WayRevertSP:
		o.Command = "TCG RevertSP of the Locking SP as Admin1, with " + with
	case tcg.WayGenKey:
		o.Kind, o.Command = TCGKeysCommand, "TCG GenKey for every range as Admin1, with "+with
	case tcg.WayEnterpriseErase:
		o.Kind, o.Command = TCGKeysCommand, "TCG Erase of every band as EraseMaster, with "+with
	}
	if a.Activate {
		o.Code |= tcgActivate
		o.Command += ", after the Locking SP was activated"
	}
	return o
}
