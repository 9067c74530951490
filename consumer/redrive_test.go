package consumer_test

import (
	"context"
	"fmt"
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

// redriving lets a service consume the redrive topic.
func (r *rig) redriving(cfg *consumer.Config, parts *consumer.Parts) {
	client := r.client()
	cfg.Redrives = r.topics().Redrive
	parts.Archive = dlq.NewReader(client, r.topics())
	parts.Audit = dlq.NewAuditor(client, r.topics().Audit, dlq.WithRetry(10*time.Second))
	parts.EditDigest = editDigest()
}

// editDigest is that of edited values, under the state key of the tests.
func editDigest() dlq.ValueDigest { return dlq.NewValueDigest([]byte("a state key made up for tests")) }

// items returns the dead letters with their states, by event id.
func (r *rig) items() map[string]dlq.Item {
	r.t.Helper()
	reader := dlq.NewReader(r.client(), r.topics())
	s, err := reader.Index(r.t.Context(), dlq.Query{}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	items := map[string]dlq.Item{}
	for item, err := range reader.Items(r.t.Context(), s, 0, true) {
		if err != nil {
			r.t.Fatal(err)
		}
		items[item.DeadLetter.EventID] = item
	}
	return items
}

// redrive requests a redrive of the latest dead letter of an item in the audit topic, and writes it
// to the redrive topic.
func (r *rig) redrive(item dlq.Item, changes ...func(*dlq.Redrive)) {
	r.t.Helper()
	one := dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: item.Number + 1,
		By: "sample@host", At: time.Now(), Note: "fixed",
	}
	for _, c := range changes {
		c(&one)
	}
	r.send(r.requested(one))
}

// requested writes the request of a redrive.
func (r *rig) requested(one dlq.Redrive) dlq.Redrive {
	r.t.Helper()
	auditor := dlq.NewAuditor(r.client(), r.topics().Audit, dlq.WithRetry(10*time.Second))
	var err error
	if one.Audit, err = auditor.Append(r.t.Context(), one.Request(editDigest())); err != nil {
		r.t.Fatal(err)
	}
	return one
}

// send writes a redrive to the redrive topic.
func (r *rig) send(one dlq.Redrive) {
	r.t.Helper()
	redriver := dlq.NewRedriver(r.client(), r.topics().Redrive, dlq.WithRetry(10*time.Second))
	if err := redriver.Write(r.t.Context(), one); err != nil {
		r.t.Fatal(err)
	}
}

// redrivesSettled waits until all records of the redrive topic are finished and committed.
func (r *rig) redrivesSettled() {
	r.t.Helper()
	r.eventually("the lag of the redrive topic to reach zero", func() bool {
		return r.broker.Lag(r.t, r.group, r.topics().Redrive) == 0
	})
}

// results returns the results of redrives in the audit topic as "subject number result", sorted.
func (r *rig) results() []string {
	r.t.Helper()
	var lines []string
	for _, m := range r.broker.ReadAll(r.t, r.topics().Audit) {
		a, err := dlq.ParseAudit(m.Value)
		if err == nil && a.Action == dlq.ActionRedrive {
			continue
		}
		if err != nil || a.Action != dlq.ActionRedriveResult {
			r.t.Errorf("an unexpected audit record: %s", m.Value)
		}
		lines = append(lines, fmt.Sprintf("%s %d %s", a.Subject, a.Detail.Number, a.Result))
	}
	slices.Sort(lines)
	return lines
}

// A redrive applies an event that the CRM refused. It keeps the event's own version: it does not
// replace a value of a newer event.
func TestARedriveKeepsItsVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 3, Code: 20012})
	inst := r.start(r.redriving, oneByOne)
	r.produce(r.event("whole", 1, 10, fields{"position": "Old", "qq": "1"}))
	r.settled()
	r.produce(r.event("gone", 1, 9, fields{"email": "old@test.invalid"}))
	r.settled()
	r.produce(r.event("again", 1, 8, fields{"weixin": "w"}))
	r.settled()
	r.produce(r.event("new", 1, 20, fields{"position": "New", "email": "new@test.invalid"}))
	r.settled()
	items := r.items()
	if len(items) != 3 {
		t.Fatalf("%d dead letters", len(items))
	}
	for _, id := range []string{"whole", "gone"} {
		r.redrive(items[id])
	}
	r.redrivesSettled()
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: 20012})
	r.redrive(items["again"])
	r.redrivesSettled()
	again := r.items()["again"]
	r.redrive(again)
	r.redrive(again) // the operator requests it twice
	r.redrivesSettled()
	r.wantField(1, "position", `"New"`)
	r.wantField(1, "email", `"new@test.invalid"`)
	r.wantField(1, "qq", `"1"`)
	r.wantField(1, "weixin", `"w"`)
	for id, want := range map[string]dlq.State{
		"whole": dlq.StateApplied, "gone": dlq.StateSuperseded, "again": dlq.StateApplied,
	} {
		if got := r.items()[id]; got.State != want {
			t.Errorf("%s is %s, want %s: %+v", id, got.State, want, r.results())
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
	if d := cmp.Diff(want, r.results()); d != "" {
		t.Error(d)
	}
	// Three refused ones, new, whole, again (refused), again. The repeated request makes no call.
	if n := len(r.callsOf(1)); n != 7 {
		t.Errorf("%d calls", n)
	}
	if got := r.metric(inst, "membersync_events_total", "outcome", "applied", "path", "redrive"); got != 2 {
		t.Errorf("%v applied on the redrive path", got)
	}
}

// A record that could not be mapped at all is processed as a whole once it can be mapped, here
// because of an edited value.
func TestARedriveOfAnUnreadableRecordRunsAllOfIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving)
	r.produce(
		kafka.Message{Key: []byte("E0001"), Value: []byte("{")},
		r.event("bad", 2, 5, fields{"gender": "X", "position": "P"}),
	)
	r.settled()
	items := r.items()
	edited := func(m kafka.Message) func(*dlq.Redrive) {
		return func(one *dlq.Redrive) { one.DeadLetter.Value, one.Edited = m.Value, true }
	}
	r.redrive(items[""], edited(r.event("ok", 1, 1, fields{"position": "Edited"})))
	r.redrive(items["bad"], edited(kafka.Message{Value: []byte("{still")}))
	r.redrivesSettled()
	r.wantField(1, "position", `"Edited"`)
	bad := items["bad"].ID
	want := []string{items[""].ID + " 1 applied", bad + " 1 dead_lettered"}
	slices.Sort(want)
	if d := cmp.Diff(want, r.results()); d != "" {
		t.Error(d)
	}
	again := r.items()[""] // of the two without an event id the latest: that of the unreadable edited value
	if again.ID != bad || again.DeadLetter.Reason != dlq.ReasonMalformed || again.Occurrences != 2 {
		t.Errorf("after the second failure: %+v", again)
	}
	r.redrive(again, edited(r.event("bad", 2, 5, fields{"position": "P"})))
	r.redrivesSettled()
	r.wantField(2, "position", `"P"`)
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
	first := r.start(r.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		auditor.Auditor = p.Audit
		p.Audit = auditor
	})
	r.produce(r.event("dead", 1, 10, fields{"position": "P"}))
	r.settled()
	r.redrive(r.items()["dead"])
	r.eventually("the call", func() bool { return r.field(1, "position") == `"P"` })
	r.never("an offset was committed without the result", time.Second, func() bool {
		return r.broker.Lag(t, r.group, r.topics().Redrive) == 0
	})
	first.stop()
	if len(r.results()) != 0 || r.items()["dead"].State == dlq.StateApplied {
		t.Fatal("there is a result, though its record was refused")
	}
	r.start(r.redriving)
	r.redrivesSettled()
	if d := cmp.Diff([]string{r.items()["dead"].ID + " 1 applied"}, r.results()); d != "" || len(r.crm.Calls()) != 2 {
		t.Errorf("%d calls: %s", len(r.crm.Calls()), d)
	}
}
