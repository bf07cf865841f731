package tcg

import (
	"encoding/binary"
	"fmt"
)

// UID names an object, a table or a method of a TPer (Core 6.3).
type UID uint64

func (u UID) String() string { return fmt.Sprintf("%016X", uint64(u)) }

func (u UID) bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(u)) }

// SP is a security provider.
type SP UID

// The security providers.
const (
	AdminSP             SP = 0x0000020500000001
	LockingSP           SP = 0x0000020500000002
	EnterpriseLockingSP SP = 0x0000020500010001
)

func (s SP) String() string {
	switch s {
	case AdminSP:
		return "Admin SP"
	case LockingSP, EnterpriseLockingSP:
		return "Locking SP"
	}
	return "SP " + UID(s).String()
}

// Authority is who a session acts as.
type Authority UID

// The authorities. Anybody needs no PIN.
const (
	Anybody     Authority = 0x0000000900000001
	SID         Authority = 0x0000000900000006 // the drive's owner
	PSID        Authority = 0x000000090001ff01 // whoever reads the label: may only revert
	Admin1      Authority = 0x0000000900010001 // of the Locking SP
	EraseMaster Authority = 0x0000000900008401 // of the Enterprise Locking SP
)

// BandMaster is the authority of an Enterprise band.
func BandMaster(band uint16) Authority { return 0x0000000900008001 + Authority(band) }

func (a Authority) String() string {
	switch a {
	case Anybody:
		return "Anybody"
	case SID:
		return "SID"
	case PSID:
		return "PSID"
	case Admin1:
		return "Admin1"
	case EraseMaster:
		return "EraseMaster"
	}
	if n := a - BandMaster(0); n < 0x400 {
		return fmt.Sprintf("BandMaster%d", n)
	}
	return "authority " + UID(a).String()
}

// Objects and tables.
const (
	thisSP           UID = 0x0000000000000001
	sessionManager   UID = 0x00000000000000ff
	lockingInfo      UID = 0x0000080100000001
	entLockingInfo   UID = 0x0000080100000000 // the table, of which there is one row
	lockingTable     UID = 0x0000080200000000
	cPINSID          UID = 0x0000000b00000001
	cPINMSID         UID = 0x0000000b00008402
	dataRemoval      UID = 0x0000110100000001
	globalRange      UID = 0x0000080200000001
	tableKAES128     UID = 0x00000805
	tableKAES256     UID = 0x00000806
	tableLocking     UID = 0x00000802
	tableOf              = 32 // bits below the table in an object's UID
	maxRangesAllowed     = 1 << 16
)

// Methods.
const (
	methodProperties      UID = 0x000000000000ff01
	methodStartSession    UID = 0x000000000000ff02
	methodSyncSession     UID = 0x000000000000ff03
	methodCloseSession    UID = 0x000000000000ff06
	methodNext            UID = 0x0000000600000008
	methodGet             UID = 0x0000000600000016
	methodSet             UID = 0x0000000600000017
	methodAuthenticate    UID = 0x000000060000001c
	methodGenKey          UID = 0x0000000600000010
	methodRevertSP        UID = 0x0000000600000011
	methodRevert          UID = 0x0000000600000202
	methodActivate        UID = 0x0000000600000203
	methodErase           UID = 0x0000000600000803
	methodEntGet          UID = 0x0000000600000006
	methodEntSet          UID = 0x0000000600000007
	methodEntAuthenticate UID = 0x000000060000000c
)
