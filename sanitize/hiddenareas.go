package sanitize

import (
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// HiddenArea is a part of the drive beside the blocks that it shows, and what became of it.
type HiddenArea struct {
	Kind  string
	State AreaFate
	Bytes int64 // 0 where it is not known
}

// AreaFate is what became of a hidden area.
type AreaFate string

// The fates. AreaSanitized is by the drive's report, and said of what the technique reaches whether the drive has
// such an area or not; everything but the first three is to be treated as holding data.
const (
	AreaIsAbsent     AreaFate = "absent"  // the drive was asked, and has none
	AreaRemoved      AreaFate = "removed" // made accessible, and sanitized like all other blocks
	AreaSanitized    AreaFate = "sanitized"
	AreaNotSanitized AreaFate = "not sanitized"
	AreaFateUnknown  AreaFate = "unknown"
)

// areaSpare are the blocks that a drive has in store, or took out of use. No drive is without them.
const areaSpare devices.AreaKind = "over-provisioned and reallocated blocks"

// reachesArea says whether the technique reaches an area of the kind: the sanitize commands all user data
// wherever they lie (ACS-4 4.17, SBC-4 4.11, NVMe base 2.3, 8.1.26); an enhanced security erase reallocated
// sectors (ACS-4 7.45); new keys everything that was written by means of the old.
func (t Technique) reachesArea(kind devices.AreaKind) bool {
	switch t {
	case CryptoThenBlock, CryptographicErase, BlockErase, DriveOverwrite:
		return slices.Contains([]devices.AreaKind{areaSpare, devices.AreaUnallocated, devices.AreaKind(devices.HostProtectedArea), devices.AreaKind(devices.AccessibleMax),
			devices.AreaKind(devices.Overlay)}, kind)
	case EnhancedSecurityErase, CryptographicFormat, TCGRevert:
		return kind == areaSpare
	}
	return false
}

// areas are all that the drive has or may have, as the plan knows them.
func (dp DrivePlan) areas() []devices.Area {
	list := slices.Clone(dp.Areas)
	if dp.Protocol == devices.ProtocolATA {
		for _, kind := range []devices.HiddenKind{devices.HostProtectedArea, devices.AccessibleMax, devices.Overlay} {
			if !slices.ContainsFunc(list, func(a devices.Area) bool { return a.Kind == devices.AreaKind(kind) }) {
				list = append(list, devices.Area{Kind: devices.AreaKind(kind), State: devices.AreaUnknown})
			}
		}
	}
	return append(list, devices.Area{Kind: areaSpare, State: devices.AreaPresent})
}

// hiddenAreas derives what became of each area from what the plan knew, what was made accessible, and what the
// technique reaches. It says nothing of areas that nobody asked for.
func (e *Evidence) hiddenAreas() {
	done := e.Outcome == Sanitized || e.Outcome == Exceptions
	for _, a := range e.Drive.areas() {
		h := HiddenArea{Kind: string(a.Kind), Bytes: a.Bytes}
		removed := int64(0)
		for _, x := range e.Reshaped {
			if x.Why == h.Kind {
				removed += x.To - x.From
			}
		}
		switch reached := e.Drive.Technique.reachesArea(a.Kind); {
		case removed > 0:
			h.State, h.Bytes = AreaRemoved, removed
		case a.State == devices.AreaAbsent:
			h.State = AreaIsAbsent
		case reached && done:
			h.State = AreaSanitized
		case reached || a.State == devices.AreaUnknown:
			h.State = AreaFateUnknown
		default:
			h.State = AreaNotSanitized
		}
		e.HiddenAreas = append(e.HiddenAreas, h)
	}
}
