package scsi

import (
	"encoding/binary"
	"fmt"
)

// Characteristics is the block device characteristics page (SBC-4 6.6.2).
type Characteristics struct {
	RotationRate uint16 // 1 is a drive without rotating media, above 0400h revolutions per minute; 0 not reported
	// What a read of a block does after a block erase, or a crypto erase, until it is written: 0 not
	// told, 1 anything without an error, 2 a medium error, 3 the one that says a write is required.
	WABEREQ, WACEREQ uint8
	Zoned            uint8 // 1 host-aware, 2 managed by the drive
	FormFactor       uint8
}

// ParseCharacteristics decodes it. ZONED is 0 where an old drive's page ends before it.
func ParseCharacteristics(b []byte) (Characteristics, error) {
	p, err := page(b, PageCharacter)
	if err != nil {
		return Characteristics{}, err
	}
	if len(p) < 4 {
		return Characteristics{}, fmt.Errorf("VPD page b1h: %d bytes, want 4", len(p))
	}
	c := Characteristics{RotationRate: binary.BigEndian.Uint16(p), WABEREQ: p[3] >> 6, WACEREQ: p[3] >> 4 & 3, FormFactor: p[3] & 0x0f}
	if len(p) > 4 {
		c.Zoned = p[4] >> 4 & 3
	}
	return c, nil
}

// ParseProvisioning decodes PROVISIONING TYPE of the logical block provisioning page: 0
// not reported, 1 with its own resources for every block, 2 thin. A thin unit has no fixed place for
// its blocks: what is written to it does not overwrite.
func ParseProvisioning(b []byte) (kind uint8, err error) {
	p, err := page(b, PageProvisioning)
	if err != nil {
		return 0, err
	}
	if len(p) < 3 {
		return 0, fmt.Errorf("VPD page b2h: %d bytes, want 3", len(p))
	}
	return p[2] & 7, nil
}
