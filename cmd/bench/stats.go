package main

import (
	"cmp"
	"math"
	"slices"
)

// median returns the median of at least one value. For an even number it is the mean of the two in
// the middle.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// quantile returns the smallest value that a share q of the values does not exceed.
func quantile[T cmp.Ordered](values []T, q float64) (zero T) {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return zero
	}
	return v[min(len(v)-1, max(0, int(math.Ceil(q*float64(len(v))))-1))]
}
