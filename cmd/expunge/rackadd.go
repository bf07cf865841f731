package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/expunge-dev/expunge/devices/virtual"
)

func (a *app) rackAddCommand() *cobra.Command {
	var spec virtual.Spec
	count, firmware := 1, ""
	c := &cobra.Command{
		Use: "add [DIR] [PROFILE]", Short: "add drives to a rack", Args: cobra.MaximumNArgs(2),
		Example: "  expunge --rack DIR rack add nvme-ssd --count 20\n  expunge --rack DIR rack add sata-hdd --serial OLD --hpa 16M",
		RunE: a.acts("rack-add", func(_ context.Context, args []string) (answer, error) {
			rack, args, err := a.openRack(args, 0)
			if err != nil {
				return answer{}, err
			}
			switch {
			case len(args) > 1:
				return answer{}, usage("expunge rack add --help", fmt.Errorf("%q is more than a rack and a profile", args[1]))
			case len(args) == 1:
				spec.Profile = args[0]
			}
			if count < 1 || count > 256 {
				return answer{}, usage("1 to 256", fmt.Errorf("--count %d", count))
			}
			if spec.FirmwarePending, err = parseStatus(firmware); err != nil {
				return answer{}, usage("as in --firmware-pending 10B", err)
			}
			for n := range count {
				one := spec
				if spec.Serial != "" && count > 1 {
					one.Serial = fmt.Sprintf("%s-%d", spec.Serial, n+1)
				}
				if spec.Slot > 0 {
					one.Slot = spec.Slot + n
				}
				if err := addDrive(rack, one); err != nil {
					return answer{}, err
				}
			}
			return a.rackAnswer(rack)
		}),
	}
	flags := c.Flags()
	bytes := func(name, help string, to *int64) {
		flags.Var((*sizeFlag)(to), name, help)
	}
	spec.SizeBytes = 64 << 20
	flags.StringVar(&spec.Profile, "profile", "plain", "kind of drive: see rack profiles")
	flags.StringVar(&spec.Serial, "serial", "", "serial number (default: drawn); with --count what comes before -1, -2, …")
	flags.IntVar(&count, "count", count, "how many such drives")
	bytes("size", "`SIZE`, in bytes or with k, M, G (powers of 1024)", &spec.SizeBytes)
	flags.IntVar(&spec.LogicalBlock, "block", 0, "bytes of a logical block: 512 or 4096; of SAS drives also 520, 528 or 4160 (default: the profile's)")
	flags.Int64Var(&spec.EraseSeconds, "erase-seconds", 2, "how long the drive's own block erase takes; its cryptographic erase takes half of it")
	flags.StringSliceVar(&spec.Sanitize, "sanitize", nil, "what the drive's own sanitize can do: crypto, block, overwrite (default: all that the profile has)")
	bytes("hpa", "`SIZE` that a SATA disk hides in its host protected area", &spec.HPABytes)
	bytes("dco", "`SIZE` that its device configuration overlay hides", &spec.DCOBytes)
	bytes("ama", "`SIZE` that a SATA SSD hides above its accessible max address", &spec.AMABytes)
	flags.BoolVar(&spec.SecondNamespace, "second-namespace", false, "an NVMe drive has another namespace, half as large, attached to no controller")
	flags.StringSliceVar(&spec.FormatScope, "format-scope", nil, "what an NVMe format says of its reach: fns (all namespaces), sens (so do its erases), fnvmbs (not by the NSID of all)")
	bytes("unallocated", "`SIZE` of an NVMe drive's hidden blocks that belong to no namespace any more", &spec.UnallocatedBytes)
	flags.StringVar(&firmware, "firmware-pending", "", "the NVMe `STATUS` by which erases are refused until a power cycle: 10B, 110 or 111")
	flags.BoolVar(&spec.PMREnabled, "pmr", false, "an NVMe drive's persistent memory region is enabled until a power cycle")
	bytes("zone", "`SIZE` of a zone of a zoned NVMe drive or hard disk (default 1M)", &spec.ZoneBytes)
	flags.IntVar(&spec.ConventionalZones, "conventional-zones", 0, "how many zones of a zoned hard disk, from its first on, are written in any order (default 1 of more than three)")
	flags.BoolVar(&spec.BoundedReads, "bounded-reads", false, "a zoned hard disk lets nothing be read above a write pointer")
	flags.BoolVar(&spec.ZonesReset, "zones-reset", false, "the sanitize of a zoned SAS disk cannot be told not to reset its zones")
	flags.BoolVar(&spec.Mapped, "mapped", false, "device mapper holds the paths of a SAS drive that has two")
	flags.IntVar(&spec.Slot, "slot", 0, "number of the bay that a SATA or SAS drive is in, or of an NVMe drive's PCI slot; with --count of the first")
	flags.StringVar(&spec.Enclosure, "enclosure", "", "`NAME` of the enclosure that the bay is in (default SHELF)")
	flags.StringVar(&spec.ReservedBy, "reserved-by", "", "another host has a SAS or NVMe drive reserved, by this `KEY` in hexadecimal")
	flags.BoolVar(&spec.ReadOnly, "read-only", false, "write-protected")
	flags.BoolVar(&spec.SameSerial, "same-serial", false, "permit a serial number that another drive has")
	return c
}

// sizeFlag is a number of bytes.
type sizeFlag int64

var _ pflag.Value = (*sizeFlag)(nil)

// Set implements pflag.Value.
func (s *sizeFlag) Set(text string) error {
	n, err := parseSize(text)
	*s = sizeFlag(n)
	return err
}

// String implements pflag.Value.
func (s *sizeFlag) String() string {
	if n := int64(*s); n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%dM", n>>20)
	} else if n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// Type implements pflag.Value.
func (s *sizeFlag) Type() string { return "size" }

// parseStatus reads an NVMe status in hexadecimal, as the standard writes it: 10Bh, 10B or 0x10b.
func parseStatus(text string) (uint16, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(text), "0x"), "h"), 16, 16)
	if err != nil {
		return 0, fmt.Errorf("status %q is no number in hexadecimal", text)
	}
	return uint16(n), nil
}
