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

// In these tests a call goes unacknowledged. Until its lease has expired, only the same update may
// be sent. The rig's recorder checks this.

// After an unacknowledged call the same update is sent again. The member's next event waits, and
// other members do not.
func TestAnUnacknowledgedCallIsRepeated(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"no response, no effect":           {Hang: true},
		"no response after the effect":     {Hang: true, At: crmapitest.AfterEffect},
		"closed before the effect":         {Close: true},
		"closed after the effect":          {Close: true, At: crmapitest.AfterEffect},
		"the response is cut short":        {Cut: true},
		"a server error after the effect":  {Status: 502, At: crmapitest.AfterEffect},
		"service exception":                {Code: 50009, At: crmapitest.AfterEffect},
		"a response that is not the API's": {Body: "<html>", At: crmapitest.AfterEffect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{}).quick()
			f.Member, f.Times = member(1), 2
			r.crm.Push(f)
			r.start()
			r.kafka.produce(r.change(1, fields{"position": "First", "qq": "1"}))
			r.eventually("the first call", func() bool { return len(r.crm.callsOf(1)) > 0 })
			r.kafka.produce(r.change(1, fields{"position": "Second"}), r.change(2, fields{"position": "Other"}))
			r.eventually("the other member", func() bool { return r.crm.field(2, "position") == `"Other"` })
			r.settled()
			r.crm.wantField(1, "position", `"Second"`)
			r.crm.wantField(1, "qq", `"1"`)
			if n := len(r.crm.callsOf(1)); n < 3 {
				t.Errorf("%d calls, want the first, its repetitions and the second", n)
			}
			r.wantNoDeadLetters()
			r.wantOutcomes("ev-1", consumer.Applied)
		})
	}
}

// The first repetition of an unacknowledged call is throttled, the second one fails, and the third
// one succeeds. While the lease lives, they carry the same update, and the lease is not released.
func TestAThrottledRepetitionKeepsItsUpdateAndLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(
		crmapitest.Fault{Member: member(1), Close: true, At: crmapitest.AfterEffect},
		crmapitest.Fault{Member: member(1), Code: 14001},
		crmapitest.Fault{Member: member(1), Code: -1},
	)
	r.start()
	r.kafka.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.crm.callsOf(1)) > 0 })
	r.process(r.change(1, fields{"position": "Second"}))
	r.crm.wantField(1, "position", `"Second"`)
	r.wantNoDeadLetters()
}

// The CRM refuses the repetition for good. The offending event is dead-lettered, and the other
// one waits until the lease has expired.
func TestARefusedRepetitionIsSplitAfterTheLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(
		crmapitest.Fault{Member: member(1), Close: true},
		crmapitest.Fault{Member: member(1), Code: 10001},
		crmapitest.Fault{Member: member(1), Code: 10001},
	)
	inst := r.start(oneByOne)
	inst.backlog(r.change(1, fields{"position": "Bad"}), r.change(1, fields{"qq": "good"}))
	r.settled()
	r.crm.wantField(1, "qq", `"good"`)
	if reasons := r.dlq.rejections(); len(reasons) != 1 || reasons["ev-1"] != "crm_invalid" {
		t.Errorf("dead letters %v", reasons)
	}
	if n := len(r.crm.callsOf(1)); n != 4 {
		t.Errorf("%d calls, want 4: both events twice, the offending one, the good one", n)
	}
	r.wantNoOverlap()
}

// A process stalls between a call and its completion until the lease has expired. This is counted,
// and the log names the command that repairs it.
func TestALateCompletionIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick()
	inst := r.start(stalls(r).install)
	r.process(r.change(1, fields{"position": "Late"}))
	r.crm.wantField(1, "position", `"Late"`)
	inst.wantMetric(1, "membersync_late_calls_total")
	if want := `"command":"membersync replay --from earliest --employee E0001 --reapply"`; !strings.Contains(r.logs.String(), want) {
		t.Errorf("the log does not name the command, %s", want)
	}
}

// The lease expires while the lane waits for its next attempt. The next fold then includes the new
// event.
func TestAnExpiredLeaseAllowsANewFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Status: 503})
	expired := make(chan struct{})
	inst := r.start(tap{at: func(o op, after bool) error {
		if o == opRenew && !after {
			select {
			case <-expired:
			case <-t.Context().Done():
			}
		}
		return nil
	}}.install)
	r.kafka.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.crm.callsOf(1)) > 0 })
	r.kafka.produce(r.change(1, fields{"position": "Second"}))
	inst.waiting(2)
	r.redis.expireLeases()
	close(expired)
	r.settled()
	r.crm.wantField(1, "position", `"Second"`)
	r.crm.wantCalls(2)
	r.wantOutcomes("ev-1", consumer.Superseded)
	r.wantNoDeadLetters()
}

// A process stops after an unacknowledged call. Another instance waits until its lease has expired.
func TestAnotherInstanceWaitsForTheLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick().withoutClientTimeout()
	r.crm.Push(crmapitest.Fault{Member: member(1), Hang: true})
	first := r.start(hasty)
	r.kafka.produce(r.change(1, fields{"position": "First"}))
	r.eventually("the first call", func() bool { return len(r.crm.callsOf(1)) > 0 })
	first.stop()
	r.kafka.produce(r.change(1, fields{"position": "Second"}))
	r.start()
	r.settled()
	r.crm.wantField(1, "position", `"Second"`)
	r.crm.wantCalls(2)
	r.wantNoDeadLetters()
}

// hasty makes a service give up in-flight calls at once when it stops.
func hasty(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = time.Millisecond }

// Despite many failures of all kinds the CRM has the newest values at the end, and no older value
// ever replaces a newer one.
func TestNoFieldReturnsToAnOlderValue(t *testing.T) {
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
			r.kafka.produce(on(m%2, r.change(m, fields{"position": fmt.Sprintf("%03d", round), "qq": fmt.Sprintf("%03d", round)})))
		}
	}
	r.settled()
	for m := range members {
		r.crm.wantField(m, "position", fmt.Sprintf(`"%03d"`, rounds-1))
		newest := ""
		for _, c := range r.crm.callsOf(m) {
			if v := string(c.User); c.Applied {
				if v < newest {
					t.Errorf("member %d went back from %s to the older %s", m, newest, v)
				}
				newest = v
			}
		}
	}
	r.wantNoDeadLetters()
}
