package devices

import (
	"context"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// version20 is the first revision of NVMe in which a namespace tells whether its media rotate.
const version20 = 2 << 16

// rotates asks an NVMe drive whether its media rotate. Kernels before Linux 6.13 do not ask: to them every
// NVMe drive is solid. A drive that does not say leaves it as the kernel has it.
func rotates(ctx context.Context, t Transport, c nvme.Controller, namespaces []Namespace) bool {
	if c.VER < version20 {
		return false
	}
	for _, n := range namespaces {
		if !n.Attached {
			continue
		}
		page, err := admin(ctx, t, nvme.IdentifyIndependent{NSID: n.NSID}.Command())
		if err != nil {
			return false
		}
		rotational, err := nvme.ParseRotational(page)
		return err == nil && rotational
	}
	return false
}
