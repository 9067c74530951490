package consumer_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// entry returns the attributes of the first log line with the message.
func (r *rig) entry(msg string) map[string]any {
	r.t.Helper()
	for line := range strings.Lines(r.logs.String()) {
		var attrs map[string]any
		if json.Unmarshal([]byte(line), &attrs) == nil && strings.HasPrefix(fmt.Sprint(attrs["msg"]), msg) {
			return attrs
		}
	}
	r.t.Fatalf("no log line says %q", msg)
	return nil
}

// stalls lets the lease run out just before the first completion.
func (r *rig) stalls() tap {
	var stalled atomic.Bool
	return tap{at: func(o op, after bool) error {
		if o != opComplete || after || !stalled.CompareAndSwap(false, true) {
			return nil
		}
		keys, err := r.redis.Keys(r.t.Context(), r.prefix+":*:lease").Result()
		if err != nil || len(keys) != 1 {
			r.t.Errorf("leases %v, %v", keys, err)
			return err
		}
		return r.redis.Del(r.t.Context(), keys[0]).Err()
	}}
}

// A process stalled between its call and the completion, and its lease ran out: the call may have undone what another process sent
// meanwhile. It is counted, and told with what to do about it.
func TestALateCompletionIsToldWithItsRemedy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	at := time.Date(2026, 11, 22, 8, 0, 0, int(250*time.Millisecond), time.UTC)
	newer, older := r.event("newer", 1, 2, fields{"position": "B"}), r.event("older", 1, 1, fields{"qq": "1"})
	newer.Time, older.Time = at.Add(time.Hour), at
	r.produce(newer, older) // they fold
	inst := r.start(r.stalls().install)
	r.settled()
	if n := r.metric(inst, "membersync_late_calls_total"); n != 1 {
		t.Errorf("%v late calls are counted, want 1", n)
	}
	attrs := r.entry("a call was completed after its lease had run out")
	if want := "membersync replay --employee 'E0001' --reapply --from 2026-11-22T08:00:00.25Z"; attrs["remedy"] != want || attrs["level"] != "ERROR" {
		t.Errorf("%v, want the remedy %s", attrs, want)
	}
	r.wantCalls(2) // the account of the late one is not kept
	r.wantOutcomes("newer", consumer.Applied)
	r.wantField(1, "position", `"B"`)
}

// The lease ran out between a dead letter and its mark. The mark is made under another lease, and the letter not written again.
func TestALateMarkIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Code: 10001})
	inst := r.start(r.stalls().install)
	dead := r.event("refused", 1, 1, fields{"position": "x"})
	for range 2 {
		r.produce(dead)
		r.settled()
	}
	r.wantOutcomes("refused", consumer.DeadLettered, consumer.Duplicate)
	r.wantCalls(1)
	if n := len(r.letters()); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	if n := r.metric(inst, "membersync_late_calls_total"); n != 0 {
		t.Errorf("%v late calls: it was refused", n)
	}
}
