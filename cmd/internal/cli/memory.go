package cli

import (
	"slices"
	"strings"

	"membersync/cmd/internal/config"
)

// What the service needs beyond its buffer, garbage between two collections included, and what a
// record in it takes beyond its bytes (consumer/footprint_test.go measures that). With less than a
// quarter of the buffer more, a buffer full of records of 2 KiB lets the collector run without end
// ("bench batches"); with more, a backlog of small records takes what it does not need ("bench
// memory", "bench full"). The resident set has 16 MiB more than this: the program itself.
const (
	memoryBase      = 26 << 20
	memoryPerRecord = 512
	// With tracing, each record has a span (0.9 KiB if it is sampled), and the exporter a queue.
	tracePerRecord = 1 << 10
	traceQueue     = 8 << 20
)

// memoryLimit is the Go runtime's soft limit in bytes for a service with this buffer. The
// collector's own pace lets garbage grow to the size of what is alive, so a long backlog would need
// half as much again as a short one.
func memoryLimit(k config.Kafka, traced bool) int64 {
	limit := memoryBase + k.BufferBytes*5/4 + int64(k.BufferRecords)*memoryPerRecord
	if traced {
		limit += traceQueue + int64(k.BufferRecords)*tracePerRecord
	}
	return limit
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
func boundMemory(in *invocation, k config.Kafka, traced bool) {
	given := func(v string) bool { return strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=") }
	switch {
	case in.SetMemoryLimit == nil || slices.ContainsFunc(in.Environ, given):
	case in.dryRun.on:
		in.SetGCPercent(dryGCPercent)
	default:
		in.SetMemoryLimit(memoryLimit(k, traced))
		in.SetGCPercent(gcPercent)
	}
}
