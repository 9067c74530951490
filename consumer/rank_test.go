package consumer_test

import (
	"slices"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// seedDeadLetters runs one event of each of these members, which the CRM rejects, and returns when
// their dead letters are written.
func seedDeadLetters(r *rig, members ...int) {
	r.t.Helper()
	var msgs []message
	for _, n := range members {
		r.crm.Push(crmapitest.Fault{Member: member(n), Times: 1, Code: crmapitest.CodeNoMember})
		msgs = append(msgs, event("dead "+member(n), n, 1, fields{"position": "P"}))
	}
	r.kafka.produce(msgs...)
	inst := r.start(r.dlq.redriving)
	r.settled()
	inst.stop()
}

// A lane draws its permits at the rank of redrives if only redrives wait in it. If a live event
// waits in it too, the rank is that of live traffic.
func TestRedrivesHaveARankOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	seedDeadLetters(r, 1, 2)
	l := &limiter{store: r.redis.store(), limit: 1000, window: time.Second, hold: r.redis.lease}
	inst := r.start(r.dlq.redriving, l.install)
	r.process(event("live", 3, 1, fields{"position": "P"}))
	r.processRedrive(r.dlq.items()["dead "+member(1)])
	if got, want := l.ranks(), []int{dedupe.RankLive, dedupe.RankRedrive}; !slices.Equal(got, want) {
		t.Errorf("ranks %v, want %v", got, want)
	}
	r.crm.Block(crmapitest.BeforeEffect)
	r.kafka.produce(event("blocked", 2, 5, fields{"qq": "1"}))
	r.eventually("the blocked call", func() bool { return r.crm.Stats().Blocked == 1 })
	r.dlq.redrive(r.dlq.items()["dead "+member(2)])
	r.kafka.produce(event("behind", 2, 6, fields{"weixin": "w"}))
	r.eventually("the events behind it", func() bool { return inst.service.Items() == 3 })
	r.crm.Release()
	r.settled()
	r.redrivesSettled()
	if got := l.ranks()[2:]; slices.Contains(got, dedupe.RankRedrive) || len(got) == 0 {
		t.Errorf("ranks %v of a lane with live events and redrives", got)
	}
	r.crm.wantField(2, "position", `"P"`)
}

// While live traffic waits for permits, redrives get their share of the rate limit, and no more.
func TestLiveTrafficGoesBeforeRedrives(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	redrives := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	seedDeadLetters(r, redrives...)
	store := r.redis.store()
	if err := store.Pause(t.Context(), time.Time{}, "", "sample@host"); err != nil {
		t.Fatal(err)
	}
	// Redrives have a share of 1.
	l := &limiter{store: store, limit: 4, window: 500 * time.Millisecond, hold: r.redis.lease}
	inst := r.start(r.dlq.redriving, l.install)
	items := r.dlq.items()
	for _, n := range redrives {
		r.dlq.redrive(items["dead "+member(n)])
	}
	r.eventually("the redrives to wait", func() bool { return inst.service.Redrives() == len(redrives) })
	const live = 12
	for i := range live {
		r.kafka.produce(event("live "+member(101+i), 101+i, 1, fields{"position": "L"}))
	}
	r.eventually("the live events to wait behind them", func() bool { return inst.service.Items() == len(redrives)+live })
	before := len(r.crm.Calls())
	if err := store.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.redrivesSettled()
	early, liveCalls := 0, 0
	for _, c := range r.crm.Calls()[before:] {
		switch {
		case c.OpenUserID > member(100):
			liveCalls++
		case liveCalls < live:
			early++
		}
	}
	if liveCalls != live || early < 1 || early > 6 { // about five windows, each of 3 live calls and 1 redrive
		t.Errorf("%d of %d redrives were sent before the last of %d live calls", early, len(redrives), liveCalls)
	}
	for _, n := range redrives {
		r.crm.wantField(n, "position", `"P"`)
	}
	if n := inst.service.Redrives(); n != 0 {
		t.Errorf("%d redrives are counted as waiting, want 0", n)
	}
}
