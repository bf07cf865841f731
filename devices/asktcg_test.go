package devices_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/tcg"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// withTPer gives a drive of a rack security commands, and answers those by itself.
type withTPer struct {
	devices.Transport
	ways          string // by which commands it can be reached: "nvme bytes blocks trusted16 trusted12"
	list          []byte // of protocols
	level0        []byte
	comID         []byte // what is answered on another ComID
	fail          error
	asked, others *[]string // security commands that were sent: those that ask, and all others
}

var refusedField = scsi.Result{Status: 2, DriverStatus: 8, Sense: []byte{0x72, 5, 0x24, 0, 0, 0, 0, 0}}

func (w withTPer) has(way string) bool { return slices.Contains(strings.Fields(w.ways), way) }

// answer is what a question brings, padded with zeros.
func (w withTPer) answer(question string, protocol byte, comID uint16, data []byte) (int, error) {
	*w.asked = append(*w.asked, question)
	clear(data)
	switch {
	case w.fail != nil:
		return 0, w.fail
	case protocol == 0:
		copy(data, w.list)
	case comID == 1:
		copy(data, w.level0)
	default:
		copy(data, w.comID)
	}
	return len(data), nil
}

func (w withTPer) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	words := fmt.Sprintf("%02x nsid %d %08x %d", c.Opcode, c.NSID, c.CDW10, c.CDW11)
	switch {
	case c.Queue == nvme.Admin && c.Opcode == 0x82:
		_, err := w.answer(words, byte(c.CDW10>>24), uint16(c.CDW10>>8), c.Data)
		return nvme.Completion{}, err
	case c.Queue == nvme.Admin && c.Opcode == 0x81:
		*w.others = append(*w.others, words)
		return nvme.Completion{}, nil
	}
	done, err := w.Transport.NVMe(ctx, c)
	if c.Queue == nvme.Admin && c.Opcode == 6 && c.CDW10&0xff == 1 && w.has("nvme") {
		c.Data[256] |= 1
	}
	return done, err
}

func (w withTPer) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	b := c.CDB
	words := hex.EncodeToString(b)
	ask := func(protocol byte, comID uint16) (scsi.Result, error) {
		n, err := w.answer(words, protocol, comID, c.Data)
		return scsi.Result{Transferred: n}, err
	}
	opcode := byte(0) // of the ATA command that passes through
	switch b[0] {
	case 0x85:
		opcode = b[14]
	case 0xa1:
		opcode = b[9]
	case 0xa3:
		if b[1] == 0x0c && (b[3] == 0xa2 || b[3] == 0xb5) && (w.has("bytes") || w.has("blocks")) {
			return scsi.Result{Transferred: copy(c.Data, []byte{0, 3, 0, 12})}, nil
		}
	case 0xa2:
		if b[1] == 0xef {
			break
		}
		if way := map[bool]string{false: "bytes", true: "blocks"}[b[4]&0x80 != 0]; !w.has(way) {
			*w.asked = append(*w.asked, words)
			return refusedField, nil
		}
		return ask(b[1], uint16(b[2])<<8|uint16(b[3]))
	case 0xb5:
		*w.others = append(*w.others, words)
		return scsi.Result{}, nil
	}
	switch opcode {
	case 0x5e, 0x5f:
		*w.others = append(*w.others, words)
		return scsi.Result{}, nil
	case 0x5c:
		if b[0] == 0x85 && w.has("trusted16") {
			return ask(b[4], uint16(b[12])<<8|uint16(b[10]))
		}
		if b[0] == 0xa1 && w.has("trusted12") {
			return ask(b[3], uint16(b[7])<<8|uint16(b[6]))
		}
		*w.asked = append(*w.asked, words)
		return refusedField, nil
	}
	r, err := w.Transport.SCSI(ctx, c)
	if opcode == 0xec && r.Transferred == 512 && strings.Contains(w.ways, "trusted") {
		c.Data[96], c.Data[97] = 1, 0x40 // word 48
		if c.Data[510] == 0xa5 {
			c.Data[511] = 0
			for _, x := range c.Data[:511] {
				c.Data[511] -= x
			}
		}
	}
	return r, err
}

func tcgHost(t *testing.T, profile string, w withTPer) (*devices.Host, withTPer) {
	t.Helper()
	r := rackOf(t, virtual.Spec{Profile: profile, Serial: "A"})
	w.asked, w.others = new([]string), new([]string)
	return devices.NewHost(r.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := r.Opener()(ctx, node, access)
		own := w
		own.Transport = tr
		return own, err
	}, nil), w
}

// level0 is a discovery by hand: TPer, Locking with the flags, Opal 2.02 on ComID 07FEh.
func level0(locking byte, more ...string) []byte {
	hexa := "00010000 0000000000000000" + strings.Repeat("00", 32) +
		"0001100C010000000000000000000000" + fmt.Sprintf("0002100C%02x0000000000000000000000", locking) + "02031210 07FE0001 0000040009 0000 0000000000" + strings.Join(more, "")
	b, err := hex.DecodeString(strings.ReplaceAll(hexa, " ", ""))
	if err != nil {
		panic(err)
	}
	return append([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b...)
}

var speaks = []byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 2}

// Every command set has its way to the TPer, and a listing goes only as far as asking.
func TestWhatDrivesSayOfTheirSelfEncryption(t *testing.T) {
	for name, x := range map[string]struct {
		profile, ways string
		asked         []string
	}{
		"NVMe":       {"nvme-ssd", "nvme", []string{"82 nsid 0 00000000 512", "82 nsid 0 01000100 2048"}},
		"SAS":        {"sas-ssd", "bytes blocks", []string{"a20000000000000002000000", "a20100010000000008000000"}},
		"SAS blocks": {"sas-ssd", "blocks", []string{"a20000000000000002000000", "a20100010000000008000000", "a20000008000000000010000", "a20100018000000000040000"}},
		"SATA":       {"sata-ssd", "trusted16", []string{"85080e00000001000000000000005c00", "85080e00010004000000010000005c00"}},
		"SATA, 12-byte form alone": {"usb-sata", "trusted12", []string{
			"85080e00000001000000000000005c00", "85080e00010004000000010000005c00", "a1080e000100000000" + "5c0000", "a1080e010400010000" + "5c0000"}},
		"SATA, translated": {"sata-ssd", "trusted16 blocks", []string{"a20000008000000000010000", "a20100018000000000040000"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, w := tcgHost(t, x.profile, withTPer{ways: x.ways, list: speaks, level0: level0(0x09)})
			d := onlyDrive(t, h)
			if d.TCG == nil || d.TCG.Unread != nil || !slices.Equal(d.TCG.SSCs, []string{"Opal 2.02"}) || d.TCG.LockingEnabled || !d.TCG.MediaEncryption || d.TCG.ComID != 0x07fe || d.State != devices.StateReady {
				t.Errorf("%+v, %s %v", d.TCG, d.State, d.Reasons)
			}
			if !slices.Equal(*w.asked, x.asked) {
				t.Errorf("asked %q", *w.asked)
			}
			if len(*w.others) > 0 {
				t.Errorf("a listing sent %q", *w.others)
			}
		})
	}
}

// A locked drive, and one whose first blocks are covered, cannot be chosen: what is written would not
// reach the media. The way out is said.
func TestLockedBySelfEncryption(t *testing.T) {
	running := "04042020 00 01 07 05 0003 0000 0001 00000000 0000" + strings.Repeat("00", 16)
	for code, answer := range map[string][]byte{devices.ReasonTCGLocked: level0(0x0f), devices.ReasonShadowMBR: level0(0x1b), devices.ReasonSanitizing: level0(0x09, running)} {
		h, _ := tcgHost(t, "nvme-ssd", withTPer{ways: "nvme", list: speaks, level0: answer})
		d := onlyDrive(t, h)
		if len(d.Reasons) != 1 || d.State != devices.StateBlocked || d.Reasons[0].Code != code || d.Reasons[0].Hint == "" {
			t.Errorf("%s: %s %+v", code, d.State, d.Reasons)
		}
		if _, err := h.Open(t.Context(), d, devices.OpenOptions{}); err == nil {
			t.Errorf("%s: it can be opened for writing", code)
		}
	}
	h, _ := tcgHost(t, "nvme-ssd", withTPer{ways: "nvme", list: speaks, level0: level0(0x3b)})
	if d := onlyDrive(t, h); d.State != devices.StateReady {
		t.Error("a shadow MBR that is set aside covers nothing:", d.Reasons)
	}
}

// A drive that says it has security commands and whose answer is none: unknown is said, and not "no".
func TestSelfEncryptionThatCannotBeRead(t *testing.T) {
	for name, w := range map[string]withTPer{
		"blank":            {ways: "nvme", list: speaks, level0: nil},
		"blank list, too":  {ways: "nvme"},
		"cut short":        {ways: "nvme", list: speaks, level0: append([]byte{0, 0, 0xff, 0xff}, level0(9)[4:]...)},
		"lost on the way":  {ways: "nvme", fail: errors.New("input/output error")},
		"a bad descriptor": {ways: "nvme", list: speaks, level0: bytes.Replace(level0(9), []byte{0, 2, 0x10, 0x0c}, []byte{0, 2, 0x10, 0xfc}, 1)},
	} {
		h, _ := tcgHost(t, "nvme-ssd", w)
		d := onlyDrive(t, h)
		lack, is := d.Lack(devices.ReasonTCGUnread)
		if d.TCG == nil || d.TCG.Unread == nil || d.TCG.LockingSupported || !is || lack.Hint == "" || d.State != devices.StateReady {
			t.Errorf("%s: %+v, %s %v", name, d.TCG, d.State, d.Lacks)
		}
	}
	// Linux keeps TRUSTED commands back unless told otherwise, and says so in this way.
	h, w := tcgHost(t, "sata-ssd", withTPer{ways: "trusted", list: speaks, level0: level0(9)})
	d := onlyDrive(t, h)
	if lack, is := d.Lack(devices.ReasonTCGUnread); !is || !strings.Contains(lack.Hint, "libata.allow_tpm") || len(*w.others) > 0 {
		t.Errorf("%+v %v", d.TCG, d.Lacks)
	}
	b, err := json.Marshal(d)
	if err != nil || !bytes.Contains(b, []byte(`"unread":{"code":"tcg_unread"`)) {
		t.Errorf("%s, %v", b, err)
	}
	gone := fmt.Errorf("ioctl: %w", devices.ErrGone)
	h, _ = tcgHost(t, "nvme-ssd", withTPer{ways: "nvme", fail: gone})
	if d := onlyDrive(t, h); d.State == devices.StateReady {
		t.Error("a drive that went away while it was asked is ready")
	}
}

// A drive is asked nothing of the kind unless it says that it can be.
func TestNoSelfEncryption(t *testing.T) {
	for _, profile := range []string{"nvme-ssd", "sas-ssd", "sata-ssd", "usb-sata"} {
		h, w := tcgHost(t, profile, withTPer{list: speaks, level0: level0(9)})
		if d := onlyDrive(t, h); d.TCG != nil || len(*w.asked)+len(*w.others) > 0 {
			t.Errorf("%s: %+v, %q", profile, d.TCG, *w.asked)
		}
	}
	h, w := tcgHost(t, "nvme-ssd", withTPer{ways: "nvme", list: []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 0xea}, level0: level0(9)})
	if d := onlyDrive(t, h); d.TCG != nil || len(d.Lacks) > 0 || len(*w.asked) != 1 {
		t.Errorf("other protocols: %+v, %v, %q", d.TCG, d.Lacks, *w.asked)
	}
}

// A session goes by the way by which discovery did: nothing is sent by one that was not seen to work.
func TestOpenTCG(t *testing.T) {
	for name, x := range map[string]struct {
		profile, ways string
		protocol      devices.Protocol
		send, receive string // of Properties
	}{
		"NVMe":             {"nvme-ssd", "nvme", devices.ProtocolNVMe, "81 nsid 0 0107fe00 512", "82 nsid 0 0107fe00 2048"},
		"SAS":              {"sas-ssd", "bytes", devices.ProtocolSCSI, "b50107fe0000000002000000", "a20107fe0000000008000000"},
		"SAS blocks":       {"sas-ssd", "blocks", devices.ProtocolSCSI, "b50107fe8000000000010000", "a20107fe8000000000040000"},
		"SATA":             {"sata-ssd", "trusted16", devices.ProtocolATA, "850a26000100010000" + "00fe0007005e00", "85080e000100040000" + "00fe0007005c00"},
		"SATA, translated": {"sata-ssd", "trusted16 blocks", devices.ProtocolATA, "b50107fe8000000000010000", "a20107fe8000000000040000"},
		"SATA, 12 bytes":   {"sata-ssd", "trusted12", devices.ProtocolATA, "a10a26010100fe07005e0000", "a1080e010400fe07005c0000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, w := tcgHost(t, x.profile, withTPer{ways: x.ways, list: speaks, level0: level0(9)})
			r := rackOf(t, virtual.Spec{Profile: x.profile, Serial: "A"})
			node := "/dev/sda"
			if x.protocol == devices.ProtocolNVMe {
				node = "/dev/nvme0n1"
			}
			tr, err := r.Opener()(t.Context(), node, devices.ReadOnly)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			w.Transport = tr
			door, d, err := devices.OpenTCG(t.Context(), w, x.protocol)
			if err != nil || d.Facts().ComID != 0x07fe || len(*w.others) > 0 {
				t.Fatal(d, err, *w.others)
			}
			if _, err := tcg.OpenSession(t.Context(), door, d, tcg.AdminSP, tcg.Anybody, tcg.Secret{}); !errors.Is(err, tcg.ErrNoAnswer) {
				t.Error("zeros are an answer:", err)
			}
			if asked := *w.asked; !slices.Equal(*w.others, []string{x.send}) || asked[len(asked)-1] != x.receive {
				t.Errorf("sent %q, asked %q", *w.others, asked)
			}
		})
	}
	_, w := tcgHost(t, "sas-ssd", withTPer{ways: "bytes", fail: fmt.Errorf("ioctl: %w", devices.ErrGone)})
	if _, _, err := devices.OpenTCG(t.Context(), w, devices.ProtocolSCSI); !devices.IsGone(err) || len(*w.asked) != 1 {
		t.Error(err, *w.asked)
	}
	if _, _, err := devices.OpenTCG(t.Context(), w, devices.ProtocolLoop); !errors.Is(err, devices.ErrNoDoor) {
		t.Error(err)
	}
}
