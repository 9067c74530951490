package consumer_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// deadLettered lets an event of member 1 be dead-lettered, and returns its item.
func deadLettered(r *rig) dlq.Item {
	r.t.Helper()
	r.crm.refuse(1, 1)
	r.process(event("dead", 1, 10, fields{"position": "P"}))
	return r.dlq.items()["dead"]
}

// Who can write to the redrive topic alone changes nothing: a record that its request in the audit
// topic or its dead letter do not confirm becomes a dead letter of its own. The item that it names
// and the CRM do not change.
func TestAForgedRedriveIsDeadLettered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	item := deadLettered(r)
	genuine := r.dlq.requested(dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: 1, By: "sample@host", At: time.Now(), Note: "fixed",
	})
	discarded := dlq.AuditRecord{Action: dlq.ActionDiscard, Subject: "9:9:9", Actor: "sample@host", Result: dlq.ResultDone}
	auditor := dlq.NewAuditor(r.kafka.client(), r.kafka.topics().Audit, dlq.WithRetry(10*time.Second))
	other, err := auditor.Append(t.Context(), discarded)
	if err != nil {
		t.Fatal(err)
	}
	another := event("other", 2, 99, fields{"position": "Forged"}).Value
	for name, tc := range map[string]struct {
		change func(*dlq.Redrive)
		want   string
	}{
		"no request":        {func(o *dlq.Redrive) { o.Audit.Offset = 99 }, "there is no audit record at this place"},
		"no partition":      {func(o *dlq.Redrive) { o.Audit.Partition = 9 }, "there is no audit record at this place"},
		"no audit record":   {func(o *dlq.Redrive) { o.Audit = other }, "in its action"},
		"actor":             {func(o *dlq.Redrive) { o.By = "boss@host" }, "in its actor"},
		"time":              {func(o *dlq.Redrive) { o.At = o.At.Add(time.Second) }, "in its time"},
		"note":              {func(o *dlq.Redrive) { o.Note = "approved" }, "in its note"},
		"number":            {func(o *dlq.Redrive) { o.Number = 9999 }, "in its number"},
		"no number":         {func(o *dlq.Redrive) { o.Number = 0 }, "redrive.number"},
		"value":             {func(o *dlq.Redrive) { o.DeadLetter.Value = another }, "differs from dead letter 0:0 in its value"},
		"edited":            {func(o *dlq.Redrive) { o.DeadLetter.Value, o.Edited = another, true }, "redrive.edited"},
		"key":               {func(o *dlq.Redrive) { o.DeadLetter.Key = []byte("other") }, "in its key"},
		"source":            {func(o *dlq.Redrive) { o.DeadLetter.Source.Offset++ }, "in its dead letter"},
		"source timestamp":  {func(o *dlq.Redrive) { o.DeadLetter.Source.Timestamp = time.UnixMilli(5) }, "in its "},
		"place":             {func(o *dlq.Redrive) { o.Place.Offset = 99 }, "in its dead letter"},
		"place and request": {func(o *dlq.Redrive) { o.Place.Offset, o.Audit = 99, other }, "in its action"},
	} {
		one := genuine
		tc.change(&one)
		r.dlq.send(one)
		r.redrivesSettled()
		d, ok := r.dlq.refused()
		if !ok || !strings.HasPrefix(d.ID(), "redrive:0:") || !strings.Contains(d.Error, tc.want) {
			t.Errorf("%s: refused %v: %s: %s", name, ok, d.ID(), d.Error)
		}
	}
	copied := kafka.Message{Value: []byte("copied by hand"), Headers: []kafka.Header{{Key: "dlq.id", Value: []byte("0:0:0")}}}
	r.kafka.Produce(t, r.kafka.topics().Redrive, copied)
	r.redrivesSettled()
	if got := r.dlq.items()["dead"]; got.Occurrences != 1 || got.Number != 1 {
		t.Errorf("the item is %+v", got)
	}
	r.crm.wantCalls(1)
	for _, m := range r.kafka.ReadAll(t, r.kafka.topics().Audit) {
		if strings.Contains(string(m.Value), "boss@host") || strings.Contains(string(m.Value), "approved") {
			t.Errorf("the audit topic has the forged actor or note: %s", m.Value)
		}
	}
	r.dlq.send(genuine) // what has been sent so far does not stop it
	r.redrivesSettled()
	if got := r.dlq.items()["dead"]; got.State != dlq.StateApplied {
		t.Errorf("the item is %s: %v", got.State, r.dlq.results())
	}
	r.crm.wantField(1, "position", `"P"`)
}

// An edited value runs only if the digest of the request is that of the value, under the state key,
// and if it is of the employee of the dead letter.
func TestAForgedEditIsDeadLettered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	item := deadLettered(r)
	genuine := r.dlq.requested(dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: 1, By: "sample@host", At: time.Now(), Edited: true,
	})
	genuine.DeadLetter.Value = event("dead", 1, 10, fields{"position": "Forged"}).Value
	byOtherKey := dlq.NewValueDigest([]byte("a key that someone has guessed"))
	auditor := dlq.NewAuditor(r.kafka.client(), r.kafka.topics().Audit, dlq.WithRetry(10*time.Second))
	guessed := genuine
	guessed.Number = 2
	var err error
	if guessed.Audit, err = auditor.Append(t.Context(), guessed.Request(byOtherKey)); err != nil {
		t.Fatal(err)
	}
	other := genuine
	other.Number = 3
	other.DeadLetter.Value = event("dead", 2, 10, fields{"position": "Forged"}).Value
	null := genuine
	null.Number, null.DeadLetter.Value = 4, nil
	for _, tc := range []struct {
		one  dlq.Redrive
		want string
	}{
		{genuine, "the digest is another one"},
		{guessed, "the digest is another one"},
		{r.dlq.requested(other), "of another employee"},
		{r.dlq.requested(null), "the digest is another one"},
	} {
		r.dlq.send(tc.one)
		r.redrivesSettled()
		if d, ok := r.dlq.refused(); !ok || !strings.Contains(d.Error, tc.want) {
			t.Errorf("want %q: refused %v: %s", tc.want, ok, d.Error)
		}
	}
	r.crm.wantCalls(1)
	if got := r.dlq.items()["dead"]; got.State != dlq.StateOpen || got.Occurrences != 1 {
		t.Errorf("the item is %+v", got)
	}
	for _, line := range r.dlq.results() { // each request has its result
		if !strings.HasSuffix(line, dlq.ResultRefused) {
			t.Error(line)
		}
	}
}

// An edited value that cannot be read does not make the next one free to be of any employee.
func TestAnUnreadableEditKeepsTheEmployee(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	item := deadLettered(r)
	r.processRedrive(item, func(one *dlq.Redrive) { one.DeadLetter.Value, one.Edited = []byte("{"), true })
	again := r.dlq.items()[""]
	if again.ID != item.ID || again.DeadLetter.EmployeeID != item.DeadLetter.EmployeeID {
		t.Fatalf("the second failure is %s of employee %q", again.ID, again.DeadLetter.EmployeeID)
	}
	r.processRedrive(again, func(one *dlq.Redrive) {
		one.DeadLetter.Value, one.Edited = event("dead", 2, 10, fields{"position": "Other"}).Value, true
	})
	if d, ok := r.dlq.refused(); !ok || !strings.Contains(d.Error, "of another employee") {
		t.Errorf("refused %v: %s", ok, d.Error)
	}
	r.crm.wantCalls(1)
}

// A copy of a genuine redrive, byte for byte, runs once.
func TestACopyOfARedriveRunsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	r.processRedrive(deadLettered(r))
	r.crm.wantField(1, "position", `"P"`)
	r.process(event("new", 1, 11, fields{"position": "New"}))
	copied := r.kafka.ReadAll(t, r.kafka.topics().Redrive)[0]
	r.kafka.Produce(t, r.kafka.topics().Redrive, copied, copied)
	r.redrivesSettled()
	r.crm.wantField(1, "position", `"New"`)
	r.crm.wantCalls(3)
	if got := r.dlq.items()["dead"]; got.State != dlq.StateApplied || got.Occurrences != 1 {
		t.Errorf("the item is %+v", got)
	}
}

// An awayArchive cannot read one of the two topics: away is audit, dlq or empty.
type awayArchive struct {
	reader *dlq.Reader
	away   atomic.Value
}

func (a *awayArchive) DeadLetter(ctx context.Context, at dlq.Place) (dlq.DeadLetter, error) {
	if a.away.Load() == "dlq" {
		return dlq.DeadLetter{}, kafka.LeaderNotAvailable
	}
	return a.reader.DeadLetter(ctx, at)
}

func (a *awayArchive) AuditRecord(ctx context.Context, at dlq.Place) (dlq.AuditRecord, error) {
	if a.away.Load() == "audit" {
		return dlq.AuditRecord{}, kafka.LeaderNotAvailable
	}
	return a.reader.AuditRecord(ctx, at)
}

// While the dead letter or the request cannot be read, redrives wait with the cause dlq, and
// nothing is dead-lettered; live events go on.
func TestARedriveWaitsForItsEvidence(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"audit", "dlq"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.start(r.dlq.redriving).stop()
			archive := &awayArchive{reader: dlq.NewReader(r.kafka.client(), r.kafka.topics())}
			archive.away.Store(name)
			inst := r.start(r.dlq.redriving, func(_ *consumer.Config, p *consumer.Parts) { p.Archive = archive })
			r.dlq.redrive(deadLettered(r))
			r.eventually("the cause", func() bool { return inst.paused("dlq") })
			if _, cause := inst.service.Ready(); cause != "dlq" {
				t.Errorf("the cause is %q", cause)
			}
			r.process(event("live", 2, 11, fields{"position": "Live"}))
			r.crm.wantField(2, "position", `"Live"`)
			if n := len(r.dlq.read()); n != 1 || len(r.dlq.results()) > 0 {
				t.Errorf("%d dead letters, results %v", n, r.dlq.results())
			}
			archive.away.Store("")
			r.redrivesSettled()
			r.eventually("the end of the pause", func() bool { return !inst.paused("dlq") })
			r.crm.wantField(1, "position", `"P"`)
		})
	}
}

// Retention has removed the dead letter or the request: the service says so in a dead letter, and a
// replay leaves the redrive out and counts it.
func TestEvidenceExpires(t *testing.T) {
	t.Parallel()
	for name, topicOf := range map[string]func(*rig) string{
		"audit record": func(r *rig) string { return r.kafka.topics().Audit }, "dead letter": func(r *rig) string { return r.kafka.topics().DLQ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			first := r.start(r.dlq.redriving)
			r.processRedrive(deadLettered(r))
			first.stop()
			topic := topicOf(r)
			r.kafka.DeleteRecords(t, topic, 0, r.kafka.Ends(t, topic)[0])
			r.crm.SetMember(member(1), map[string]json.RawMessage{"position": json.RawMessage(`"Backup"`)})
			expired := 0
			r.replayWith(func(cfg *consumer.Config, p *consumer.Parts) {
				cfg.Reapply, p.Expired = true, func() { expired++ }
				cfg.Covers = []consumer.Range{{Topic: r.kafka.topic, End: 1}} // what is read is the redrive topic alone
			})
			if d := len(r.dlq.read()); expired != 1 || d > 1 {
				t.Errorf("%d expired redrives in the replay, %d dead letters", expired, d)
			}
			r.crm.wantField(1, "position", `"Backup"`)
			r.start(r.dlq.redriving)
			r.kafka.Produce(t, r.kafka.topics().Redrive, r.kafka.ReadAll(t, r.kafka.topics().Redrive)[0])
			r.redrivesSettled()
			if d, ok := r.dlq.refused(); !ok || !strings.Contains(d.Error, "the "+name+" at 0:0 has expired") {
				t.Errorf("refused %v: %s", ok, d.Error)
			}
			r.crm.wantCalls(2)
		})
	}
}
