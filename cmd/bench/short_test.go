package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// onServers runs the program on the servers that other tests use and returns what it printed. The
// targets are such that they cannot be missed: timings mean nothing on a busy machine.
func onServers(t *testing.T, args ...string) (rows []map[string]any) {
	t.Helper()
	kafka, redis := os.Getenv("MEMBERSYNC_TEST_KAFKA"), os.Getenv("MEMBERSYNC_TEST_REDIS")
	if kafka == "" || redis == "" {
		t.Skip("MEMBERSYNC_TEST_KAFKA and MEMBERSYNC_TEST_REDIS name no servers")
	}
	kafka, _, _ = strings.Cut(kafka, ",")
	var out, stderr bytes.Buffer
	args = append(args, "--kafka", kafka, "--redis", redis, "-o", "json")
	if status := run(t.Context(), args, env{stdin: strings.NewReader(""), stdout: &out, stderr: &stderr}); status != exitDone {
		t.Fatalf("status %d\n%s\n%s", status, out.String(), stderr.String())
	}
	for line := range strings.Lines(out.String()) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if row["target"] == nil { // a row of a table
			rows = append(rows, row)
		}
	}
	return rows
}

// wantNumbers checks that a column is above 0 in each row.
func wantNumbers(t *testing.T, rows []map[string]any, columns ...string) {
	t.Helper()
	for _, row := range rows {
		for _, c := range columns {
			if n, ok := row[c].(float64); !ok || n <= 0 {
				t.Errorf("%s is %v in %v", c, row[c], row)
			}
		}
	}
}

func TestSpeedShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "speed", "--events", "300", "--rounds", "2", "--partitions", "3", "--latencies", "0s,5ms",
		"--min-ratio", "0", "--min-ratio-0", "0", "--max-first", "1e9")
	if len(rows) != 2 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "service_per_s", "bare_per_s", "ratio", "bare_cpu_s", "peak_rss_mib", "first_call_s")
	for i, latency := range []float64{0, 5} {
		if rows[i]["latency_ms"] != latency || rows[i]["calls"] != 300.0 {
			t.Errorf("%v", rows[i])
		}
	}
}

func TestMemoryShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "memory", "--large", "2000", "--small", "200", "--few", "10", "--many", "200", "--partitions", "2",
		"--max-growth", "1e9", "--max-mib", "1e9")
	if len(rows) != 4 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "calls", "seconds", "cpu_s_per_1000", "peak_rss_mib")
	for i, want := range []struct{ employees, events, maxCalls float64 }{{10, 200, 100}, {10, 2000, 1000}, {200, 200, 200}, {200, 2000, 2000}} {
		row := rows[i]
		calls, _ := row["calls"].(float64)
		if row["employees"] != want.employees || row["events"] != want.events || calls < want.employees || calls > want.maxCalls {
			t.Errorf("%v, want %+v", row, want)
		}
	}
}

func TestHangShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "hang", "--rounds", "1", "--phase", "4s", "--rate", "50", "--members", "50", "--timeout", "500ms", "--partitions", "2",
		"--max-ratio", "1e9")
	if len(rows) != 3 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows[:2], "events", "p50_ms", "p99_ms", "max_ms")
	wantNumbers(t, rows[2:], "p99_without_ms", "p99_with_ms")
	without, with := rows[0], rows[1]
	if hung, _ := with["hung_calls"].(float64); without["hanging"] != "no" || without["hung_calls"] != 0.0 || with["hanging"] != "yes" || hung < 1 {
		t.Errorf("%v\n%v", without, with)
	}
}
