package virtual

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"time"
)

// tcgKind is a security subsystem class, by which a drive has an Admin SP and a Locking SP.
type tcgKind string

// The classes; what a drive says of itself in Level 0 Discovery differs, and what it can do.
const (
	tcgOpal       tcgKind = "opal"
	tcgRuby       tcgKind = "ruby"
	tcgPyrite     tcgKind = "pyrite" // locks, and does not encrypt
	tcgEnterprise tcgKind = "enterprise"
)

// tcgProfile is how a profile's security subsystem is when the drive is new to its rack.
type tcgProfile struct {
	kind     tcgKind
	active   bool // its Locking SP is activated; Enterprise's always is
	owned    bool // its PINs are not MSID
	ranges   int  // locking ranges that are set up, each an eighth of the drive
	locked   bool // they and all the rest are locked
	shadowed bool // the shadow MBR is enabled and not done
	blocked  bool // firmware of the host has blocked SID
	lockout  bool // somebody tried wrong PINs of SID
}

// tcgMemory is what a security subsystem keeps without power (TCG Storage Core 2.01, Opal SSC 2.02).
type tcgMemory struct {
	MSID   string `json:"msid"`
	PSID   string `json:"psid"`
	Vendor string `json:"vendor,omitempty"` // the first PIN of SID, when it is not MSID
	// Addressable and Hidden are bytes of the medium, and Block those of a logical block: keys go by them.
	Addressable int64 `json:"addressable"`
	Hidden      int64 `json:"hidden"`
	Block       int64 `json:"block"`

	Active bool `json:"active,omitempty"` // the Locking SP is Manufactured, not Manufactured-Inactive
	// Credentials are by the UID of their authority, for each SP its own.
	Admin   map[uint64]*credential `json:"admin"`
	Locking map[uint64]*credential `json:"locking,omitempty"`
	Ranges  []lockingRange         `json:"ranges"` // the first is the global one

	MBREnabled     bool   `json:"mbr_enabled,omitempty"`
	MBRDone        bool   `json:"mbr_done,omitempty"`
	MBRDoneOnReset []int  `json:"mbr_done_on_reset,omitempty"`
	MBR            []byte `json:"mbr,omitempty"`
	DataStore      []byte `json:"data_store,omitempty"`

	// Mechanism is what removes data when the Locking SP is reverted; Removal is one that goes on.
	Mechanism   byte     `json:"mechanism"`
	Removal     *removal `json:"removal,omitempty"`
	Interrupted bool     `json:"interrupted,omitempty"` // the last one was
	// ResetEnabled: TPER_RESET is taken.
	ResetEnabled bool `json:"reset_enabled,omitempty"`
}

// credential is an authority with its PIN (Core 5.3.4.1.2, and C_PIN of 5.3.2.12).
type credential struct {
	PIN      []byte `json:"pin"`
	Tries    uint64 `json:"tries,omitempty"` // wrong ones, since the last right one
	Limit    uint64 `json:"limit,omitempty"` // 0 is none
	Persists bool   `json:"persists,omitempty"`
	Enabled  bool   `json:"enabled,omitempty"`
}

// exhausted says whether no PIN opens it any more.
func (c *credential) exhausted() bool { return c.Limit > 0 && c.Tries >= c.Limit }

// lockingRange is a row of the Locking table (Core 5.7.2.2). Start and Length are in logical blocks.
type lockingRange struct {
	Name         []byte   `json:"name,omitempty"`
	Start        uint64   `json:"start"`
	Length       uint64   `json:"length"`
	ReadEnabled  bool     `json:"read_enabled,omitempty"`
	WriteEnabled bool     `json:"write_enabled,omitempty"`
	ReadLocked   bool     `json:"read_locked,omitempty"`
	WriteLocked  bool     `json:"write_locked,omitempty"`
	OnReset      []int    `json:"on_reset,omitempty"`
	Readers      []uint64 `json:"readers,omitempty"` // users who may set ReadLocked, beside admins
	Writers      []uint64 `json:"writers,omitempty"`
	// Key is the range's media key; that of the global range is the drive's.
	Key []byte `json:"key,omitempty"`
}

// readLocked and writeLocked say whether the host is kept from the range's blocks.
func (l *lockingRange) readLocked() bool  { return l.ReadEnabled && l.ReadLocked }
func (l *lockingRange) writeLocked() bool { return l.WriteEnabled && l.WriteLocked }

// removal is a data removal that the drive carries out by itself.
type removal struct {
	Mechanism byte      `json:"mechanism"`
	Since     time.Time `json:"since"`
}

// The types of resets, in LockOnReset and DoneOnReset (Core 5.1.3.29).
const (
	resetPower    = 0
	resetHardware = 1
	resetProgram  = 3
)

// tcgPower is what a security subsystem forgets when power goes: its conversations, and that SID is
// blocked.
type tcgPower struct {
	Blocked bool `json:"blocked,omitempty"`
	// UnblockedByReset: a hardware reset ends it, too.
	UnblockedByReset bool              `json:"unblocked_by_reset,omitempty"`
	Sessions         []tcgSession      `json:"sessions,omitempty"`
	NextTSN          uint32            `json:"next_tsn,omitempty"`
	Answer           []byte            `json:"answer,omitempty"`  // what the host is to fetch: the payload of a ComPacket
	Managed          []byte            `json:"managed,omitempty"` // the same of ComID management
	Host             map[string]uint64 `json:"host,omitempty"`    // properties
	Methods          int64             `json:"methods,omitempty"` // in sessions, since power-on
}

// tcgSession is an open session (Core 3.3.7.1).
type tcgSession struct {
	TSN   uint32    `json:"tsn"`
	HSN   uint32    `json:"hsn"`
	SP    uint64    `json:"sp"`
	Write bool      `json:"write,omitempty"`
	As    []uint64  `json:"as,omitempty"` // authorities that it was authenticated as, beside Anybody
	Limit uint64    `json:"limit"`        // milliseconds without a packet
	Last  time.Time `json:"last"`
}

// is says whether one of some authorities has been authenticated.
func (s *tcgSession) is(list ...uint64) bool {
	return slices.ContainsFunc(list, func(a uint64) bool { return slices.Contains(s.As, a) })
}

// How many there are of what a subsystem has several of; the global range counts.
const (
	tcgRanges = 9
	tcgAdmins = 4
	tcgUsers  = 8
	tcgTries  = 5
)

// pinText draws what is printed on a label or returned as MSID: 32 characters.
func pinText() string {
	raw := make([]byte, 20)
	rand.Read(raw)
	return base32.StdEncoding.EncodeToString(raw)
}

// newTCG is the subsystem of a new drive, and what it has since it was powered on; nil of drives that
// have none.
func newTCG(info Info, p Profile) (*tcgMemory, *tcgPower) {
	if p.tcg.kind == "" {
		return nil, nil
	}
	spec := info.Spec
	s := &tcgMemory{MSID: pinText(), PSID: pinText(), Addressable: info.addressable(), Hidden: spec.HiddenBytes, Block: int64(spec.LogicalBlock), Mechanism: p.tcg.firstMechanism()}
	if spec.SIDVendorUnique {
		s.Vendor = pinText()
	}
	s.Ranges = make([]lockingRange, tcgRanges)
	for n := 1; n < tcgRanges && p.encrypts; n++ {
		s.Ranges[n].Key = newKey()
	}
	s.factory(p, true)
	if p.tcg.active {
		s.activate(p)
	}
	if p.tcg.owned {
		owner := []byte(spec.OwnerPIN)
		if len(owner) == 0 {
			owner = newKey()
		}
		s.Admin[authSID].PIN = owner
		for _, c := range s.Locking {
			if c.Enabled {
				c.PIN = owner
			}
		}
	}
	eighth := uint64(s.Addressable/s.Block) / 8
	for n := 1; n <= p.tcg.ranges; n++ {
		r := &s.Ranges[n]
		r.Start, r.Length, r.Name = uint64(n)*eighth, eighth, fmt.Appendf(nil, "Range%d", n)
		r.ReadEnabled, r.WriteEnabled, r.OnReset = p.tcg.owned, p.tcg.owned, []int{resetPower}
	}
	if p.tcg.locked {
		for n := range s.Ranges[:p.tcg.ranges+1] {
			r := &s.Ranges[n]
			r.ReadEnabled, r.WriteEnabled, r.ReadLocked, r.WriteLocked, r.OnReset = true, true, true, true, []int{resetPower}
		}
	}
	s.MBREnabled = p.tcg.shadowed
	if p.tcg.lockout {
		s.Admin[authSID].Tries = s.Admin[authSID].Limit
	}
	for _, c := range s.Admin {
		c.Persists = spec.TriesPersist
	}
	return s, &tcgPower{Blocked: p.tcg.blocked}
}

// factory puts the Admin SP's credentials back to what they were first; all says that PSID's are
// meant, too.
func (s *tcgMemory) factory(p Profile, all bool) {
	first := s.MSID
	if s.Vendor != "" {
		first = s.Vendor
	}
	psid := s.Admin[authPSID]
	persists := psid != nil && psid.Persists
	s.Admin = map[uint64]*credential{
		authSID:  {PIN: []byte(first), Limit: tcgTries, Enabled: true, Persists: persists},
		authPSID: psid,
	}
	if all {
		s.Admin[authPSID] = &credential{PIN: []byte(s.PSID), Limit: tcgTries, Enabled: true}
	}
	s.ResetEnabled, s.Mechanism = false, p.tcg.firstMechanism()
	if p.tcg.kind == tcgEnterprise {
		s.activate(p)
	}
}

// activate makes the Locking SP Manufactured: its first admin has the PIN of SID (Opal SSC 5.1.1),
// every authority of Enterprise's that of MSID.
func (s *tcgMemory) activate(p Profile) {
	s.Active, s.Locking = true, map[uint64]*credential{}
	if p.tcg.kind == tcgEnterprise {
		for n := range uint64(tcgRanges) {
			s.Locking[authBandMaster0+n] = &credential{PIN: []byte(s.MSID), Limit: tcgTries, Enabled: true}
		}
		s.Locking[authEraseMaster] = &credential{PIN: []byte(s.MSID), Limit: tcgTries, Enabled: true}
		return
	}
	for n := range uint64(tcgAdmins) {
		s.Locking[authAdmin1+n] = &credential{Limit: tcgTries}
	}
	for n := range uint64(tcgUsers) {
		s.Locking[authUser1+n] = &credential{Limit: tcgTries}
	}
	admin := s.Locking[authAdmin1]
	admin.PIN, admin.Enabled = slices.Clone(s.Admin[authSID].PIN), true
}

// forget empties the Locking SP: ranges, tables and credentials.
func (s *tcgMemory) forget() {
	for n := range s.Ranges {
		s.Ranges[n] = lockingRange{Key: s.Ranges[n].Key}
	}
	s.Active, s.Locking = false, nil
	s.MBREnabled, s.MBRDone, s.MBRDoneOnReset, s.MBR, s.DataStore = false, false, nil, nil, nil
}

// reset is what a reset of a type does to locks, to the shadow MBR and to the tries of PINs.
func (s *tcgMemory) reset(kind int) {
	for n := range s.Ranges {
		if r := &s.Ranges[n]; slices.Contains(r.OnReset, kind) {
			r.ReadLocked, r.WriteLocked = true, true
		}
	}
	if kind == resetPower || slices.Contains(s.MBRDoneOnReset, kind) {
		s.MBRDone = false
	}
	if kind != resetPower {
		return
	}
	for _, list := range []map[uint64]*credential{s.Admin, s.Locking} {
		for _, c := range list {
			if !c.Persists {
				c.Tries = 0
			}
		}
	}
}

// locked says whether any block is kept from the host.
func (s *tcgMemory) locked() bool {
	return s != nil && s.Active && slices.ContainsFunc(s.Ranges, func(r lockingRange) bool { return r.readLocked() || r.writeLocked() })
}
