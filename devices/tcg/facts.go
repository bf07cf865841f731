package tcg

import (
	"encoding/binary"
	"fmt"
)

// Facts is what a drive says of its self-encryption without a session. The zero value is a drive of
// which nothing is known, and by which nothing can be erased.
type Facts struct {
	SSCs     []string `json:"sscs"`              // "Opal 2.02", "Enterprise", …
	Version  string   `json:"discovery_version"` // of the Level 0 discovery
	Features []string `json:"features"`          // codes of all that it listed, "0203"
	ComID    uint16   `json:"com_id"`            // by which sessions are opened; 0 where none is told

	LockingSupported bool `json:"locking_supported"`
	LockingEnabled   bool `json:"locking_enabled"` // the Locking SP is active: it manages keys and locks
	Locked           bool `json:"locked"`          // at least one range cannot be read or written
	MediaEncryption  bool `json:"media_encryption"`
	MBREnabled       bool `json:"mbr_enabled"` // reads of the first blocks may show the shadow MBR instead
	MBRDone          bool `json:"mbr_done"`

	// BlockSID is the state of that feature; nil without it.
	BlockSID *BlockSIDState `json:"block_sid,omitempty"`
	// InitialSID and RevertedSID say whether the SID's PIN was that of the label's MSID when new, and is
	// it again after a revert; nil where the SSC does not tell.
	InitialSIDIsMSID  *bool `json:"initial_sid_is_msid,omitempty"`
	RevertedSIDIsMSID *bool `json:"reverted_sid_is_msid,omitempty"`

	// Removal is the feature that tells how user data are removed; nil without it.
	Removal *Removal `json:"data_removal,omitempty"`
	// Ranges is how many locking objects there are, where that is told without a session; nil elsewhere.
	Ranges *int64 `json:"ranges,omitempty"`
	// SingleUser: ranges belong to their users, and Admin1 has no power over their keys.
	SingleUser       bool `json:"single_user,omitempty"`
	NamespaceLocking bool `json:"namespace_locking,omitempty"` // namespaces have keys of their own
	BufferManagement bool `json:"-"`
	Synchronous      bool `json:"-"`
}

// BlockSIDState is the feature Block SID Authentication.
type BlockSIDState struct {
	SIDIsMSID bool `json:"sid_is_msid"` // the owner's PIN is still the one that anybody can read
	Blocked   bool `json:"blocked"`     // authentication as SID is, until power is lost
	Frozen    bool `json:"frozen"`      // the Locking SP is, until power is lost
	ByReset   bool `json:"cleared_by_reset"`
}

// Removal is the feature Supported Data Removal Mechanism.
type Removal struct {
	Mechanisms  []Mechanism `json:"mechanisms"`
	Processing  bool        `json:"processing"`  // the drive is at it
	Interrupted bool        `json:"interrupted"` // the latest removal did not come to its end
}

// Mechanism is one way of removing user data.
type Mechanism struct {
	Number  uint8  `json:"-"`
	Name    string `json:"name"`
	Seconds *int64 `json:"seconds,omitempty"`  // the drive's estimate; nil where it has none
	AtLeast bool   `json:"at_least,omitempty"` // it is more than what can be told
}

var mechanismNames = []string{"overwrite", "block erase", "cryptographic erase", "unmap", "reset of write pointers", "vendor's own"}

// MechanismName is the name of a data removal mechanism's number.
func MechanismName(n uint8) string {
	if int(n) < len(mechanismNames) {
		return mechanismNames[n]
	}
	return fmt.Sprintf("mechanism %d", n)
}

// The SSCs in the order in which their ComID is taken, and what their minor versions mean.
var sscs = []struct {
	code Code
	name func(minor uint8) string
}{
	{CodeOpal2, func(m uint8) string {
		if m < 4 {
			return "Opal " + []string{"2.00", "2.01", "2.02", "2.30"}[m]
		}
		return "Opal 2"
	}},
	{CodeRuby, always("Ruby")}, {CodeEnterprise, always("Enterprise")}, {CodeOpal1, always("Opal 1")}, {CodeOpalite, always("Opalite")},
	{CodePyrite2, always("Pyrite 2")}, {CodePyrite1, always("Pyrite 1")}, {CodeKeyPerIO, always("Key per I/O")},
}

func always(s string) func(uint8) string { return func(uint8) string { return s } }

// Enterprise says whether the methods have the form of that SSC, which names what others number.
func (d Discovery) Enterprise() bool {
	_, is := d.Has(CodeEnterprise)
	for _, c := range []Code{CodeOpal1, CodeOpal2, CodeRuby, CodeOpalite, CodePyrite1, CodePyrite2} {
		if _, other := d.Has(c); other {
			return false
		}
	}
	return is
}

// Facts reads the features.
func (d Discovery) Facts() Facts {
	f := Facts{SSCs: []string{}, Features: []string{}, Version: fmt.Sprintf("%d.%d", d.Major, d.Minor)}
	for _, x := range d.Features {
		f.Features = append(f.Features, fmt.Sprintf("%04x", uint16(x.Code)))
	}
	for _, s := range sscs {
		x, has := d.Has(s.code)
		if !has {
			continue
		}
		f.SSCs = append(f.SSCs, s.name(x.Minor))
		if f.ComID == 0 {
			f.ComID = binary.BigEndian.Uint16(x.Data)
		}
		switch s.code {
		case CodeOpal2, CodeRuby, CodeOpalite, CodePyrite1, CodePyrite2:
			if f.InitialSIDIsMSID == nil {
				f.InitialSIDIsMSID, f.RevertedSIDIsMSID = some(x.Data[9] == 0), some(x.Data[10] == 0)
			}
		}
	}
	if x, has := d.Has(CodeTPer); has {
		f.Synchronous, f.BufferManagement = x.Data[0]&1 != 0, x.Data[0]&(1<<3) != 0
	}
	if x, has := d.Has(CodeLocking); has {
		b := x.Data[0]
		f.LockingSupported, f.LockingEnabled, f.Locked, f.MediaEncryption = b&1 != 0, b&(1<<1) != 0, b&(1<<2) != 0, b&(1<<3) != 0
		f.MBREnabled, f.MBRDone = b&(1<<4) != 0, b&(1<<5) != 0
	}
	if x, has := d.Has(CodeBlockSID); has {
		b := x.Data[0]
		f.BlockSID = &BlockSIDState{SIDIsMSID: b&1 == 0, Blocked: b&(1<<1) != 0, Frozen: b&(1<<3) != 0, ByReset: x.Data[1]&1 != 0}
	}
	if x, has := d.Has(CodeSingleUser); has {
		f.Ranges, f.SingleUser = some(int64(binary.BigEndian.Uint32(x.Data))), x.Data[4]&1 != 0
	}
	_, f.NamespaceLocking = d.Has(CodeNamespaceLocking)
	if x, has := d.Has(CodeDataRemoval); has {
		f.Removal = removalOf(x.Data)
	}
	return f
}

// removalOf reads the feature's data: flags, supported mechanisms, the formats of their times, and the
// times, two bytes each (Opal 2.30 3.1.1.6).
func removalOf(b []byte) *Removal {
	r := &Removal{Mechanisms: []Mechanism{}, Processing: b[1]&1 != 0, Interrupted: b[1]&(1<<1) != 0}
	for n := range uint8(len(mechanismNames)) {
		if b[2]&(1<<n) == 0 {
			continue
		}
		m := Mechanism{Number: n, Name: MechanismName(n)}
		if t := int64(binary.BigEndian.Uint16(b[4+2*n:])); t != 0 {
			unit := int64(2)
			if b[3]&(1<<n) != 0 {
				unit = 2 * 60
			}
			m.AtLeast = t == 0xffff
			if m.AtLeast {
				t--
			}
			m.Seconds = some(t * unit)
		}
		r.Mechanisms = append(r.Mechanisms, m)
	}
	return r
}

func some[T any](v T) *T { return &v }
