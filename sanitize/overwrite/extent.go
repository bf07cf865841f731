package overwrite

import (
	"cmp"
	"slices"
)

// Extent is a range of a drive in bytes.
type Extent struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// End is the first byte after the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Set is a set of bytes of a drive as sorted extents that neither touch nor overlap. The zero
// value is empty.
type Set struct{ extents []Extent }

// NewSet is the union of the extents.
func NewSet(extents ...Extent) Set {
	var s Set
	s.Add(extents...)
	return s
}

// Add puts extents into the set. Empty and negative ones are ignored.
func (s *Set) Add(extents ...Extent) {
	if len(extents) == 0 {
		return
	}
	all := slices.Concat(s.extents, extents)
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.Offset, b.Offset) })
	merged := all[:0]
	for _, e := range all {
		if e.Length <= 0 {
			continue
		}
		if n := len(merged); n > 0 && e.Offset <= merged[n-1].End() {
			merged[n-1].Length = max(merged[n-1].End(), e.End()) - merged[n-1].Offset
			continue
		}
		merged = append(merged, e)
	}
	s.extents = merged
}

// Without is what is in s and not in other.
func (s Set) Without(other Set) Set {
	var left []Extent
	i := 0
	for _, e := range s.extents {
		for i < len(other.extents) && other.extents[i].End() <= e.Offset {
			i++
		}
		at := e.Offset
		for k := i; k < len(other.extents) && other.extents[k].Offset < e.End(); k++ {
			if hole := other.extents[k]; hole.Offset > at {
				left = append(left, Extent{at, hole.Offset - at})
			}
			at = max(at, other.extents[k].End())
		}
		if at < e.End() {
			left = append(left, Extent{at, e.End() - at})
		}
	}
	return Set{left}
}

// Intersect is what is in both.
func (s Set) Intersect(other Set) Set { return s.Without(s.Without(other)) }

// Shift moves every extent.
func (s Set) Shift(by int64) Set {
	moved := slices.Clone(s.extents)
	for i := range moved {
		moved[i].Offset += by
	}
	return Set{moved}
}

// Bytes is the number of bytes in the set.
func (s Set) Bytes() int64 {
	var n int64
	for _, e := range s.extents {
		n += e.Length
	}
	return n
}

// Extents lists the set in ascending order. The caller may keep and change the list.
func (s Set) Extents() []Extent { return slices.Clone(s.extents) }

// Len is the number of extents.
func (s Set) Len() int { return len(s.extents) }
