package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// A fixture holds the topics of a test, with their writers and readers.
type fixture struct {
	broker *kafkatest.Broker
	topics dlq.Topics
	reader *dlq.Reader
	audit  *dlq.Auditor
	start  time.Time // failure times are given in minutes after it
}

func newFixture(t *testing.T, partitions int) *fixture {
	t.Helper()
	return newFixtureOn(t, kafkatest.Start(t), partitions)
}

func newFixtureOn(t *testing.T, b *kafkatest.Broker, partitions int) *fixture {
	t.Helper()
	source := b.Topic(t, partitions, nil)
	f := &fixture{
		broker: b, start: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
		topics: dlq.Topics{Source: source, DLQ: source + ".dlq", Redrive: source + ".redrive", Audit: source + ".audit"},
	}
	client := b.Client(t)
	if err := dlq.EnsureTopics(t.Context(), client, dlq.TopicSpec{Topics: f.topics, Retention: time.Hour, Create: true}); err != nil {
		t.Fatal(err)
	}
	f.reader, f.audit = dlq.NewReader(client, f.topics), dlq.NewAuditor(client, f.topics.Audit, dlq.WithRetry(10*time.Second))
	return f
}

// deadLetter returns the dead letter of one event. Minute is its failure time, which distinguishes
// the dead letters of a test.
func (f *fixture) deadLetter(offset int64, reason dlq.Reason, minute, redrives int) dlq.DeadLetter {
	d := sample()
	d.Source.Topic, d.Source.Partition, d.Source.Offset, d.Index, d.Count = f.topics.Source, 0, offset, 0, 1
	d.Reason, d.Stage, d.Redrives = reason, "", redrives
	d.Key = fmt.Appendf(nil, "E%d", offset)
	d.EmployeeID = string(d.Key)
	d.FirstFailedAt = f.start.Add(time.Duration(minute) * time.Minute)
	d.FailedAt = d.FirstFailedAt
	return d
}

func (f *fixture) write(t *testing.T, deadLetters ...dlq.DeadLetter) {
	t.Helper()
	var messages []kafka.Message
	for _, d := range deadLetters {
		m := d.Message()
		m.Partition = int(d.Source.Offset) % 3
		messages = append(messages, m)
	}
	f.broker.Produce(t, f.topics.DLQ, messages...)
}

// fullID completes a short id of the fixture's dead letters: all have one timestamp.
func fullID(short string) string { return short + "@1795334400123" }

// record writes an audit record about a dead letter of the fixture, by its short id.
func (f *fixture) record(t *testing.T, shortID string, action dlq.Action, number int, result string) {
	t.Helper()
	err := f.audit.Write(t.Context(), dlq.AuditRecord{
		Subject: fullID(shortID), Action: action, Actor: "sample@host", Result: result, Detail: dlq.Detail{Number: number},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list returns "id state" of the items, with the ids as tables show them.
func (f *fixture) list(t *testing.T, q dlq.Query, limit int) []string {
	t.Helper()
	x, err := f.reader.Index(t.Context(), q, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for item, err := range f.reader.Items(t.Context(), x, limit, true) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, x.ShortID(item.ID)+" "+string(item.State))
		if want := sample().Value; string(item.DeadLetter.Value) != string(want) {
			t.Errorf("%s has the value %q", item.ID, item.DeadLetter.Value)
		}
	}
	return lines
}

func TestItems(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t,
		f.deadLetter(0, dlq.ReasonCRMInvalid, 5, 0), f.deadLetter(0, dlq.ReasonCRMInvalid, 5, 0), // a copy
		f.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0),
		f.deadLetter(2, dlq.ReasonInvalidField, 2, 0), f.deadLetter(2, dlq.ReasonCRMInvalid, 9, 1), // failed again
		f.deadLetter(3, dlq.ReasonCRMNotFound, 3, 0), f.deadLetter(4, dlq.ReasonCRMNotFound, 4, 0), f.deadLetter(5, dlq.ReasonCRMNotFound, 6, 0),
	)
	f.broker.Produce(t, f.topics.DLQ, kafka.Message{Value: []byte("not ours")})
	f.broker.Produce(t, f.topics.Audit, kafka.Message{Value: []byte("not ours")})
	f.record(t, "0:2:0", dlq.ActionRedrive, 1, dlq.ResultRequested)
	f.record(t, "0:2:0", dlq.ActionRedriveResult, 1, dlq.ResultDeadLettered)
	f.record(t, "0:3:0", dlq.ActionDiscard, 0, dlq.ResultDone)
	f.record(t, "0:4:0", dlq.ActionRedrive, 1, dlq.ResultRequested)
	f.record(t, "0:5:0", dlq.ActionRedriveResult, 1, dlq.ResultApplied)
	f.record(t, "0:99:0", dlq.ActionRedrive, 1, dlq.ResultRequested) // retention has removed its dead letter

	all := []string{"0:1:0 open", "0:3:0 discarded", "0:4:0 redriving", "0:0:0 open", "0:5:0 applied", "0:2:0 open"}
	open := []dlq.State{dlq.StateOpen}
	for name, c := range map[string]struct {
		query dlq.Query
		limit int
		want  []string
	}{
		"all":                {dlq.Query{}, 0, all},
		"the latest":         {dlq.Query{}, 2, all[4:]},
		"open":               {dlq.Query{States: open}, 0, []string{all[0], all[3], all[5]}},
		"a reason":           {dlq.Query{Reasons: []dlq.Reason{dlq.ReasonCRMInvalid}}, 0, []string{all[3], all[5]}},
		"an earlier reason":  {dlq.Query{Reasons: []dlq.Reason{dlq.ReasonInvalidField}}, 0, []string{}},
		"a stage":            {dlq.Query{Stage: dlq.StageMap}, 0, []string{}},
		"a code":             {dlq.Query{Code: "100001"}, 0, all},
		"another code":       {dlq.Query{Code: "1"}, 0, []string{}},
		"an employee":        {dlq.Query{Employee: "E4"}, 0, all[2:3]},
		"a time":             {dlq.Query{Since: f.start.Add(3 * time.Minute), Until: f.start.Add(5 * time.Minute)}, 0, all[1:3]},
		"short ids":          {dlq.Query{IDs: []string{"0:5:0", "0:1:0", "7:7:7"}}, 0, []string{all[0], all[4]}},
		"full ids":           {dlq.Query{IDs: []string{fullID("0:5:0"), fullID("0:1:0"), "0:2:0@1"}}, 0, []string{all[0], all[4]}},
		"an id in two forms": {dlq.Query{IDs: []string{fullID("0:5:0"), "0:5:0"}}, 0, all[4:5]},
	} {
		if diff := cmp.Diff(c.want, f.list(t, c.query, c.limit)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestIndexCountsAndGroups(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(1, dlq.ReasonCRMNotFound, 5, 0), f.deadLetter(2, dlq.ReasonCRMInvalid, 2, 0), f.deadLetter(3, dlq.ReasonCRMNotFound, 3, 0))
	f.broker.Produce(t, f.topics.DLQ, kafka.Message{Value: []byte("not ours")})
	f.broker.Produce(t, f.topics.Audit, kafka.Message{Value: []byte("{}")})
	x, err := f.reader.Index(t.Context(), dlq.Query{}, func(d dlq.DeadLetter) string { return string(d.Reason) })
	if err != nil {
		t.Fatal(err)
	}
	at := func(minute int) time.Time { return f.start.Add(time.Duration(minute) * time.Minute) }
	want := []dlq.Group{
		{Name: "crm_not_found", Count: 2, Oldest: at(3), Newest: at(5), Employees: 2},
		{Name: "crm_invalid", Count: 1, Oldest: at(2), Newest: at(2), Employees: 1},
	}
	if diff := cmp.Diff(want, x.Groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(dlq.Loss{Unreadable: 1, Foreign: 1}, x.Loss); diff != "" || x.Selected() != 3 {
		t.Errorf("%d selected, loss (-want +got):\n%s", x.Selected(), diff)
	}
}

// Uncommitted records are not read, and an open transaction does not block the reader.
func TestIndexReadsCommittedRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	message := func(offset int64) kafka.Message {
		return f.deadLetter(offset, dlq.ReasonCRMInvalid, int(offset), 0).Message()
	}
	aborted := f.broker.Begin(t)
	aborted.Produce(t, f.topics.DLQ, message(1))
	aborted.Abort(t)
	committed := f.broker.Begin(t)
	committed.Produce(t, f.topics.DLQ, message(2))
	committed.Commit(t)
	open := f.broker.Begin(t)
	open.Produce(t, f.topics.DLQ, message(3))
	if diff := cmp.Diff([]string{"0:2:0 open"}, f.list(t, dlq.Query{}, 0)); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	open.Abort(t)
}

func TestItemThatRetentionRemoves(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(0, dlq.ReasonCRMInvalid, 0, 0), f.deadLetter(3, dlq.ReasonCRMInvalid, 1, 0))
	x, err := f.reader.Index(t.Context(), dlq.Query{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.broker.DeleteRecords(t, f.topics.DLQ, 0, 1)
	var got []string
	for item, err := range f.reader.Items(t.Context(), x, 0, false) {
		got = append(got, fmt.Sprint(item.ID, " ", err))
	}
	want := []string{fullID("0:0:0") + " dlq: retention has removed the dead letter", fullID("0:3:0") + " <nil>"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0:3:0 open"}, f.list(t, dlq.Query{}, 0)); diff != "" {
		t.Errorf("items afterwards (-want +got):\n%s", diff)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(3, dlq.ReasonInvalidField, 1, 0), f.deadLetter(4, dlq.ReasonCRMInvalid, 1, 0), f.deadLetter(3, dlq.ReasonCRMInvalid, 7, 1))
	f.record(t, "0:3:0", dlq.ActionRedrive, 1, dlq.ResultRequested)
	f.record(t, "0:4:0", dlq.ActionDiscard, 0, dlq.ResultDone)
	f.record(t, "0:3:0", dlq.ActionRedriveResult, 1, dlq.ResultDeadLettered)
	h, err := f.reader.History(t.Context(), "0:3:0")
	if err != nil {
		t.Fatal(err)
	}
	var occurrences []string
	for _, o := range h.Occurrences {
		occurrences = append(occurrences, fmt.Sprint(o.Place, " ", o.DeadLetter.Reason, " ", len(o.DeadLetter.Value)))
	}
	if diff := cmp.Diff([]string{"0:0 invalid_field 0", "0:1 crm_invalid 0"}, occurrences); diff != "" {
		t.Errorf("occurrences (-want +got):\n%s", diff)
	}
	var audit []string
	for _, a := range h.Audit {
		audit = append(audit, string(a.Action)+" "+a.Result)
	}
	if diff := cmp.Diff([]string{"redrive requested", "redrive_result dead_lettered"}, audit); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	i := h.Item
	if i.State != dlq.StateOpen || i.Number != 1 || i.Occurrences != 2 || !i.FirstFailedAt.Equal(f.start.Add(time.Minute)) || len(i.DeadLetter.Value) == 0 {
		t.Errorf("the item is %+v", i)
	}
	for _, id := range []string{"0:5:0", "0:3:0@1"} {
		if _, err := f.reader.History(t.Context(), id); !errors.Is(err, dlq.ErrNoItem) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(1, dlq.ReasonCRMInvalid, 1, 0))
	x, err := f.reader.Index(t.Context(), dlq.Query{States: []dlq.State{dlq.StateOpen}, Reasons: []dlq.Reason{dlq.ReasonCRMInvalid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan string, 9)
	done := make(chan error, 1)
	go func() {
		done <- f.reader.Follow(ctx, x, func(i dlq.Item) error {
			seen <- x.ShortID(i.ID) + " " + string(i.DeadLetter.Reason)
			return nil
		})
	}()
	again := f.deadLetter(1, dlq.ReasonCRMInvalid, 3, 1)
	for _, c := range []struct {
		deadLetters []dlq.DeadLetter
		want        string
	}{
		{[]dlq.DeadLetter{f.deadLetter(1, dlq.ReasonCRMInvalid, 1, 0), f.deadLetter(4, dlq.ReasonCRMNotFound, 2, 0), f.deadLetter(7, dlq.ReasonCRMInvalid, 2, 0)}, "0:7:0 crm_invalid"},
		{[]dlq.DeadLetter{again, again, f.deadLetter(10, dlq.ReasonCRMInvalid, 3, 0)}, "0:1:0 crm_invalid"},
		{nil, "0:10:0 crm_invalid"},
	} {
		if len(c.deadLetters) > 0 {
			f.write(t, c.deadLetters...)
		}
		if got := <-seen; got != c.want {
			t.Errorf("saw %s, want %s", got, c.want)
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestIndexWithoutTopics(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	r := dlq.NewReader(b.Client(t), dlq.Topics{DLQ: b.Name(t), Audit: b.Name(t)})
	if _, err := r.Index(t.Context(), dlq.Query{}, nil); !isMissing(err) {
		t.Error(err)
	}
}

func isMissing(err error) bool {
	_, ok := errors.AsType[*dlq.MissingTopicError](err)
	return ok
}

func TestAuditRecord(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2)
	at := time.Date(2026, 11, 22, 8, 0, 0, 123_456_789, time.UTC)
	err := f.audit.Write(t.Context(), dlq.AuditRecord{
		At: at, Actor: "sample@host", Action: dlq.ActionPause, Subject: "membersync", Note: "two\nlines", Result: dlq.ResultDone,
		Detail: dlq.Detail{Until: "2026-11-22T09:00:00Z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	records := f.broker.ReadAll(t, f.topics.Audit)
	const want = `{"at":"2026-11-22T08:00:00.123Z","actor":"sample@host","action":"pause","subject":"membersync","note":"two lines",` +
		`"result":"done","detail":{"until":"2026-11-22T09:00:00Z"}}`
	if len(records) != 1 || string(records[0].Value) != want || string(records[0].Key) != "membersync" {
		t.Fatalf("%d records, %s: %s", len(records), records[0].Key, records[0].Value)
	}
	a, err := dlq.ParseAudit(records[0].Value)
	if err != nil || a.Note != "two lines" {
		t.Error(a, err)
	}
	for _, bad := range []string{"", "{}", "null", `{"action":7}`, "[]"} {
		if _, err := dlq.ParseAudit([]byte(bad)); !errors.Is(err, dlq.ErrAudit) || strings.Contains(err.Error(), "7") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
