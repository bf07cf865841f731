package attest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// Command is one that could change or destroy anything, as it was sent to the drive. What was sent or came back
// with it as data is never here.
type Command struct {
	Time string `json:"time"`
	Unit int64  `json:"unit,omitempty"` // which of the drive's logical units
	Name string `json:"name"`           // as its standard calls it
	// Bytes are the command in hex: a SCSI command descriptor block, in which ATA commands travel by SCSI/ATA
	// translation, or of an NVMe submission queue entry CDW0 (the opcode alone), NSID and CDW10 to CDW15.
	Bytes  string `json:"bytes"`
	Status string `json:"status"`          // of its completion, in words; "unknown" where no answer is known
	Sense  string `json:"sense,omitempty"` // sense data in hex, as they came
	// ElapsedMs is how long the answer took; absent where none is known. A completed command need not be done.
	ElapsedMs *int64 `json:"elapsedMs,omitempty"`
}

// maxCommands bounds the list of a certificate; the journal has all of them.
const maxCommands = 16

// commandNVMe is the length of an NVMe command here, maxCDB of the longest of the others, maxSense of sense data.
const (
	commandNVMe = 32
	maxCDB      = 32
	maxSense    = 252
)

func isHex(s string, least, most int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) >= least && len(b) <= most && s == strings.ToLower(s)
}

// checkCommands: commands are possible, and every operation that is complete was sent by one of them. Their times
// are the host's clock, which may have gone back meanwhile, and decide nothing.
func (r Result) checkCommands() error {
	s := r.Sanitization
	for _, c := range s.Commands {
		if err := checkRules([]rule{
			{c.Name != "" && c.Status != "" && isASCII(c.Name, c.Status), "a command's words are not printable ASCII"},
			{isTime(c.Time) && c.Unit >= 0 && (c.ElapsedMs == nil || *c.ElapsedMs >= 0), "a command is impossible"},
			{isHex(c.Bytes, 6, maxCDB) && (c.Sense == "" || isHex(c.Sense, 1, maxSense)), "the bytes of a command are not hex digits of one"},
		}); err != nil {
			return err
		}
	}
	if len(s.Commands) > maxCommands || s.CommandsOmitted < 0 || s.CommandsOmitted > 0 && len(s.Commands) < maxCommands {
		return errors.New("commands are left out that there is room for")
	}
	if len(s.Commands) == 0 || s.CommandsOmitted > 0 {
		return nil
	}
	for _, o := range s.Operations {
		sent := false
		for _, c := range s.Commands {
			sent = sent || c.Unit == o.Unit && o.sentBy(r.Device.Protocol, c)
		}
		if o.Complete && !sent {
			return errors.New("an operation is complete, and its command is not among those sent")
		}
	}
	return nil
}

// sentBy says whether the bytes of a command are those of the operation: its opcode, and its code.
func (o Operation) sentBy(protocol string, c Command) bool {
	b, err := hex.DecodeString(c.Bytes)
	wide, errCode := strconv.ParseUint(strings.TrimPrefix(o.Code, "0x"), 16, 32)
	code := uint32(wide)
	if errors.Join(err, errCode) != nil {
		return false
	}
	if protocol == "nvme" {
		if len(b) != commandNVMe {
			return false
		}
		cdw10 := binary.LittleEndian.Uint32(b[8:])
		switch o.Kind {
		case "NVMe Sanitize":
			return b[0] == 0x84 && cdw10 == code
		case "NVMe Format":
			return b[0] == 0x80 && cdw10 == code
		}
		return b[0] == 0x81 && strings.HasPrefix(o.Kind, "TCG") // Security Send
	}
	opcode, ata := b[0], byte(0)
	switch {
	case b[0] == 0x85 && len(b) == 16: // ATA PASS-THROUGH(16)
		ata = b[14]
	case b[0] == 0xa1 && len(b) == 12:
		ata = b[9]
	}
	switch o.Kind {
	case "ATA SANITIZE DEVICE":
		return ata == 0xb4 && b[0] == 0x85 && uint32(b[3])<<24|uint32(b[4])<<16|uint32(b[5])<<8|uint32(b[6]) == code
	case "ATA SECURITY ERASE UNIT":
		return ata == 0xf4 || opcode == 0xb5 // SECURITY PROTOCOL OUT of the translation
	case "SCSI SANITIZE":
		return opcode == 0x48 && uint32(b[1]) == code
	case "SCSI FORMAT UNIT":
		return opcode == 0x04
	}
	return strings.HasPrefix(o.Kind, "TCG") && (opcode == 0xb5 || ata == 0x5e || ata == 0x5f)
}
