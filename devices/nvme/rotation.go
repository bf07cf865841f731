package nvme

import "fmt"

// cnsIndependent is the CNS of what is said of a namespace whatever its command set (NVMe base 2.0, 5.17.2.8).
const cnsIndependent = 0x08

// IdentifyIndependent asks for that of a namespace that is attached to the controller.
type IdentifyIndependent struct{ NSID uint32 }

// Command encodes it.
func (i IdentifyIndependent) Command() *Command { return identify(cnsIndependent, i.NSID, 0) }

// ParseRotational says whether a namespace is stored on rotational media: NSFEAT bit 4, RMEDIA (figure 280).
// A page without it says nothing: drives that do not know the bit leave it 0.
func ParseRotational(b []byte) (bool, error) {
	if len(b) < identifySize {
		return false, fmt.Errorf("identify namespace, any command set: %d bytes, want %d", len(b), identifySize)
	}
	return b[0]&(1<<4) != 0, nil
}
