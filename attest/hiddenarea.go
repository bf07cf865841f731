package attest

import (
	"fmt"
	"slices"
)

// HiddenArea is one that a drive has, or may have, beside the blocks that it shows, and what became of it.
type HiddenArea struct {
	Kind  string `json:"kind"`
	State string `json:"state"`
	Bytes int64  `json:"bytes,omitempty"` // absent where they are not known
}

// hiddenKinds are the areas that are told apart.
var hiddenKinds = []string{"host protected area", "accessible max address", "device configuration overlay", "boot partitions",
	"replay protected memory block", "persistent memory region", "controller memory buffer", "over-provisioned and reallocated blocks",
	"unallocated capacity", "depopulated elements", "protected area", "label areas", "fsdax metadata", "rest of the region"}

// The states of a hidden area. Absent is what the drive said of itself, removed an area that was made
// accessible and then sanitized with all other blocks, sanitized one that the technique reaches by the drive's
// report, whether or not there was one; unknown is treated as holding data.
var hiddenStates = []string{"absent", "removed", "sanitized", "not sanitized", "unknown"}

// reaches are the hidden areas that each technique reaches in a drive that vouches for itself (ACS-4 4.17,
// 7.45; SBC-4 4.11; NVMe base 2.3, 8.1.26). What is not here reaches none.
var reaches = map[string][]string{
	"block erase": sanitizeReaches, "cryptographic erase": sanitizeReaches, "cryptographic erase followed by block erase": sanitizeReaches, "drive overwrite": sanitizeReaches,
	"enhanced security erase": hiddenKinds[7:8], "cryptographic format": hiddenKinds[7:8], "TCG revert": hiddenKinds[7:8],
}

var sanitizeReaches = append(slices.Clone(hiddenKinds[:3]), hiddenKinds[7:9]...)

// checkHiddenAreas: nothing is said to be sanitized that the technique does not reach, and nothing that it
// reaches is left open when the drive is.
func (r Result) checkHiddenAreas(done bool) error {
	removed := map[string]int64{}
	for _, x := range r.Sanitization.Reshaped {
		if x.Why != "format" {
			removed[x.Why] += x.ToBytes - x.FromBytes
		}
	}
	seen := map[string]bool{}
	for _, a := range r.HiddenAreas {
		reached := slices.Contains(reaches[r.Sanitization.Technique], a.Kind)
		bytes, was := removed[a.Kind]
		if err := checkRules([]rule{
			{slices.Contains(hiddenKinds, a.Kind) && slices.Contains(hiddenStates, a.State) && a.Bytes >= 0, "it is impossible"},
			{!seen[a.Kind], "it is there twice"},
			{a.State != "absent" || a.Bytes == 0, "what is absent has no size"},
			{a.State != "absent" || a.Kind != "over-provisioned and reallocated blocks", "no drive is without them"},
			{(a.State == "removed") == was && (!was || a.Bytes == bytes), "it is not what the changes of the drive's size say"},
			{a.State != "sanitized" || reached, "the technique does not reach it"},
			{a.State != "sanitized" || done, "it is sanitized, and the drive is not"},
			{!done || !reached || a.State != "unknown" && a.State != "not sanitized", "the technique reaches it, and it is left open"},
		}); err != nil {
			return fmt.Errorf("hidden area %q: %w", a.Kind, err)
		}
		seen[a.Kind] = true
	}
	for kind := range removed {
		if len(r.HiddenAreas) > 0 && !seen[kind] {
			return fmt.Errorf("hidden area %q was made accessible and is not among them", kind)
		}
	}
	return nil
}
