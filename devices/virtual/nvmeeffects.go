package virtual

import (
	"encoding/binary"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// The effects of a command (NVMe base 2.0, figure 210).
const (
	effectSupported = 1 << 0
	effectContent   = 1 << 1  // it changes what is in logical blocks
	effectInventory = 1 << 2  // and what namespaces are like
	effectOneAtOnce = 1 << 16 // while it runs no other command of the namespace does
	effectAlone     = 2 << 16 // nor of any
)

// effectsLog is Commands Supported and Effects (5.16.1.6): admin commands, then those of a command set.
// Kernels take no zoned namespace of a drive that does not have it.
func (d *drive) effectsLog(page []byte, c *nvme.Command) uint16 {
	le := binary.LittleEndian
	csi := c.CDW14 >> 24
	if csi != 0 && !(csi == 2 && d.profile.zoned) {
		return scInvalidField
	}
	for _, opcode := range []int{0x02, 0x06} {
		le.PutUint32(page[4*opcode:], effectSupported)
	}
	if d.profile.NVMeFormat {
		le.PutUint32(page[4*0x80:], effectSupported|effectContent|effectInventory|effectOneAtOnce)
	}
	if d.memory.TCG != nil {
		le.PutUint32(page[4*0x81:], effectSupported|effectContent)
		le.PutUint32(page[4*0x82:], effectSupported)
	}
	if len(d.info.Spec.Sanitize) > 0 {
		le.PutUint32(page[4*0x84:], effectSupported|effectContent|effectAlone)
	}
	set := page[1024:]
	for opcode, effects := range map[int]uint32{0x00: 0, 0x01: effectContent, 0x02: 0} {
		le.PutUint32(set[4*opcode:], effectSupported|effects)
	}
	if d.reserves() {
		le.PutUint32(set[4*0x0e:], effectSupported)
	}
	if csi == 2 {
		for opcode, effects := range map[int]uint32{0x79: effectContent, 0x7a: 0, 0x7d: effectContent} {
			le.PutUint32(set[4*opcode:], effectSupported|effects)
		}
	}
	return 0
}
