package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// quick bounds commands that a controller answers from its memory.
const quick = 20 * time.Second

// identifySize is the length of every Identify data structure.
const identifySize = 4096

// The CNS values that are used here (NVMe base 2.0, figure 273).
const (
	cnsNamespace  = 0x00
	cnsController = 0x01
	cnsActive     = 0x02
	cnsCommandSet = 0x05
	cnsAllocated  = 0x10
	cnsAllocNS    = 0x11
	cnsSubsystem  = 0x13
)

func identify(cns uint8, nsid uint32, cntid uint16) *Command {
	return &Command{Opcode: 0x06, NSID: nsid, CDW10: uint32(cns) | uint32(cntid)<<16, Data: make([]byte, identifySize), Timeout: quick}
}

// IdentifyController asks a controller for what it is (NVMe base 2.0, 5.17.2.1).
type IdentifyController struct{}

// Command encodes it.
func (IdentifyController) Command() *Command { return identify(cnsController, 0, 0) }

// IdentifyNamespace asks for a namespace that is attached to the controller (5.17.2.2), or, with
// Allocated, for one that need not be (5.17.2.14).
type IdentifyNamespace struct {
	NSID      uint32
	Allocated bool
}

// Command encodes it.
func (i IdentifyNamespace) Command() *Command {
	if i.Allocated {
		return identify(cnsAllocNS, i.NSID, 0)
	}
	return identify(cnsNamespace, i.NSID, 0)
}

// NamespaceList asks for up to 1024 namespace identifiers greater than After: those attached to
// the controller (5.17.2.3), or with Allocated all of the subsystem (5.17.2.13).
type NamespaceList struct {
	After     uint32
	Allocated bool
}

// Command encodes it.
func (l NamespaceList) Command() *Command {
	if l.Allocated {
		return identify(cnsAllocated, l.After, 0)
	}
	return identify(cnsActive, l.After, 0)
}

// ControllerList asks for the controllers of the subsystem whose identifier is From or greater
// (5.17.2.16).
type ControllerList struct{ From uint16 }

// Command encodes it.
func (l ControllerList) Command() *Command { return identify(cnsSubsystem, 0, l.From) }

// Controller is what Identify Controller says (figure 275).
type Controller struct {
	VID       uint16
	SN        string
	MN        string
	FR        string
	CMIC      uint8
	MDTS      uint8
	CNTLID    uint16
	VER       uint32
	BPCAP     uint8
	CNTRLTYPE uint8
	OACS      uint16
	FRMW      uint8
	WCTEMP    uint16 // kelvin, from which a warning is raised; 0 not told
	CCTEMP    uint16 // kelvin, from which it is critical
	TNVMCAP   uint64 // bytes; the high half of the field is not kept
	UNVMCAP   uint64
	RPMBS     uint32
	SANICAP   uint32
	NN        uint32
	ONCS      uint16
	FNA       uint8
	VWC       uint8
	SUBNQN    string
}

// ParseController decodes Identify Controller. An answer that is short, or blank where it must
// not be, is an error: nothing may be concluded from it.
func ParseController(b []byte) (Controller, error) {
	if len(b) < identifySize {
		return Controller{}, fmt.Errorf("identify controller: %d bytes, want %d", len(b), identifySize)
	}
	le := binary.LittleEndian
	c := Controller{
		VID: le.Uint16(b[0:]), SN: ascii(b[4:24]), MN: ascii(b[24:64]), FR: ascii(b[64:72]),
		CMIC: b[76], MDTS: b[77], CNTLID: le.Uint16(b[78:]), VER: le.Uint32(b[80:]), BPCAP: b[102], CNTRLTYPE: b[111],
		OACS: le.Uint16(b[256:]), FRMW: b[260], WCTEMP: le.Uint16(b[266:]), CCTEMP: le.Uint16(b[268:]), TNVMCAP: low128(b[280:]), UNVMCAP: low128(b[296:]),
		RPMBS: le.Uint32(b[312:]), SANICAP: le.Uint32(b[328:]),
		NN: le.Uint32(b[516:]), ONCS: le.Uint16(b[520:]), FNA: b[524], VWC: b[525], SUBNQN: text(b[768:1024]),
	}
	if c.SN == "" || c.MN == "" {
		return Controller{}, errors.New("identify controller: it has no serial or model number")
	}
	return c, nil
}

// The bits of SANICAP (figure 275, bytes 331:328).
func (c Controller) CryptoErase() bool { return c.SANICAP&(1<<0) != 0 }

// BlockErase is SANICAP bit 1.
func (c Controller) BlockErase() bool { return c.SANICAP&(1<<1) != 0 }

// Overwrite is SANICAP bit 2.
func (c Controller) Overwrite() bool { return c.SANICAP&(1<<2) != 0 }

// NoDeallocateInhibited is SANICAP bit 29: Sanitize with NDAS set is rejected or deallocates all
// the same.
func (c Controller) NoDeallocateInhibited() bool { return c.SANICAP&(1<<29) != 0 }

// NoDeallocateModifies is SANICAP bits 31:30: 0 undefined, 1 media are not modified after a
// Sanitize with NDAS, 2 they are.
func (c Controller) NoDeallocateModifies() uint8 { return uint8(c.SANICAP >> 30) }

// MediaVerification is SANICAP bit 3 (VERS): after a block or cryptographic erase the media can be read
// as they are, before blocks are deallocated.
func (c Controller) MediaVerification() bool { return c.SANICAP&(1<<3) != 0 }

// PurgeRequiredSupported is SANICAP bit 5 of revisions after 2.3.
func (c Controller) PurgeRequiredSupported() bool { return c.SANICAP&(1<<5) != 0 }

// FormatNVM is OACS bit 1.
func (c Controller) FormatNVM() bool { return c.OACS&(1<<1) != 0 }

// The bits of FNA (figure 275, byte 524). FormatsAll: a format changes every namespace of the
// subsystem.
func (c Controller) FormatsAll() bool { return c.FNA&(1<<0) != 0 }

// ErasesAll is bit 1: a secure erase by Format reaches every namespace of the subsystem.
func (c Controller) ErasesAll() bool { return c.FNA&(1<<1) != 0 }

// FormatCrypto is bit 2: Format can erase cryptographically.
func (c Controller) FormatCrypto() bool { return c.FNA&(1<<2) != 0 }

// NoBroadcast is bit 3: Format does not take EveryNamespace.
func (c Controller) NoBroadcast() bool { return c.FNA&(1<<3) != 0 }

// NamespaceManagement is OACS bit 3: allocated namespaces and controllers can be listed.
func (c Controller) NamespaceManagement() bool { return c.OACS&(1<<3) != 0 }

// Reservations is ONCS bit 5. A namespace has them when its RESCAP says so, too.
func (c Controller) Reservations() bool { return c.ONCS&(1<<5) != 0 }

// FirmwareSlots is FRMW bits 3:1.
func (c Controller) FirmwareSlots() uint8 { return c.FRMW >> 1 & 7 }

// RPMB is how many replay protected memory blocks there are, and the bytes of each (RPMBS bits 2:0 and
// 23:16, figure 275).
func (c Controller) RPMB() (units int, each int64) {
	return int(c.RPMBS & 7), (int64(c.RPMBS>>16&0xff) + 1) * 128 << 10
}

// Namespace is what Identify Namespace says (NVM command set 1.0, figure 97).
type Namespace struct {
	NSZE, NCAP, NUSE uint64 // logical blocks
	FLBAS            uint8
	DPS              uint8
	NMIC             uint8
	RESCAP           uint8 // 0 where the namespace has no reservations
	FPI              uint8
	DLFEAT           uint8
	NSATTR           uint8
	NGUID            [16]byte
	EUI64            [8]byte
	LBADS            uint8  // of the format in use: a block is 2^LBADS bytes
	MS               uint16 // metadata bytes per block, of the format in use
}

// ErrNoNamespace: the answer is all zero, which says that no such namespace is active.
var ErrNoNamespace = errors.New("no such namespace is active")

// ParseNamespace decodes Identify Namespace. The error is ErrNoNamespace for an inactive one.
func ParseNamespace(b []byte) (Namespace, error) {
	if len(b) < identifySize {
		return Namespace{}, fmt.Errorf("identify namespace: %d bytes, want %d", len(b), identifySize)
	}
	le := binary.LittleEndian
	n := Namespace{
		NSZE: le.Uint64(b[0:]), NCAP: le.Uint64(b[8:]), NUSE: le.Uint64(b[16:]),
		FLBAS: b[26], DPS: b[29], NMIC: b[30], RESCAP: b[31], FPI: b[32], DLFEAT: b[33], NSATTR: b[99],
		NGUID: [16]byte(b[104:120]), EUI64: [8]byte(b[120:128]),
	}
	if n.NSZE == 0 {
		return Namespace{}, fmt.Errorf("identify namespace: %w", ErrNoNamespace)
	}
	f := b[128+4*n.Format():]
	n.MS, n.LBADS = le.Uint16(f), f[2]
	if n.LBADS < 9 || n.LBADS > 16 {
		return Namespace{}, fmt.Errorf("identify namespace: blocks of 2^%d bytes", n.LBADS)
	}
	if n.NSZE > 1<<62>>n.LBADS {
		return Namespace{}, fmt.Errorf("identify namespace: %d blocks of 2^%d bytes", n.NSZE, n.LBADS)
	}
	return n, nil
}

// Format is the number of the LBA format in use, FLBAS bits 6:5 and 3:0.
func (n Namespace) Format() int { return int(n.FLBAS&0x0f) | int(n.FLBAS>>5&3)<<4 }

// SizeBytes is the namespace's size without metadata.
func (n Namespace) SizeBytes() int64 { return int64(n.NSZE << n.LBADS) }

// Formatting says whether a format runs, and how many percent of it remain, as far as the controller
// tells (FPI).
func (n Namespace) Formatting() (remaining int, running bool) {
	remaining = int(n.FPI & 0x7f)
	return remaining, n.FPI&(1<<7) != 0 && remaining > 0
}

// WriteProtected is NSATTR bit 0.
func (n Namespace) WriteProtected() bool { return n.NSATTR&1 != 0 }

// ReadsOfDeallocated is DLFEAT bits 2:0: 0 not reported, 1 zeros, 2 FFh.
func (n Namespace) ReadsOfDeallocated() uint8 { return n.DLFEAT & 7 }

// ParseNamespaceList decodes a list that was asked for with After: ascending identifiers, ended by
// a zero. more says that the list was full, so that there may be others after the last.
func ParseNamespaceList(b []byte, after uint32) (list []uint32, more bool, err error) {
	if len(b) < identifySize {
		return nil, false, fmt.Errorf("namespace list: %d bytes, want %d", len(b), identifySize)
	}
	last := after
	for at := 0; at < identifySize; at += 4 {
		id := binary.LittleEndian.Uint32(b[at:])
		if id == 0 {
			return list, false, nil
		}
		if id <= last || id >= 0xfffffffe {
			return nil, false, fmt.Errorf("namespace list: %#x after %#x", id, last)
		}
		list, last = append(list, id), id
	}
	return list, true, nil
}

// ParseControllerList decodes a controller list: a count, then ascending identifiers (figure 276).
func ParseControllerList(b []byte) ([]uint16, error) {
	if len(b) < identifySize {
		return nil, fmt.Errorf("controller list: %d bytes, want %d", len(b), identifySize)
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > identifySize/2-1 {
		return nil, fmt.Errorf("controller list: it counts %d", n)
	}
	list := make([]uint16, 0, n)
	for i := range n {
		id := binary.LittleEndian.Uint16(b[2+2*i:])
		if i > 0 && id <= list[i-1] {
			return nil, fmt.Errorf("controller list: %#x after %#x", id, list[i-1])
		}
		list = append(list, id)
	}
	return list, nil
}

// ascii is a space-padded field (1.4.2).
func ascii(b []byte) string { return strings.Trim(string(b), " \x00") }

// text is a field that ends with a zero byte.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(s)
}

// low128 is a 128-bit number, or the greatest 64-bit one when it does not fit.
func low128(b []byte) uint64 {
	if binary.LittleEndian.Uint64(b[8:]) != 0 {
		return ^uint64(0)
	}
	return binary.LittleEndian.Uint64(b)
}
