package virtual

import (
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"time"
)

// The commands of the ATA Security feature set (ACS-3 4.17).
const (
	setPassword     = 0xf1
	unlock          = 0xf2
	erasePrepare    = 0xf3
	eraseUnit       = 0xf4
	freezeLock      = 0xf5
	disablePassword = 0xf6
)

// passwordTries is how many wrong passwords the drive takes before it wants a power cycle.
const passwordTries = 5

// securityTimes are the estimates of a normal and an enhanced erase, in units of two minutes; 0, which
// is none, for drives that are done in less than one.
func (d *drive) securityTimes() (normal, enhanced uint16) {
	units := uint16(min(255, (d.info.Spec.EraseSeconds+60)/120))
	if units == 0 {
		return 0, 0
	}
	if d.profile.encrypts {
		return units, 1
	}
	return units, units
}

// securityState is word 128 of IDENTIFY DEVICE data.
func (d *drive) securityState() uint64 {
	m := d.memory
	state := uint64(1<<0 | 1<<5)
	for bit, is := range map[int]bool{1: m.ATA.Enabled, 2: m.Power.Locked, 3: m.Power.Frozen, 4: m.Power.Wrong >= passwordTries, 8: m.ATA.Enabled && m.ATA.Maximum} {
		if is {
			state |= 1 << bit
		}
	}
	return state
}

// password is the data block of the commands that have one.
type password struct {
	master, enhanced, maximum bool
	text                      []byte
	id                        uint16
}

func readPassword(b []byte) password {
	return password{master: b[0]&1 != 0, enhanced: b[0]&2 != 0, maximum: b[1]&1 != 0, text: slices.Clone(b[2:34]), id: binary.LittleEndian.Uint16(b[34:])}
}

// opens says whether it is the drive's password, and for what it is used, good enough. The master
// password does not unlock when the capability is maximum.
func (p password) opens(a ataMemory, toErase bool) bool {
	if p.master {
		return (toErase || !a.Enabled || !a.Maximum) && subtle.ConstantTimeCompare(p.text, a.Master) == 1
	}
	return a.Enabled && subtle.ConstantTimeCompare(p.text, a.User) == 1
}

// ataSecurity is the state machine. before is the command that came before this one.
func (d *drive) ataSecurity(opcode, before byte, out []byte) (failure byte, err error) {
	m, refused := d.memory, map[byte]string{setPassword: "set-password", erasePrepare: "erase-prepare", eraseUnit: "erase-unit"}[opcode]
	a, state := m.ATA, m.Power
	var p password
	if out != nil && (opcode != erasePrepare && opcode != freezeLock) {
		p = readPassword(out)
	}
	locked := opcode == setPassword || opcode == freezeLock || opcode == disablePassword // not while it is
	checked := opcode == unlock || opcode == eraseUnit || opcode == disablePassword
	switch {
	case !d.secured(), refused != "" && d.faults().has(Refuse, refused), state.Frozen && opcode != freezeLock, locked && state.Locked,
		checked && state.Wrong >= passwordTries,
		checked && !p.master && !a.Enabled, opcode == disablePassword && !a.Enabled,
		opcode == eraseUnit && before != erasePrepare:
		return abrt, nil
	case checked && !p.opens(a, opcode == eraseUnit):
		return abrt, d.recall(func(m *memory) error { m.Power.Wrong++; return nil })
	case opcode == eraseUnit:
		return d.securityErase(p.enhanced)
	}
	return 0, d.recall(func(m *memory) error {
		switch opcode {
		case setPassword:
			if p.master {
				m.ATA.Master, m.ATA.MasterID = p.text, p.id
				break
			}
			m.ATA.User, m.ATA.Enabled, m.ATA.Maximum = p.text, true, p.maximum
		case unlock:
			m.Power.Locked, m.Power.Wrong = false, 0
		case freezeLock:
			m.Power.Frozen = true
		case disablePassword:
			m.ATA.User, m.ATA.Enabled, m.ATA.Maximum = nil, false, false
		}
		return nil
	})
}

// securityErase is SECURITY ERASE UNIT: all native blocks; enhanced also those that the drive has put
// aside, and by a new key where there is one. It ends the password, unless it does not end itself.
// The drive carries it out by itself, and the command is over when it is: a host that dies meanwhile
// does not stop it.
func (d *drive) securityErase(enhanced bool) (failure byte, err error) {
	word, o := "f4:0", operation{Kind: kindOverwrite, Visible: true, Security: true}
	if enhanced {
		word, o.Visible = "f4:1", false
		if d.profile.encrypts {
			o.Kind = kindCrypto
		}
	}
	if d.rack.Clock != nil {
		o.Done = o.duration(d.info.Spec) // nobody moves the clock while the command waits
	}
	list := d.faults()
	if _, refused := list.find(SanitizeRefused); refused {
		return abrt, nil
	}
	if list.has(Lie, LieIgnored) {
		return 0, nil
	}
	if err := d.start(0, word, o, func(*unit) {}); err != nil {
		return 0, err
	}
	if ended, err := d.awaitErase(); err != nil || ended {
		return 0, err
	}
	return abrt, nil
}

// eraseStep is how often a command looks whether the erase that it waits for has ended.
const eraseStep = 20 * time.Millisecond

// awaitErase waits until no operation runs, and says whether it took effect. d.mu is held, but for
// the waiting: others find the drive busy, and not stuck.
func (d *drive) awaitErase() (ended bool, err error) {
	power, before := d.power, d.memory.Ended
	for {
		if err := d.recall(nil); err != nil {
			return false, err
		}
		if d.memory.Units[0].Operation == nil {
			return d.memory.Ended > before, nil
		}
		d.mu.Unlock()
		<-time.After(eraseStep)
		d.mu.Lock()
		if d.off || d.power != power {
			return false, errGone
		}
	}
}
