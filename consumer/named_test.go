package consumer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// One event of a record of several employees was dead-lettered. Its redrive runs only this event,
// at its index. When it is dead-lettered again, it is the same item, with the headers of the
// record.
func TestRedriveRunsOnlyTheNamedEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(2), Times: 2, Code: crmapitest.CodeNoMember})
	r.start(lists, r.dlq.redriving)
	all := list(
		event("first", 1, 1, fields{"position": "A"}),
		event("rejected", 2, 2, fields{"position": "B"}),
		event("last", 3, 3, fields{"position": "C"}))
	all.Headers = []kafka.Header{
		{Key: "h", Value: []byte("v")}, {Key: "dlq.note", Value: []byte("the source's own")},
	}
	r.process(all)
	first := r.dlq.items()["rejected"]
	r.processRedrive(first)
	again := r.dlq.items()["rejected"]
	if again.ID != first.ID || again.Occurrences != 2 || again.DeadLetter.Index != 1 || again.DeadLetter.Count != 3 {
		t.Errorf("item %s with %d dead letters, index %d of %d; want item %s with 2 dead letters, index 1 of 3",
			again.ID, again.Occurrences, again.DeadLetter.Index, again.DeadLetter.Count, first.ID)
	}
	if d := cmp.Diff(first.DeadLetter.Headers, again.DeadLetter.Headers); d != "" || len(first.DeadLetter.Headers) != 2 {
		t.Errorf("headers of the second dead letter (-first +second): %s", d)
	}
	r.processRedrive(again)
	r.crm.wantField(2, "position", `"B"`)
	r.wantOutcomes("first", consumer.Applied)
	r.wantOutcomes("last", consumer.Applied)
	r.wantOutcomes("rejected", consumer.DeadLettered, consumer.DeadLettered, consumer.Applied)
	r.crm.wantCalls(5)
}

// An invalid redrive is an item that cannot be redriven. The event that it names has a dead letter
// of its own.
func TestRedriveOfAnInvalidRedriveIsRejected(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.start(r.dlq.redriving)
	r.process(event("rejected", 1, 1, fields{"position": "P"}))
	r.processRedrive(r.dlq.items()["rejected"], func(o *dlq.Redrive) { o.DeadLetter.Value = []byte("other") })
	invalid := r.dlq.items()[""]
	if invalid.DeadLetter.Reason != dlq.ReasonInvalidRedrive {
		t.Fatalf("%+v", invalid)
	}
	r.processRedrive(invalid)
	deadLetters := r.dlq.read()
	at := slices.IndexFunc(deadLetters, func(l dlq.DeadLetter) bool {
		return strings.Contains(l.Error, "is an invalid redrive")
	})
	if len(deadLetters) != 3 || at < 0 || deadLetters[at].Reason != dlq.ReasonInvalidRedrive {
		t.Errorf("%d dead letters: %+v", len(deadLetters), deadLetters)
	}
	r.crm.wantCalls(1)
}

// While the state is lost, an old value could win. So redrives wait until the state is rebuilt.
// Live traffic does not wait.
func TestRedrivesWaitWhileTheStateIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	inst := r.start(r.dlq.redriving)
	r.process(event("rejected", 1, 1, fields{"position": "P"}))
	item := r.dlq.items()["rejected"]
	r.redis.empty()
	r.eventually("the loss to be noticed", inst.isLost)
	r.dlq.redrive(item)
	r.process(event("live", 2, 1, fields{"position": "L"}))
	r.never("a redrive without the state", 1500*time.Millisecond, func() bool {
		return r.crm.field(1, "position") != "" || r.kafka.lag(r.kafka.topics().Redrive) == 0
	})
	r.redis.rebuilt(r.kafka.group)
	r.redrivesSettled()
	r.crm.wantField(1, "position", `"P"`)
	r.crm.wantField(2, "position", `"L"`)
}

const byRecord = `version: 1
identity: {event_id: %s, employee_id: $event.employeeId, open_user_id: $event.openUserId}
order: {kind: none}
states: {before: $event.before, after: $event.after}
fields: {position: position, qq: qq}
`

// mapping orders events by their record's timestamp.
func mapping(t *testing.T, eventID string) change {
	t.Helper()
	parsed, err := mapper.Parse("test", []byte(strings.Replace(byRecord, "%s", eventID, 1)), mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *consumer.Config, p *consumer.Parts) { p.Mapper = parsed }
}

// Without an order value, events are ordered by their record's timestamp. A redriven event keeps
// the timestamp of its original record. So an event that was produced before the redrive, but after
// the original record, is newer.
func TestRedrivenEventKeepsTheTimestampOfItsOriginalRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.start(r.dlq.redriving, mapping(t, "$event.eventId"))
	r.process(event("rejected", 1, 1, fields{"position": "Old", "qq": "1"}))
	r.process(event("newer", 1, 1, fields{"position": "New"}))
	r.processRedrive(r.dlq.items()["rejected"])
	r.crm.wantField(1, "position", `"New"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.wantOutcomes("rejected", consumer.DeadLettered, consumer.Applied)
}

// If the source has no event ids, the record's coordinates and timestamp identify an event. Read
// again, it is a duplicate. An equal record at other coordinates is another event.
func TestEventsWithoutIDsAreIdentifiedByTheirCoordinates(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(mapping(t, "{record: true}"))
	for _, position := range []string{"A", "B", "A"} {
		r.process(event("the same", 1, 1, fields{"position": position}))
	}
	r.crm.wantField(1, "position", `"A"`)
	r.crm.wantCalls(3)
	r.replayWith(mapping(t, "{record: true}"), r.kafka.all()...)
	r.crm.wantCalls(3)
	want := []consumer.Outcome{
		consumer.Applied, consumer.Applied, consumer.Applied,
		consumer.Duplicate, consumer.Duplicate, consumer.Duplicate,
	}
	if got := r.outcome.all(); !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

// all returns the outcomes of all events, in the order in which they finished.
func (o *outcomes) all() (got []consumer.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		got = append(got, e.Outcome)
	}
	return got
}
