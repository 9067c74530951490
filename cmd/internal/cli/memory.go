package cli

import (
	"slices"
	"strings"

	"membersync/cmd/internal/config"
)

// What the service needs beside its buffer, and what a record in it needs beside its bytes.
const (
	memoryBase      = 24 << 20
	memoryPerRecord = 1 << 10
)

// memoryLimit is the Go runtime's soft limit in bytes for a service with this buffer. The collector's own pace lets garbage
// grow to the size of what is alive, so a long backlog would need half as much again as a short one.
func memoryLimit(k config.Kafka) int64 {
	return memoryBase + k.BufferBytes + int64(k.BufferRecords)*memoryPerRecord
}

// boundMemory sets the limit, unless the environment has one.
func (in *invocation) boundMemory(k config.Kafka) {
	given := slices.ContainsFunc(in.Environ, func(v string) bool { return strings.HasPrefix(v, "GOMEMLIMIT=") })
	if in.SetMemoryLimit != nil && !given {
		in.SetMemoryLimit(memoryLimit(k))
	}
}
