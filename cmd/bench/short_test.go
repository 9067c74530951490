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
	if args[0] == "redis" {
		redis = strings.TrimSuffix(redis, "0") + "15"
	}
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
		"--min-ratio", "0", "--min-ratio-0", "0", "--max-first", "1e9", "--alternatives-for", "1s", "--min-lead", "0")
	if len(rows) != 4 {
		t.Fatalf("rows %v", rows)
	}
	speed, compared := rows[:2], rows[2:]
	wantNumbers(t, speed, "service_per_s", "bare_per_s", "ratio", "bare_cpu_s", "peak_rss_mib", "first_call_s")
	wantNumbers(t, compared, "service_per_s", "service_ratio", "loop_per_s", "loop_ratio", "loop_cpu_s",
		"watermill_per_s", "watermill_ratio", "watermill_cpu_s")
	for i, want := range []struct{ latency, loopCalls float64 }{{0, 300}, {5, 166}} {
		if speed[i]["latency_ms"] != want.latency || speed[i]["calls"] != 300.0 {
			t.Errorf("%v", speed[i])
		}
		row := compared[i]
		if row["latency_ms"] != want.latency || row["loop_calls"] != want.loopCalls || row["watermill_calls"] != 300.0 {
			t.Errorf("%v", row)
		}
	}
}

func TestMemoryShort(t *testing.T) {
	t.Parallel()
	all := onServers(t, "memory", "--large", "2000", "--small", "200", "--few", "10", "--many", "200", "--partitions", "2",
		"--max-growth", "1e9", "--max-mib", "1e9", "--min-steady", "0") // a tenth of a second has no steady rate
	if len(all) != 14 {
		t.Fatalf("rows %v", all)
	}
	rows, fifths := all[:4], all[4:]
	wantNumbers(t, fifths, "employees", "fifth", "peak_rss_mib")
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

// The collector may not have run in so short a time, so its share can be 0.
func TestFullShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "full", "--events", "600", "--members", "300", "--small", "200", "--rounds", "2", "--partitions", "2",
		"--latencies", "0s,5ms", "--min-small", "0", "--min-bare", "0", "--max-mib", "1e9", "--max-gc", "1e9")
	if len(rows) != 2 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "small_per_s", "full_per_s", "bare_per_s", "of_small", "of_bare", "full_cpu_s", "small_rss_mib", "full_rss_mib")
}

// TestRedisShort measures in a database of its own. What others store at the same time counts too.
func TestRedisShort(t *testing.T) {
	t.Parallel()
	if url := os.Getenv("MEMBERSYNC_TEST_REDIS"); url != "" && !strings.HasSuffix(url, "/0") {
		t.Skip("the test needs another database than the one given")
	}
	rows := onServers(t, "redis", "--members", "200", "--marks", "2", "--max-mark", "1e9", "--max-member", "1e9")
	if len(rows) != 3 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "memory_usage")
	for i, want := range []string{"listpack", "hashtable", "listpack"} {
		if rows[i]["encoding"] != want {
			t.Errorf("%v, want a %s", rows[i], want)
		}
	}
}

func TestSkipsShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "skips", "--events", "3000", "--members", "20", "--rounds", "1", "--partitions", "2",
		"--min-few", "0", "--max-mib", "1e9")
	if len(rows) != 2 || rows[0]["path"] != "service" || rows[1]["path"] != "replay" {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "cpu_s_per_1000", "peak_rss_mib")
}

func TestRollingShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "rolling", "--instances", "2", "--partitions", "3", "--employees", "20", "--rate", "50",
		"--before", "2s", "--after", "1s", "--probe", "100ms", "--max-gap", "1e9", "--max-stop", "1e9")
	if len(rows) != 2+3+2+1 { // phases, partitions, restarts, result
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows[:2], "seconds", "events", "p50_ms", "p99_ms", "gap_min_s", "gap_median_s", "gap_max_s")
	wantNumbers(t, rows[2:5], "before_s", "update_s")
	wantNumbers(t, rows[5:7], "ready_s", "stop_s", "gap_max_s")
	if rebalances, _ := rows[1]["rebalances"].(float64); rebalances < 2 {
		t.Errorf("%v rebalances of two instances that are replaced", rebalances)
	}
}
