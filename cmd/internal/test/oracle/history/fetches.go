package history

import (
	"maps"
	"slices"
)

// fetchesAreReserved: an instance never requests more bytes than it has memory for.
func (j *judge) fetchesAreReserved() {
	for _, instance := range slices.Sorted(maps.Keys(j.Fetched)) {
		if n := j.Fetched[instance]; n > j.World.FetchBytes {
			j.fault("instance %d requested %d bytes at a time, but has memory for %d", instance, n, j.World.FetchBytes)
		}
	}
}
