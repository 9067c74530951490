package main

import (
	"os"
	"strings"
	"testing"
)

func TestBacklogShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "backlog", "--events", "3000", "--employees", "60", "--buffer", "500", "--partitions", "2", "--rate", "0", "--max-ratio", "1e9")
	if len(rows) != 2 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "minimum", "one_by_one", "seconds", "events_per_call")
	for _, row := range rows {
		if calls, _ := row["calls"].(float64); calls < 60 || calls > 3000 {
			t.Errorf("%v", row)
		}
	}
	if rows[0]["buffer_records"] != 500.0 || rows[1]["minimum"] != 60.0 || rows[1]["naive"] != 60.0 {
		t.Errorf("%v\n%v", rows[0], rows[1])
	}
}

// The limit itself must hold on a busy machine too.
func TestLimitShort(t *testing.T) {
	t.Parallel()
	rows := onServers(t, "limit", "--calls", "20", "--window", "2s", "--for", "7s", "--partitions", "3", "--latency", "20ms", "--min-share", "0")
	if len(rows) != 1 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows, "calls", "most", "calls_in_windows", "share")
	if rows[0]["windows"] != 3.0 {
		t.Errorf("%v", rows[0])
	}
}

func TestOutageShort(t *testing.T) {
	t.Parallel()
	// The outage is so long that hanging calls reach their timeout well before it ends, on a busy
	// machine too.
	rows := onServers(t, "outage", "--for", "20s", "--before", "10s", "--rate", "40", "--employees", "60", "--partitions", "2",
		"--max-return", "1e9")
	if len(rows) != len(modes())+2 {
		t.Fatalf("rows %v", rows)
	}
	wantNumbers(t, rows[:len(modes())], "calls", "failed_members", "return_s", "return_failed_s", "all_back_s")
	for n, m := range modes() {
		row := rows[n]
		text, _ := row["readyz"].(string)
		if row["mode"] != string(m) || row["dead_letters"] != 0.0 || row["lag"] != 0.0 || m != modeHalf && !strings.Contains(text, "crm_outage") {
			t.Errorf("%v", row)
		}
	}
	wantNumbers(t, rows[len(modes()):], "calls_per_s", "delay_p50_s", "delay_max_s")
}

// The command must not restart servers that others use.
func TestChaosNeedsServersOfItsOwn(t *testing.T) {
	t.Parallel()
	kafka, redis := os.Getenv("MEMBERSYNC_TEST_KAFKA"), os.Getenv("MEMBERSYNC_TEST_REDIS")
	if kafka == "" || redis == "" {
		t.Skip("MEMBERSYNC_TEST_KAFKA and MEMBERSYNC_TEST_REDIS name no servers")
	}
	kafka, _, _ = strings.Cut(kafka, ",")
	status, out, stderr := runHere(t, "chaos", "--for", "1s", "--kafka", kafka, "--redis", redis)
	if status != exitFailed || out != "" || !strings.Contains(stderr, errOwnServers.Error()) {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, stderr)
	}
}
