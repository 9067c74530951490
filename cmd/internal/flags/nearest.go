package flags

import (
	"iter"
	"slices"

	"github.com/agnivade/levenshtein"
)

// DidYouMean names the known spelling nearest to an unknown one, if any is near.
func DidYouMean(unknown string, known iter.Seq[string]) string {
	best, least := "", len(unknown)/2+1
	for _, spelling := range slices.Sorted(known) {
		if d := levenshtein.ComputeDistance(unknown, spelling); d < least {
			best, least = spelling, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
