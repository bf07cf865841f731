package virtual

import (
	"encoding/binary"
	"errors"
	"time"
)

// The ways in which a TPer's answers are wrong, of the fault TCGAnswer.
const (
	answerNoDiscovery = "no-discovery"
	answerZero        = "zero"
	answerTruncated   = "truncated"
	answerNever       = "never"
)

// tper is a drive's security subsystem while it does something: the drive's memory is its own for
// that time.
type tper struct {
	d     *drive
	m     *memory
	s     *tcgMemory
	p     *tcgPower
	comID uint16
	now   time.Time
}

// within has the TPer do something that may change what the drive keeps. d.mu is held.
func (d *drive) within(do func(t *tper) error) error {
	return d.recall(func(m *memory) error {
		err := do(&tper{d: d, m: m, s: m.TCG, p: m.Power.TCG, comID: d.profile.comID(), now: d.rack.now()})
		if errors.Is(err, errCut) {
			return nil // the drive keeps what it had done, and that its power went
		}
		return err
	})
}

// ifSend is IF-SEND of any interface (Core 3.3.4.1). d.mu is held.
func (d *drive) ifSend(protocol byte, specific uint16, data []byte) (failure ifFailure, err error) {
	if protocol == protocolTCG && specific == d.profile.comID() {
		// What is in the volatile cache is erased with the rest, and stays readable with the rest.
		if err := d.writeBack(); err != nil {
			return ifGood, err
		}
		d.forget()
	}
	err = d.within(func(t *tper) error {
		var err error
		failure, err = t.send(protocol, specific, data)
		return err
	})
	return failure, err
}

func (t *tper) send(protocol byte, specific uint16, data []byte) (ifFailure, error) {
	switch {
	case len(data) > mostComPacket:
		return ifInvalid, nil
	case protocol == protocolTCG && specific == t.comID:
		if t.p.Answer != nil {
			return ifSequence, nil
		}
		return ifGood, t.take(data)
	case protocol == protocolManage && specific == t.comID:
		return t.manage(data), nil
	case protocol == protocolManage && specific == comIDTPerReset && t.s.ResetEnabled && t.d.profile.tcg.kind != tcgEnterprise:
		t.s.reset(resetProgram)
		t.p.Sessions, t.p.Answer, t.p.Managed, t.p.Host = nil, nil, nil, nil
		return ifGood, nil
	case protocol == protocolManage && specific == comIDBlockSID && t.d.profile.tcg.kind != tcgEnterprise:
		return t.blockSID(data), nil
	}
	return ifInvalid, nil
}

// blockSID is the Block SID Authentication command: until a power cycle nobody is authenticated as SID,
// nor as PSID. It is for drives whose SID still has the PIN of MSID (Feature Set Block SID, 4.2).
func (t *tper) blockSID(data []byte) ifFailure {
	if len(data) < 1 || t.p.Blocked || string(t.s.Admin[authSID].PIN) != t.s.MSID {
		return ifInvalid
	}
	t.p.Blocked, t.p.UnblockedByReset = true, data[0]&1 != 0
	return ifGood
}

// The requests of ComID management (Core 3.3.4.7).
const (
	requestVerify     = 1
	requestStackReset = 2
)

// manage takes a request about the ComID; the host fetches the answer.
func (t *tper) manage(data []byte) ifFailure {
	be := binary.BigEndian
	if len(data) < 8 || be.Uint16(data) != t.comID || be.Uint16(data[2:]) != 0 {
		return ifInvalid
	}
	answer := append([]byte(nil), data[:8]...)
	switch be.Uint32(data[4:]) {
	case requestVerify:
		answer = append(answer, 0, 0, 0, 34, 0, 0, 0, 2) // issued
		if len(t.p.Sessions) > 0 {
			answer[15] = 3 // associated
		}
		answer = append(answer, make([]byte, 30)...)
	case requestStackReset:
		t.p.Sessions, t.p.Answer, t.p.Host = nil, nil, nil
		answer = append(answer, 0, 0, 0, 4, 0, 0, 0, 0)
	default:
		answer = append(make([]byte, 0, 12), data[:4]...)
		answer = append(answer, 0, 0, 0, 0, 0, 0, 0, 0) // no response available
	}
	t.p.Managed = answer
	return ifGood
}

// ifReceive is IF-RECV: at most length bytes. d.mu is held.
func (d *drive) ifReceive(protocol byte, specific uint16, length int) (data []byte, failure ifFailure, err error) {
	switch {
	case protocol == protocolInfo && specific == 0:
		list := []byte{0, 0, 0, 0, 0, 0, 0, 3, protocolInfo, protocolTCG, protocolManage}
		if d.profile.translated() && d.secured() {
			list[7], list = 4, append(list, 0xef) // the translation's own
		}
		data = list
	case protocol == protocolInfo && specific == 1:
		data = make([]byte, 4) // no certificate
	case protocol == protocolTCG && specific == comIDDiscovery:
		data = d.discovery()
		if d.faults().has(TCGAnswer, answerNoDiscovery) {
			clear(data)
		}
	case protocol == protocolTCG && specific == d.profile.comID() && length >= comPacketHeader:
		err = d.within(func(t *tper) error { data = t.give(length); return nil })
	case protocol == protocolManage && specific == d.profile.comID():
		err = d.within(func(t *tper) error {
			data, t.p.Managed = t.p.Managed, nil
			if data == nil {
				data = binary.BigEndian.AppendUint16(nil, t.comID)
				data = append(data, make([]byte, 10)...) // no response available
			}
			return nil
		})
	default:
		return nil, ifInvalid, nil
	}
	return data[:min(len(data), length)], ifGood, err
}

// give hands the answer over when there is room for it (Core 3.3.10.2.1).
func (t *tper) give(length int) []byte {
	answer, list := t.p.Answer, t.d.faults()
	switch {
	case answer == nil:
		return emptyComPacket(t.comID, 0, 0)
	case list.has(TCGAnswer, answerNever):
		return emptyComPacket(t.comID, 1, 0)
	case length < len(answer):
		return emptyComPacket(t.comID, len(answer), len(answer))
	}
	t.p.Answer = nil
	switch {
	case list.has(TCGAnswer, answerZero):
		return make([]byte, len(answer))
	case list.has(TCGAnswer, answerTruncated):
		return answer[:comPacketHeader+packetHeader+subpacketHeader+(len(answer)-comPacketHeader-packetHeader-subpacketHeader)/2]
	}
	return answer
}

// tcgReset is what a hardware reset does to the subsystem: conversations are over, and what is to be
// locked by it is (Core 5.7.2.2.10). Power goes on: SID stays blocked unless that was to end by it.
func (d *drive) tcgReset() error {
	if d.memory.TCG == nil {
		return nil
	}
	return d.within(func(t *tper) error {
		t.s.reset(resetHardware)
		*t.p = tcgPower{Blocked: t.p.Blocked && !t.p.UnblockedByReset, NextTSN: t.p.NextTSN, Methods: t.p.Methods}
		return nil
	})
}
