package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/dlq/kafkatest"
)

func TestProduceSendsTheStream(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	topic := broker.Topic(t, 3, nil)
	args := []string{"produce", "--brokers", strings.Join(broker.Addrs(), ","), "--topic", topic, "--rate", "1000", "--count", "20"}
	status, out, errs := call(t, args...)
	if status != exitDone || errs != "" {
		t.Fatalf("status %d, stderr %s", status, errs)
	}
	records := broker.ReadAll(t, topic)
	if lines := strings.Count(out, "\n"); lines != len(records) || lines != 24 { // the last of 20 steps is five at once
		t.Errorf("%d records and %d lines, want 24", len(records), lines)
	}
	homes := map[string]int{}
	for _, r := range records {
		if home, ok := homes[string(r.Key)]; ok && home != r.Partition {
			t.Errorf("key %s is in partitions %d and %d", r.Key, home, r.Partition)
		}
		homes[string(r.Key)] = r.Partition
		if len(r.Headers) != 1 || r.Headers[0].Key != noteHeader || !strings.Contains(out, string(r.Headers[0].Value)) {
			t.Errorf("headers %v", r.Headers)
		}
	}
}

func TestProduceToNoTopic(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t)
	status, out, errs := call(t, "produce", "--brokers", broker.Addrs()[0], "--topic", "missing")
	if status != exitFailed || out != "" || !strings.HasPrefix(errs, "devstack: topic missing: ") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
}

// An event goes to the stack of the shell's settings, unless a flag names another one, and the
// output says where it went.
func TestSendUsesTheBrokersOfTheEnvironment(t *testing.T) {
	t.Parallel()
	mine, other := kafkatest.StartFake(t), kafkatest.StartFake(t)
	topic := mine.Topic(t, 1, nil)
	path := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(path, []byte(`{"employeeId":"E0009"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	here, elsewhere := strings.Join(mine.Addrs(), ","), strings.Join(other.Addrs(), ",")
	for _, tt := range []struct {
		environ string
		flags   []string
	}{
		{here, nil},
		{elsewhere, []string{"--brokers", here}},
		{here, []string{"--brokers", ""}},
	} {
		args := append([]string{"send", path, "--topic", topic}, tt.flags...)
		status, out, errs := callWith(t, []string{brokersVariable + "=" + tt.environ}, args...)
		if want := "sent 22 bytes to " + topic + " at " + here + "\n"; status != exitDone || out != want || errs != "" {
			t.Errorf("%v: status %d, stdout %q, want %q, stderr %q", tt, status, out, want, errs)
		}
	}
	if records := mine.ReadAll(t, topic); len(records) != 3 || string(records[0].Key) != "E0009" {
		t.Errorf("records %v", records)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		note := func() error { at = append(at, time.Since(start)); return nil }
		if err := pace(t.Context(), 2, 3, note); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]time.Duration{0, 500 * time.Millisecond, time.Second}, at); diff != "" {
			t.Error(diff)
		}
		fails := errors.New("fails")
		if err := pace(t.Context(), 2, 0, func() error { return fails }); !errors.Is(err, fails) {
			t.Errorf("error %v", err)
		}
	})
}
