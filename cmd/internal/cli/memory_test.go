package cli

import (
	"testing"

	"membersync/cmd/internal/config"
)

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		buffer  config.Kafka
		environ []string
		want    int64 // 0: nothing is set
		traced  bool
	}{
		"default":           {config.Kafka{BufferRecords: 20000, BufferBytes: 32 << 20}, nil, 66<<20 + 20000<<9, false},
		"traced":            {config.Kafka{BufferRecords: 20000, BufferBytes: 32 << 20}, nil, 74<<20 + 20000<<9 + 20000<<10, true},
		"a large buffer":    {config.Kafka{BufferRecords: 1000, BufferBytes: 1 << 30}, []string{"GOMEMLIMITS=1"}, 5<<28 + 26<<20 + 1000<<9, false},
		"given":             {config.Kafka{BufferRecords: 1000, BufferBytes: 1 << 20}, []string{"PATH=/", "GOMEMLIMIT=64MiB"}, 0, false},
		"the pace is given": {config.Kafka{BufferRecords: 1000, BufferBytes: 1 << 20}, []string{"GOGC=off"}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got int64
			percent := 0
			in := &invocation{app: &app{Env: Env{
				Environ:        tc.environ,
				SetMemoryLimit: func(n int64) int64 { got = n; return 0 },
				SetGCPercent:   func(n int) int { percent = n; return 0 },
			}}}
			boundMemory(in, tc.buffer, tc.traced)
			if got != tc.want || (percent == gcPercent) != (got > 0) {
				t.Errorf("limit %d, collector's pace %d, want limit %d", got, percent, tc.want)
			}
		})
	}
	limited, percent := false, 0
	dry := &invocation{dryRun: dryRun{on: true}, app: &app{Env: Env{
		SetMemoryLimit: func(int64) int64 { limited = true; return 0 },
		SetGCPercent:   func(n int) int { percent = n; return 0 },
	}}}
	boundMemory(dry, config.Kafka{BufferRecords: 1000, BufferBytes: 1 << 20}, false)
	if limited || percent != dryGCPercent {
		t.Errorf("a dry run: limited %v, collector's pace %d", limited, percent)
	}
	// A service inside another program leaves its memory alone.
	boundMemory(&invocation{app: &app{}}, config.Kafka{}, false)
}
