package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A call goes unacknowledged. Until its lease has run out nothing but the very same update may go out: to that the rig's recorder looks.

func TestAnUnansweredCall(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"no answer, no effect":          {Hang: true},
		"no answer after the effect":    {Hang: true, At: crmapitest.AfterEffect},
		"closed before the effect":      {Close: true},
		"closed after the effect":       {Close: true, At: crmapitest.AfterEffect},
		"the answer is cut short":       {Cut: true},
		"a server's error after effect": {Status: 502, At: crmapitest.AfterEffect},
		"service exception":             {Code: 50009, At: crmapitest.AfterEffect},
		"nobody's answer":               {Body: "<html>", At: crmapitest.AfterEffect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{}).quick()
			f.Member, f.Times = member(1), 2
			r.crm.Push(f)
			r.start()
			r.produce(r.change(1, fields{"position": "First", "qq": "1"}))
			r.eventually("the first call", func() bool { return len(r.callsOf(1)) > 0 })
			r.produce(r.change(1, fields{"position": "Second"}), r.change(2, fields{"position": "Other"}))
			r.eventually("the other member", func() bool { return r.field(2, "position") == `"Other"` })
			r.settled()
			r.wantField(1, "position", `"Second"`)
			r.wantField(1, "qq", `"1"`)
			if n := len(r.callsOf(1)); n < 3 {
				t.Errorf("%d calls, want the first, its repetitions and the second", n)
			}
			r.wantNoDeadLetters()
			r.wantOutcomes("ev-1", consumer.Applied)
		})
	}
}

// The repetition is answered with a throttling, then with a success: still the same update, still kept.
func TestAnUnansweredCallThenThrottled(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(
		crmapitest.Fault{Member: member(1), Close: true, At: crmapitest.AfterEffect},
		crmapitest.Fault{Member: member(1), Code: 14001},
		crmapitest.Fault{Member: member(1), Code: -1},
	)
	r.start()
	r.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.callsOf(1)) > 0 })
	r.produce(r.change(1, fields{"position": "Second"}))
	r.settled()
	r.wantField(1, "position", `"Second"`)
	r.wantNoDeadLetters()
}

// The repetition is refused for good: the guilty one dies, but the innocent wait for the lease.
func TestAnUnansweredCallThenRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(
		crmapitest.Fault{Member: member(1), Close: true},
		crmapitest.Fault{Member: member(1), Code: 10001},
		crmapitest.Fault{Member: member(1), Code: 10001},
	)
	inst := r.start(oneByOne)
	r.backlog(inst, r.change(1, fields{"position": "Bad"}), r.change(1, fields{"qq": "good"}))
	r.settled()
	r.wantField(1, "qq", `"good"`)
	if dead := r.rejections(); len(dead) != 1 || dead["ev-1"] != "crm_invalid" {
		t.Errorf("dead letters %v", dead)
	}
	if n := len(r.callsOf(1)); n != 4 {
		t.Errorf("%d calls, want 4: both together twice, the guilty one, the good one", n)
	}
	r.wantNoOverlap()
}

// backlog holds the only slot until the messages lie in their lanes, so that they fold.
func (r *rig) backlog(inst *instance, msgs ...message) {
	r.t.Helper()
	r.crm.Block(crmapitest.BeforeEffect)
	blocker := r.event("blocker", 99, 1, fields{"position": "Blocker"})
	blocker.Partition = msgs[0].Partition
	r.produce(blocker)
	r.eventually("the slot to be taken", func() bool { return r.crm.Blocked() == 1 })
	r.produce(msgs...)
	r.waiting(inst, len(msgs)+1)
	r.crm.Release()
}

// A process stalls between call and completion until its lease has run out: that is counted, and the log says what mends it.
func TestACompletionThatComesTooLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick()
	inst := r.start(r.stalls().install)
	r.produce(r.change(1, fields{"position": "Late"}))
	r.settled()
	r.wantField(1, "position", `"Late"`)
	if n := r.metric(inst, "membersync_late_calls_total"); n != 1 {
		t.Errorf("%v late calls", n)
	}
	if want := `"command":"membersync replay --from earliest --employee E0001 --reapply"`; !strings.Contains(r.logs.String(), want) {
		t.Errorf("the log does not name the command, %s", want)
	}
}

// The lease runs out while the lane waits for its next try: the fold begins anew, with what is new.
func TestALeaseThatRanOutBeforeTheRepetition(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Status: 503})
	ranOut := make(chan struct{})
	inst := r.start(tap{at: func(o op, after bool) error {
		if o == opRenew && !after {
			select {
			case <-ranOut:
			case <-t.Context().Done():
			}
		}
		return nil
	}}.install)
	r.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.callsOf(1)) > 0 })
	r.produce(r.change(1, fields{"position": "Second"}))
	r.waiting(inst, 2)
	r.expireLeases()
	close(ranOut)
	r.settled()
	r.wantField(1, "position", `"Second"`)
	r.wantCalls(2)
	r.wantOutcomes("ev-1", consumer.Superseded)
	r.wantNoDeadLetters()
}

// The process is gone when the call is unacknowledged: another one waits for the lease.
func TestAnotherInstanceWaitsForTheLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(crmapitest.Fault{Member: member(1), Hang: true})
	first := r.start(hasty)
	r.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.callsOf(1)) > 0 })
	first.stop()
	r.produce(r.change(1, fields{"position": "Second"}))
	r.start()
	r.settled()
	r.wantField(1, "position", `"Second"`)
	r.wantCalls(2)
	r.wantNoDeadLetters()
}

// hasty gives up running calls at once when it is stopped.
func hasty(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = time.Millisecond }

// Under many failures of all kinds the newest value stands in the end, and no field goes back on the way.
func TestNothingGoesBackUnderFaults(t *testing.T) {
	t.Parallel()
	const members, rounds = 8, 12
	r := newRig(t, 2, crmapitest.Options{Latency: time.Millisecond}).quick()
	kinds := []crmapitest.Fault{
		{Close: true},
		{Close: true, At: crmapitest.AfterEffect},
		{Status: 503},
		{Code: -1},
		{Status: 504, At: crmapitest.AfterEffect},
		{Code: 50009, At: crmapitest.AfterEffect},
	}
	for i, k := range slices.Concat(kinds, kinds, kinds) {
		k.Member = member(i % members)
		r.crm.Push(k)
	}
	r.start()
	r.start()
	for round := range rounds {
		for m := range members {
			r.produce(on(m%2, r.change(m, fields{"position": fmt.Sprintf("%03d", round), "qq": fmt.Sprintf("%03d", round)})))
		}
	}
	r.settled()
	for m := range members {
		r.wantField(m, "position", fmt.Sprintf(`"%03d"`, rounds-1))
		newest := ""
		for _, c := range r.callsOf(m) {
			if v := string(c.User); c.Applied {
				if v < newest {
					t.Errorf("member %d went back from %s to %s", m, newest, v)
				}
				newest = v
			}
		}
	}
	r.wantNoDeadLetters()
}
