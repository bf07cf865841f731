package tcg

import "slices"

// Way is a cryptographic erase of all that a drive holds, by commands of the TCG.
type Way string

// The ways, in the order in which they reach further than the next.
const (
	WayPSIDRevert      Way = "psid_revert"      // Revert of the Admin SP as PSID
	WaySIDRevert       Way = "sid_revert"       // the same as the owner
	WayRevertSP        Way = "revert_sp"        // of the Locking SP, as Admin1
	WayGenKey          Way = "genkey_ranges"    // GenKey for the key of every range, as Admin1
	WayEnterpriseErase Way = "enterprise_erase" // Erase of every band, as EraseMaster
)

// PIN says where the PIN of an authority comes from.
type PIN string

// The sources of a PIN.
const (
	PINLabel PIN = "label" // the PSID, printed on the drive
	PINMSID  PIN = "msid"  // the drive itself tells it to anybody
	PINOwner PIN = "owner" // whoever took the drive into use set it
	// PINUntold: the drive does not say whether it is still the MSID: trying that costs one try of those
	// which it counts.
	PINUntold PIN = "msid_or_owner"
)

// Codes of why a way is closed. A drive that cannot says the same whichever way is meant.
const (
	WhyNoLocking        = "no_locking"
	WhyPyrite           = "pyrite"              // locks, and encrypts nothing
	WhyNoEncryption     = "no_media_encryption" // what was written may be there in plain
	WhyNoComID          = "no_com_id"
	WhyRemovalRunning   = "removal_running"
	WhySPInactive       = "sp_inactive"
	WhySIDBlocked       = "sid_blocked"
	WhyFrozen           = "locking_sp_frozen"
	WhySingleUser       = "single_user"
	WhyNamespaceLocking = "namespace_locking"
	WhyOtherSSC         = "other_ssc"
	WhyLocked           = "locked"
	WhyInterrupted      = "interrupted"
)

// Ability is what Facts say of one way.
type Ability struct {
	Way       Way       `json:"way"`
	Able      bool      `json:"able"`
	Code      string    `json:"code,omitempty"` // of why not, with Why in words
	Why       string    `json:"why,omitempty"`
	Authority Authority `json:"-"`
	PIN       PIN       `json:"pin,omitempty"`
	// Activate: the Locking SP is inactive, and a revert would leave all data. It must be activated first,
	// as SID, and seen to be active.
	Activate bool `json:"activate,omitempty"`
	// Untold says what only trying tells: "" where the drive's SSC makes the way mandatory.
	Untold string `json:"untold,omitempty"`
	// Leaves says what the way does not erase.
	Leaves string `json:"leaves,omitempty"`
}

// Abilities judges every way, by what the drive says of itself and never by trying. What is not known
// makes a way closed or its PIN untold, never open.
func Abilities(f Facts) []Ability {
	var list []Ability
	for _, judge := range []func(Facts) Ability{psidRevert, sidRevert, revertSP, genKey, enterpriseErase} {
		a := judge(f)
		if code, why := common(f); code != "" && (a.Way != WayEnterpriseErase || a.Code == "") {
			a.Code, a.Why = code, why
		}
		if a.Able = a.Code == ""; !a.Able {
			a = Ability{Way: a.Way, Code: a.Code, Why: a.Why, Authority: a.Authority}
		}
		list = append(list, a)
	}
	return list
}

// Best is the first way that is open.
func Best(list []Ability) (Ability, bool) {
	at := slices.IndexFunc(list, func(a Ability) bool { return a.Able })
	if at < 0 {
		return Ability{}, false
	}
	return list[at], true
}

func (f Facts) is(names ...string) bool {
	return slices.ContainsFunc(f.SSCs, func(s string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return s == n || len(s) > len(n) && s[:len(n)+1] == n+" " })
	})
}

// opal says whether the drive has an SSC whose reverts destroy keys.
func (f Facts) opal() bool { return f.is("Opal", "Opalite", "Ruby") }

func (f Facts) enterprise() bool { return f.is("Enterprise") && !f.opal() && !f.is("Pyrite") }

// common is what closes every way.
func common(f Facts) (code, why string) {
	switch {
	case f.is("Pyrite"):
		return WhyPyrite, "a Pyrite drive locks and encrypts nothing: no key is destroyed by its revert"
	case !f.LockingSupported:
		return WhyNoLocking, "it has no TCG locking"
	case !f.MediaEncryption:
		return WhyNoEncryption, "it does not say that it encrypts its media: changing keys may leave data readable"
	case !f.opal() && !f.enterprise():
		return WhyOtherSSC, "none of its security subsystem classes is one whose erases are known here"
	case f.ComID == 0:
		return WhyNoComID, "it tells no ComID by which it could be spoken to"
	case f.Removal != nil && f.Removal.Processing:
		return WhyRemovalRunning, "it is removing data already: wait for that, and begin no second one"
	}
	return "", ""
}

func psidRevert(f Facts) Ability {
	a := Ability{Way: WayPSIDRevert, Authority: PSID, PIN: PINLabel, Untold: "whether it has a PSID: look at its label"}
	switch {
	case !f.opal():
		a.Code, a.Why = WhyOtherSSC, whyNotOpal
	case f.blocked():
		a.Code, a.Why = WhySIDBlocked, whyBlocked
	case !f.LockingEnabled:
		// Opal 2.30 5.1.2.2: then the revert shall not remove user data. The PSID may not activate.
		a.Code, a.Why = WhySPInactive, "its Locking SP is inactive: a revert leaves all data, and the PSID cannot activate it"
	}
	return a
}

func sidRevert(f Facts) Ability {
	a := Ability{Way: WaySIDRevert, Authority: SID, PIN: f.sidPIN(), Activate: !f.LockingEnabled}
	switch {
	case !f.opal():
		a.Code, a.Why = WhyOtherSSC, whyNotOpal
	case f.blocked():
		a.Code, a.Why = WhySIDBlocked, whyBlocked
	case a.Activate && f.frozen():
		a.Code, a.Why = WhyFrozen, whyFrozen
	}
	return a
}

// admin is what RevertSP and GenKey need: the Locking SP, active. When it is activated Admin1 gets the
// SID's PIN (Opal 2.30 5.1.1.2).
func admin(f Facts, way Way) Ability {
	a := Ability{Way: way, Authority: Admin1, PIN: PINOwner, Activate: !f.LockingEnabled}
	if a.Activate {
		a.PIN = f.sidPIN()
	}
	switch {
	case !f.opal():
		a.Code, a.Why = WhyOtherSSC, whyNotOpal
	case a.Activate && f.blocked():
		a.Code, a.Why = WhySIDBlocked, whyBlocked
	case f.frozen():
		a.Code, a.Why = WhyFrozen, whyFrozen
	}
	return a
}

func revertSP(f Facts) Ability { return admin(f, WayRevertSP) }

func genKey(f Facts) Ability {
	a := admin(f, WayGenKey)
	a.Leaves = "the shadow MBR and the DataStore tables, which may hold what a program put there"
	switch {
	case a.Code != "":
	case f.SingleUser:
		a.Code, a.Why = WhySingleUser, "ranges are in single user mode: Admin1 has no power over their keys"
	case f.Locked || f.MBREnabled && !f.MBRDone:
		a.Code, a.Why = WhyLocked, "it is locked: new keys unlock nothing, so that nothing could be seen of what they did"
	case f.Removal != nil && f.Removal.Interrupted:
		a.Code, a.Why = WhyInterrupted, "a revert of it was interrupted, which only another ends"
	case f.NamespaceLocking:
		a.Code, a.Why = WhyNamespaceLocking, "namespaces may have keys of their own: only a revert reaches all of them for certain"
	}
	return a
}

func enterpriseErase(f Facts) Ability {
	a := Ability{Way: WayEnterpriseErase, Authority: EraseMaster, PIN: PINUntold, Leaves: "the DataStore table"}
	if !f.enterprise() {
		a.Code, a.Why = WhyOtherSSC, "its security subsystem class is not Enterprise"
	}
	return a
}

const (
	whyNotOpal = "its security subsystem class has no such revert"
	whyBlocked = "authentication as SID is blocked, as the firmware of computers does at start: take power from the drive and give it back while the computer runs, or allow it in the firmware's settings"
	whyFrozen  = "its Locking SP is frozen until power is lost: take power from the drive and give it back while the computer runs"
)

func (f Facts) blocked() bool { return f.BlockSID != nil && f.BlockSID.Blocked }
func (f Facts) frozen() bool  { return f.BlockSID != nil && f.BlockSID.Frozen }

// sidPIN is where the SID's PIN comes from. Only the feature Block SID tells whether it was changed.
func (f Facts) sidPIN() PIN {
	switch {
	case f.BlockSID == nil:
		return PINUntold
	case f.BlockSID.SIDIsMSID && (f.InitialSIDIsMSID == nil || *f.InitialSIDIsMSID):
		return PINMSID
	case f.BlockSID.SIDIsMSID:
		return PINUntold // the two contradict each other
	}
	return PINOwner
}

// Reverted is how far a revert has come, by Level 0 discovery.
type Reverted string

// The states after a revert. Only RevertDone is what a revert leaves, and it proves the keys' end no
// further than the drive's word goes.
const (
	RevertRunning     Reverted = "running"
	RevertDone        Reverted = "done"
	RevertInterrupted Reverted = "interrupted" // what is left of the data is undefined
	RevertNot         Reverted = "not"         // the drive is as it was
	RevertUnknown     Reverted = "unknown"
)

// AfterRevert judges a drive that took a Revert or RevertSP of its Locking SP, which was active before, by
// what it says afterwards (Opal 2.30 3.1.1.6, 5.1.2.2): the status of the method alone says nothing, for
// data are removed after it.
func AfterRevert(f Facts) Reverted {
	switch {
	case !f.LockingSupported || !f.opal():
		return RevertUnknown // the discovery is not what it was before
	case f.Removal != nil && f.Removal.Processing:
		return RevertRunning
	case f.Removal != nil && f.Removal.Interrupted:
		return RevertInterrupted
	case f.LockingEnabled || f.Locked:
		return RevertNot
	}
	return RevertDone
}
