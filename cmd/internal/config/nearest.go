package config

import (
	"iter"
	"slices"
)

// DidYouMean names the known spelling nearest to an unknown one, if any is near.
func DidYouMean(unknown string, known iter.Seq[string]) string {
	best, least := "", len(unknown)/2+1
	for _, spelling := range slices.Sorted(known) {
		if d := distance(unknown, spelling); d < least {
			best, least = spelling, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is that of Levenshtein, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
