package consumer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// Of a record of several employees one has died. Its redrive runs that one alone, at its place; dead again, it is the same item, with the
// headers of the record.
func TestOnlyTheEventNamedRunsAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(2), Times: 2, Code: crmapitest.CodeNoMember})
	r.start(lists, r.redriving)
	all := list(r.event("first", 1, 1, fields{"position": "A"}), r.event("dead", 2, 2, fields{"position": "B"}), r.event("last", 3, 3, fields{"position": "C"}))
	all.Headers = []kafka.Header{{Key: "h", Value: []byte("v")}, {Key: "dlq.note", Value: []byte("the source's own")}}
	r.produce(all)
	r.settled()
	first := r.items()["dead"]
	r.redrive(first)
	r.redrivesSettled()
	again := r.items()["dead"]
	if again.ID != first.ID || again.Occurrences != 2 || again.DeadLetter.Index != 1 || again.DeadLetter.Count != 3 {
		t.Errorf("dead again as %s with %d letters, %d of %d; want %s", again.ID, again.Occurrences, again.DeadLetter.Index, again.DeadLetter.Count, first.ID)
	}
	if d := cmp.Diff(first.DeadLetter.Headers, again.DeadLetter.Headers); d != "" || len(first.DeadLetter.Headers) != 2 {
		t.Errorf("headers of the second death: %s", d)
	}
	r.redrive(again)
	r.redrivesSettled()
	r.wantField(2, "position", `"B"`)
	r.wantOutcomes("first", consumer.Applied)
	r.wantOutcomes("last", consumer.Applied)
	r.wantOutcomes("dead", consumer.DeadLettered, consumer.DeadLettered, consumer.Applied)
	r.wantCalls(5)
}

// An invalid redrive is an item that nobody can run: what it is of has a dead letter of its own.
func TestARedriveOfAnInvalidRedriveIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.start(r.redriving)
	r.produce(r.event("dead", 1, 1, fields{"position": "P"}))
	r.settled()
	r.redrive(r.items()["dead"], func(o *dlq.Redrive) { o.DeadLetter.Value = []byte("other") })
	r.redrivesSettled()
	invalid := r.items()[""]
	if invalid.DeadLetter.Reason != dlq.ReasonInvalidRedrive {
		t.Fatalf("%+v", invalid)
	}
	r.redrive(invalid)
	r.redrivesSettled()
	letters := r.deadLetters()
	at := slices.IndexFunc(letters, func(l dlq.DeadLetter) bool { return strings.Contains(l.Error, "is an invalid redrive") })
	if len(letters) != 3 || at < 0 || letters[at].Reason != dlq.ReasonInvalidRedrive {
		t.Errorf("%d dead letters: %+v", len(letters), letters)
	}
	r.wantCalls(1)
}

// While the state is lost an old value could win, so redrives wait until it is there again. Live traffic does not.
func TestRedrivesWaitWhileTheStateIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	inst := r.start(r.redriving)
	r.produce(r.event("dead", 1, 1, fields{"position": "P"}))
	r.settled()
	item := r.items()["dead"]
	keys, err := r.redis.Keys(t.Context(), r.prefix+":*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.redis.Del(t.Context(), keys...).Err(); err != nil {
		t.Fatal(err)
	}
	r.eventually("the loss to be noticed", func() bool { return r.metric(inst, "membersync_state_lost") == 1 })
	r.redrive(item)
	r.produce(r.event("live", 2, 1, fields{"position": "L"}))
	r.settled()
	r.never("a redrive without the state", 1500*time.Millisecond, func() bool {
		return r.field(1, "position") != "" || r.broker.Lag(t, r.group, r.topics().Redrive) == 0
	})
	if err := r.store(r.redis).MarkInitialized(t.Context(), r.group); err != nil {
		t.Fatal(err)
	}
	r.redrivesSettled()
	r.wantField(1, "position", `"P"`)
	r.wantField(2, "position", `"L"`)
}

const byRecord = `version: 1
identity: {event_id: %s, employee_id: $event.employeeId, open_user_id: $event.openUserId}
order: {kind: none}
states: {before: $event.before, after: $event.after}
fields: {position: position, qq: qq}
`

func (r *rig) mapping(eventID string) change {
	r.t.Helper()
	mapping, err := mapper.Parse("test", []byte(strings.Replace(byRecord, "%s", eventID, 1)), mapper.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return func(_ *consumer.Config, p *consumer.Parts) { p.Mapper = mapping }
}

// Where the record's timestamp is all the order there is, a redriven event has that of its first record, not that of the redrive: what was
// produced since then is newer.
func TestARedrivenEventIsAsOldAsItsFirstRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.start(r.redriving, r.mapping("$event.eventId"))
	r.produce(r.event("dead", 1, 1, fields{"position": "Old", "qq": "1"}))
	r.settled()
	r.produce(r.event("newer", 1, 1, fields{"position": "New"}))
	r.settled()
	r.redrive(r.items()["dead"])
	r.redrivesSettled()
	r.wantField(1, "position", `"New"`)
	r.wantField(1, "qq", `"1"`)
	r.wantOutcomes("dead", consumer.DeadLettered, consumer.Applied)
}

// Where the source gives no ids, an event is known by its place: read again it is a duplicate, and a record like it at another place is
// another event.
func TestEventsWithoutIDsAreKnownByTheirPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.mapping("{record: true}"))
	for _, position := range []string{"A", "B", "A"} {
		r.produce(r.event("the same", 1, 1, fields{"position": position}))
		r.settled()
	}
	r.wantField(1, "position", `"A"`)
	r.wantCalls(3)
	r.replayAs(r.mapping("{record: true}"))
	r.wantCalls(3)
	want := []consumer.Outcome{consumer.Applied, consumer.Applied, consumer.Applied, consumer.Duplicate, consumer.Duplicate, consumer.Duplicate}
	if got := r.outcome.all(); !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

// all are the outcomes of all events, as they came.
func (o *outcomes) all() (got []consumer.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		got = append(got, e.Outcome)
	}
	return got
}

// replayAs runs the whole topic again with another mapping.
func (r *rig) replayAs(mapping change) {
	r.t.Helper()
	api := r.api()
	defer api.Close()
	cfg, parts := r.config(), r.parts(api, prometheus.NewRegistry())
	mapping(&cfg, &parts)
	cfg.Group, cfg.Replay = r.group+".replay.test", true
	if err := consumer.New(cfg, parts).Replay(r.t.Context(), r.all(), func(consumer.ReplayProgress) {}); err != nil {
		r.t.Error(err)
	}
}
