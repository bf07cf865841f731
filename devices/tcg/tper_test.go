package tcg

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// x reads bytes written as hex, with spaces where one likes.
func x(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "\n", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// packet wraps a payload by hand as Core 3.2.3 draws it.
func packet(comID uint16, tsn, hsn uint32, payload []byte) []byte {
	padded := append(bytes.Clone(payload), make([]byte, (4-len(payload)%4)%4)...)
	b := fmt.Appendf(nil, "00000000%04x0000 00000000 00000000 %08x", comID, 36+len(padded))
	b = fmt.Appendf(b, "%08x%08x 00000000 0000 0000 00000000 %08x", tsn, hsn, 12+len(padded))
	b = fmt.Appendf(b, "000000000000 0000 %08x", len(payload))
	return append(x(string(b)), padded...)
}

const (
	ok       = "F9 F0 00 00 00 F1"
	smuid    = "A8 00000000000000FF"
	testTSN  = 0x1001
	testComi = 0x07fe
)

// tper is a scripted TPer. It checks the wrapping of what is sent and answers each payload by a function.
type tper struct {
	t         *testing.T
	discovery []byte
	hsn       uint32
	log       []string // payloads as hex, the host's session number as HHHHHHHH
	raw       [][]byte // the buffers that were sent, as the host holds them
	answers   [][]byte // what is given next; the last one again and again when sticky
	sticky    bool
	receives  int
	sizes     []int
	answer    func(payload string) []byte // nil: blank
	control   map[string]string           // answers by the method's name to what a session manager is asked
	fail      error
}

func (p *tper) Send(_ context.Context, protocol uint8, specific uint16, data []byte) error {
	p.t.Helper()
	if p.fail != nil {
		return p.fail
	}
	p.raw = append(p.raw, data)
	if len(data) == 0 || len(data)%512 != 0 {
		p.t.Errorf("%d bytes sent", len(data))
	}
	if protocol == 2 {
		p.log = append(p.log, fmt.Sprintf("02 %04X %X", specific, data[:16]))
		return nil
	}
	be := binary.BigEndian
	if protocol != 1 || specific != testComi || be.Uint16(data[4:]) != testComi || be.Uint16(data[6:]) != 0 {
		p.t.Errorf("protocol %d, ComID %04x, header % x", protocol, specific, data[:20])
	}
	com, pkt, sub := int(be.Uint32(data[16:])), int(be.Uint32(data[40:])), int(be.Uint32(data[52:]))
	if com != pkt+24 || pkt < sub+12 || pkt > sub+15 || pkt%4 != 0 || com+20 > len(data) || be.Uint64(data[28:]) != 0 || be.Uint32(data[36:]) != 0 {
		p.t.Errorf("lengths %d %d %d in %d", com, pkt, sub, len(data))
	}
	payload := data[56 : 56+sub]
	tsn, hsn := be.Uint32(data[20:]), be.Uint32(data[24:])
	words := strings.ToUpper(hex.EncodeToString(payload))
	if start := "F8A800000000000000FFA8000000000000FF02F084"; strings.HasPrefix(words, start) {
		p.hsn = be.Uint32(payload[21:])
		words = start + "HHHHHHHH" + words[len(start)+8:]
	}
	if tsn != 0 && (tsn != testTSN || hsn != p.hsn) || tsn == 0 && hsn != 0 {
		p.t.Errorf("session %x:%x", tsn, hsn)
	}
	p.log = append(p.log, words)
	if b := p.reply(words); b != nil {
		p.answers = append(p.answers, packet(testComi, tsn, hsn, b))
	}
	return nil
}

// reply answers Properties, StartSession and the end of a session as a TPer does, and all else by script.
func (p *tper) reply(words string) []byte {
	for method, answer := range map[string]string{
		"FF01": "F8" + smuid + "A8 000000000000FF01 F0 F0 F2 D010" + hex.EncodeToString([]byte("MaxComPacketSize")) + "82 0800 F3 F1 F2 00 F0 F1 F3 F1" + ok,
		"FF02": "F8" + smuid + "A8 000000000000FF03 F0 84" + fmt.Sprintf("%08x", p.hsn) + "82 1001 F1" + ok,
	} {
		if strings.HasPrefix(words, "F8A800000000000000FFA8000000000000"+method) {
			if own, is := p.control[method]; is {
				answer = own
			}
			return x(answer)
		}
	}
	if words == "FA" {
		return x("FA")
	}
	if p.answer == nil {
		return nil
	}
	return p.answer(words)
}

func (p *tper) Receive(ctx context.Context, protocol uint8, specific uint16, size int) ([]byte, error) {
	p.receives++
	p.sizes = append(p.sizes, size)
	if protocol == 1 && specific == 1 {
		return p.discovery, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if len(p.answers) > 0 {
		copy(b, p.answers[0])
		if len(p.answers) > 1 || !p.sticky {
			p.answers = p.answers[1:]
		}
	}
	return b, nil
}

// last is the payload sent last.
func (p *tper) last() string {
	if len(p.log) == 0 {
		return ""
	}
	return p.log[len(p.log)-1]
}

// always answers every method with the same results and status.
func answerAlways(tokens string) func(string) []byte {
	return func(string) []byte { return x(tokens) }
}

// level0 makes a Level 0 discovery of features, each with its header.
func level0(features ...string) []byte {
	body := append(x("0001 0002 0000000000000000"), make([]byte, 32)...)
	for _, f := range features {
		body = append(body, x(f)...)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), append(body, make([]byte, 64)...)...)
}

const (
	featTPer       = "0001 10 0C 01 0000000000000000000000"
	featLocking    = "0002 10 0C 0B 0000000000000000000000" // supported, enabled, encrypts
	featGeometry   = "0003 10 1C 01 00000000000000 00000200 0000000000000008 0000000000000000"
	featOpal2      = "0203 12 10 07FE 0001 00 0004 0009 00 00 0000000000"
	featEnterprise = "0100 10 10 07FE 0001 00 0000000000000000000000"
	featPyrite2    = "0303 10 10 07FE 0001 00 0000 0000 00 00 0000000000"
	featBlockSID   = "0402 10 0C 00 00 00000000000000000000"
	featRemoval    = "0404 20 20 00 00 07 05 0003 0000 0001 00000000 0000 00000000000000000000000000000000"
)

func discovered(t *testing.T, features ...string) Discovery {
	t.Helper()
	d, err := ParseDiscovery(level0(features...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func pin(s string) Secret { return NewSecret([]byte(s)) }

// opened opens a session with a scripted TPer and forgets what was said for that.
func opened(t *testing.T, p *tper, d Discovery, sp SP, as Authority) *Session {
	t.Helper()
	p.t = t
	secret := pin("PIN4")
	if as == Anybody {
		secret = Secret{}
	}
	answer := p.answer
	if d.Enterprise() && as != Anybody {
		p.answer = answerAlways("F0 01 F1" + ok)
	}
	s, err := OpenSession(t.Context(), p, d, sp, as, secret)
	if err != nil {
		t.Fatal(err)
	}
	p.log, p.answer = nil, answer
	return s
}
