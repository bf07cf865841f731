package devices

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// The codes of what an NVMe drive says of its condition that keeps erases away.
const (
	ReasonFirmwarePending = "firmware_pending"
	ReasonReadOnlyMedium  = "read_only_medium"
)

// readFacts asks an NVMe drive for its condition before anything is done to it: what it would refuse a
// command for is to be known before blocks are marked for that command. Of whether a persistent memory
// region is enabled a host is told nothing: that is in a register of the controller which no command reads.
func readFacts(ctx context.Context, t Transport, d *Drive, c nvme.Controller) error {
	for _, step := range []func(context.Context, Transport, *Drive, nvme.Controller) error{readFirmware, readWarnings, readBeside} {
		if err := step(ctx, t, d, c); err != nil {
			return err
		}
	}
	return nil
}

func readLog(ctx context.Context, t Transport, id uint8) ([]byte, error) {
	return admin(ctx, t, nvme.GetLogPage{LID: id, Retain: true}.Command())
}

// readFirmware finds firmware that waits to be activated: no sanitize is taken until it is (NVMe base
// 2.0, 5.24). A format need not be refused for it, and would run under firmware that is about to go.
func readFirmware(ctx context.Context, t Transport, d *Drive, c nvme.Controller) error {
	page, err := readLog(ctx, t, nvme.LogFirmware)
	var f nvme.FirmwareSlots
	if err == nil {
		f, err = nvme.ParseFirmwareSlots(page, c.FirmwareSlots())
	}
	var answer *nvme.StatusError
	switch {
	case IsGone(err):
		return err
	case errors.As(err, &answer) && answer.Number() == nvme.StatusSanitizeInProgress:
		return nil // no firmware is activated meanwhile, and it need not tell (NVMe base 2.3, 8.1.26)
	case err != nil:
		d.Notes = append(d.Notes, Reason{"firmware_unknown", fmt.Sprintf("whether new firmware waits to be activated cannot be told: %v", err),
			"a drive that has some refuses to erase itself: take its power away and give it back first"})
	case f.Pending(c.FR):
		d.lack(ReasonFirmwarePending, cleanASCII(fmt.Sprintf("new firmware (%s, in slot %d) waits to be activated: until then the drive does not erase itself", f.FRS[f.Next], f.Next)),
			"take power from the drive and give it back, or reset its controller, then plan again")
	}
	return nil
}

// warnings are the bits of the critical warning in words (NVMe base 2.0, figure 207).
var warnings = []struct {
	bit  uint8
	word string
}{
	{nvme.WarnSpare, "it runs out of spare blocks"}, {nvme.WarnTemperature, "its temperature is out of bounds"}, {nvme.WarnReliability, "it is not reliable any more"},
	{nvme.WarnReadOnly, "its media are read-only"}, {nvme.WarnBackup, "the backup of its volatile memory failed"},
	{nvme.WarnPMR, "its persistent memory region is read-only or unreliable"},
}

// readWarnings takes hours and critical warnings from the SMART log, which a drive need not have. Media
// that became read-only take no block of the host and are sanitized all the same (NVMe base 2.3, 8.1.26).
func readWarnings(ctx context.Context, t Transport, d *Drive, _ nvme.Controller) error {
	h, err := readSMART(ctx, t)
	if err != nil {
		if IsGone(err) {
			return err
		}
		return nil
	}
	if h.PowerOnHours != nil {
		d.PowerOnHours = h.PowerOnHours
	}
	var words []string
	for _, w := range warnings {
		if *h.Critical&int64(w.bit) != 0 {
			words = append(words, w.word)
		}
	}
	if len(words) == 0 {
		return nil
	}
	hint := "it may fail while it is erased: destroy it then"
	if *h.Critical&nvme.WarnPMR != 0 {
		hint = "it refuses to sanitize itself while the region is enabled, which a host cannot ask: disable it first, or take the drive's power away and give it back"
	}
	d.Notes = append(d.Notes, Reason{"critical_warning", "it warns: " + strings.Join(words, ", "), hint})
	if *h.Critical&nvme.WarnReadOnly != 0 {
		d.lack(ReasonReadOnlyMedium, "its media are read-only: the host cannot write to it, not even markers", "it can still sanitize itself, and be taken at its word: --verify status")
	}
	return nil
}

// readBeside lists what the drive has beside the blocks of its namespaces, which no erase reaches and a
// host can read: boot partitions and replay protected memory blocks (NVMe base 2.0, 8.2 and 8.18).
func readBeside(ctx context.Context, t Transport, d *Drive, c nvme.Controller) error {
	d.Beside = nil
	boot := func(words string) { d.Beside = append(d.Beside, Reason{Code: "boot_partitions", Message: words}) }
	d.area(AreaBoot, AreaAbsent, 0)
	switch {
	case c.BPCAP != 0:
		page, err := readLog(ctx, t, nvme.LogBoot)
		var each int64
		if err == nil {
			each, err = nvme.ParseBootPartition(page)
		}
		switch {
		case IsGone(err):
			return err
		case err == nil:
			d.area(AreaBoot, AreaPresent, 2*each)
			boot(fmt.Sprintf("2 boot partitions of %d KiB", each>>10))
		case c.BPCAP&^1 != 0: // they can be write-protected
			d.area(AreaBoot, AreaPresent, 0)
			boot("2 boot partitions, of a size that it does not tell")
		default:
			d.area(AreaBoot, AreaUnknown, 0)
			boot("boot partitions, if it has any: it does not tell")
		}
	case c.VER >= 1<<16|3<<8 && c.VER < 2<<16:
		d.area(AreaBoot, AreaUnknown, 0)
		boot(fmt.Sprintf("boot partitions, if it has any: a drive of NVMe %d.%d does not tell", c.VER>>16, c.VER>>8&0xff))
	}
	// Whether there are a persistent memory region and a controller memory buffer is in registers.
	d.area(AreaPMR, AreaUnknown, 0)
	d.area(AreaCMB, AreaUnknown, 0)
	unallocated := AreaUnknown
	if c.TNVMCAP != 0 || c.UNVMCAP != 0 {
		unallocated = presence(c.UNVMCAP != 0)
	}
	d.area(AreaUnallocated, unallocated, d.Unallocated)
	units, each := c.RPMB()
	d.area(AreaRPMB, presence(units > 0), int64(units)*int64(each))
	if units > 0 {
		d.Beside = append(d.Beside, Reason{Code: "rpmb", Message: fmt.Sprintf("replay protected memory blocks (RPMB): %d of %d KiB", units, each>>10)})
	}
	return nil
}
