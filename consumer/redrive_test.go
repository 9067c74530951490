package consumer_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A redrive applies an event that the CRM refused. It keeps the event's own version: it does not
// replace a value of a newer event.
func TestARedriveKeepsItsVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 3, Code: 20012})
	inst := r.start(r.dlq.redriving, oneByOne)
	r.process(event("whole", 1, 10, fields{"position": "Old", "qq": "1"}))
	r.process(event("gone", 1, 9, fields{"email": "old@test.invalid"}))
	r.process(event("again", 1, 8, fields{"weixin": "w"}))
	r.process(event("new", 1, 20, fields{"position": "New", "email": "new@test.invalid"}))
	items := r.dlq.items()
	if len(items) != 3 {
		t.Fatalf("%d dead letters", len(items))
	}
	for _, id := range []string{"whole", "gone"} {
		r.dlq.redrive(items[id])
	}
	r.redrivesSettled()
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: 20012})
	r.processRedrive(items["again"])
	again := r.dlq.items()["again"]
	r.dlq.redrive(again)
	r.processRedrive(again) // the operator requests it twice
	r.crm.wantField(1, "position", `"New"`)
	r.crm.wantField(1, "email", `"new@test.invalid"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.crm.wantField(1, "weixin", `"w"`)
	for id, want := range map[string]dlq.State{
		"whole": dlq.StateApplied, "gone": dlq.StateSuperseded, "again": dlq.StateApplied,
	} {
		if got := r.dlq.items()[id]; got.State != want {
			t.Errorf("%s is %s, want %s: %+v", id, got.State, want, r.dlq.results())
		}
	}
	original := items["again"].DeadLetter
	if again.State != dlq.StateOpen || again.Number != 1 || again.DeadLetter.Redrives != 1 ||
		again.DeadLetter.Source != original.Source || !again.DeadLetter.FirstFailedAt.Equal(original.FirstFailedAt) {
		t.Errorf("after the second failure: %+v", again)
	}
	id := items["again"].ID
	want := []string{
		id + " 1 dead_lettered", id + " 2 applied", id + " 2 applied",
		items["gone"].ID + " 1 superseded", items["whole"].ID + " 1 applied",
	}
	slices.Sort(want)
	if d := cmp.Diff(want, r.dlq.results()); d != "" {
		t.Error(d)
	}
	// Three refused ones, new, whole, again (refused), again. The repeated request makes no call.
	if n := len(r.crm.callsOf(1)); n != 7 {
		t.Errorf("%d calls", n)
	}
	inst.wantMetric(2, "membersync_events_total", "outcome", "applied", "path", "redrive")
}

// A record that could not be mapped at all is processed as a whole once it can be mapped, here
// because of an edited value.
func TestARedriveOfAnUnreadableRecordRunsAllOfIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	r.process(
		kafka.Message{Key: []byte("E0001"), Value: []byte("{")},
		event("bad", 2, 5, fields{"gender": "X", "position": "P"}),
	)
	items := r.dlq.items()
	edited := func(m kafka.Message) func(*dlq.Redrive) {
		return func(one *dlq.Redrive) { one.DeadLetter.Value, one.Edited = m.Value, true }
	}
	r.dlq.redrive(items[""], edited(event("ok", 1, 1, fields{"position": "Edited"})))
	r.processRedrive(items["bad"], edited(kafka.Message{Value: []byte("{still")}))
	r.crm.wantField(1, "position", `"Edited"`)
	bad := items["bad"].ID
	want := []string{items[""].ID + " 1 applied", bad + " 1 dead_lettered"}
	slices.Sort(want)
	if d := cmp.Diff(want, r.dlq.results()); d != "" {
		t.Error(d)
	}
	again := r.dlq.items()[""] // of the two without an event id the latest: that of the unreadable edited value
	if again.ID != bad || again.DeadLetter.Reason != dlq.ReasonMalformed || again.Occurrences != 2 {
		t.Errorf("after the second failure: %+v", again)
	}
	r.processRedrive(again, edited(event("bad", 2, 5, fields{"position": "P"})))
	r.crm.wantField(2, "position", `"P"`)
}

// A flakyAuditor refuses the first records: as many as refuse states.
type flakyAuditor struct {
	consumer.Auditor
	refuse atomic.Int32
}

func (f *flakyAuditor) Write(ctx context.Context, a dlq.AuditRecord) error {
	if f.refuse.Add(-1) >= 0 {
		return kafka.NotEnoughReplicas
	}
	return f.Auditor.Write(ctx, a)
}

// The offset of a redrive is committed only after the audit topic has its result. The result is the
// outcome of the event's first delivery, even if another instance records it.
func TestTheOffsetIsCommittedAfterTheResultIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: 20012})
	auditor := &flakyAuditor{}
	auditor.refuse.Store(1 << 20)
	first := r.start(r.dlq.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		auditor.Auditor = p.Audit
		p.Audit = auditor
	})
	r.process(event("dead", 1, 10, fields{"position": "P"}))
	r.dlq.redrive(r.dlq.items()["dead"])
	r.eventually("the call", func() bool { return r.crm.field(1, "position") == `"P"` })
	r.never("an offset was committed without the result", time.Second, func() bool {
		return r.kafka.lag(r.kafka.topics().Redrive) == 0
	})
	first.stop()
	if len(r.dlq.results()) != 0 || r.dlq.items()["dead"].State == dlq.StateApplied {
		t.Fatal("there is a result, though its record was refused")
	}
	r.start(r.dlq.redriving)
	r.redrivesSettled()
	if d := cmp.Diff([]string{r.dlq.items()["dead"].ID + " 1 applied"}, r.dlq.results()); d != "" || len(r.crm.Calls()) != 2 {
		t.Errorf("%d calls: %s", len(r.crm.Calls()), d)
	}
}
