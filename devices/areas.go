package devices

import "slices"

// Area is a part of a drive beside the blocks that it shows, in which data may be.
type Area struct {
	Kind  AreaKind  `json:"kind"`
	State AreaState `json:"state"`
	Bytes int64     `json:"bytes,omitempty"` // 0 where it is not told
}

// AreaKind says what such a part is. Those that hide blocks are called as their HiddenKind.
type AreaKind string

// The kinds.
const (
	AreaBoot         AreaKind = "boot partitions"
	AreaRPMB         AreaKind = "replay protected memory block"
	AreaPMR          AreaKind = "persistent memory region"
	AreaCMB          AreaKind = "controller memory buffer"
	AreaUnallocated  AreaKind = "unallocated capacity" // of an NVMe drive: it belongs to no namespace
	AreaDepopulated  AreaKind = "depopulated elements" // heads or dies that were taken out of use
	AreaProtected    AreaKind = "protected area"       // of an SD card
	AreaLabels       AreaKind = "label areas"          // of memory modules
	AreaFsdax        AreaKind = "fsdax metadata"
	AreaRestOfRegion AreaKind = "rest of the region" // of persistent memory: it is in no namespace, or in another
)

// AreaState is what the drive says of an area.
type AreaState string

// The states. Absent is said only of what was asked for.
const (
	AreaAbsent  AreaState = "absent"
	AreaPresent AreaState = "present"
	AreaUnknown AreaState = "unknown"
)

// area notes what is known of an area, in place of what was.
func (d *Drive) area(kind AreaKind, state AreaState, bytes int64) {
	d.Areas = append(slices.DeleteFunc(slices.Clone(d.Areas), func(a Area) bool { return a.Kind == kind }), Area{kind, state, bytes})
}

// presence is the state of an area that the drive has, or has not.
func presence(is bool) AreaState {
	if is {
		return AreaPresent
	}
	return AreaAbsent
}
