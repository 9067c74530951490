package cli

import (
	"slices"
	"strings"

	"membersync/cmd/internal/config"
)

// What the service needs beyond its buffer, and what a record in it needs beyond its bytes. What a
// record states is kept in addition to its bytes. With less than a quarter of the buffer more, a
// buffer full of records of 2 KiB lets the collector run without end ("bench batches"); with more,
// a backlog of small records takes what it does not need ("bench memory").
const (
	memoryBase      = 22 << 20
	memoryPerRecord = 1 << 10
)

// memoryLimit is the Go runtime's soft limit in bytes for a service with this buffer. The
// collector's own pace lets garbage grow to the size of what is alive, so a long backlog would need
// half as much again as a short one.
func memoryLimit(k config.Kafka) int64 {
	return memoryBase + k.BufferBytes*5/4 + int64(k.BufferRecords)*memoryPerRecord
}

// gcPercent lets the heap grow to the limit before the collector works hard: below it, memory is
// there to be used. A dry run has no limit: it keeps in memory what the service has in Redis, and
// under one the collector would do little else before long.
const (
	gcPercent    = 400
	dryGCPercent = 50
)

// boundMemory sets the limit and the collector's pace below it, unless the environment has a word
// in it.
func boundMemory(in *invocation, k config.Kafka) {
	given := func(v string) bool { return strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=") }
	switch {
	case in.SetMemoryLimit == nil || slices.ContainsFunc(in.Environ, given):
	case in.dryRun.on:
		in.SetGCPercent(dryGCPercent)
	default:
		in.SetMemoryLimit(memoryLimit(k))
		in.SetGCPercent(gcPercent)
	}
}
