package main

import "slices"

// Stat is what is told of several measurements. The zero value is of none.
type Stat struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// statOf takes the median, which of an even number is the mean of the two in the middle.
func statOf(values []float64) Stat {
	if len(values) == 0 {
		return Stat{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Stat{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// ratio is of medians; nil when there is nothing to compare with.
func ratio(a, b Stat) *float64 {
	if a.Median <= 0 || b.Median <= 0 {
		return nil
	}
	r := a.Median / b.Median
	return &r
}

// turns is the order of n programs in a round: each is first once in n rounds, and whatever a
// program does to those after it, is done to all others in turn.
func turns(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	return order
}
