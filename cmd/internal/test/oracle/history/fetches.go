package history

import (
	"maps"
	"slices"
)

// fetchesAreReserved: an instance asks for no more bytes at a time than it has memory for.
func (j *judge) fetchesAreReserved() {
	for _, instance := range slices.Sorted(maps.Keys(j.Fetched)) {
		if n := j.Fetched[instance]; n > j.World.FetchBytes {
			j.fault("instance %d has asked for %d bytes at a time, and has memory for %d", instance, n, j.World.FetchBytes)
		}
	}
}
