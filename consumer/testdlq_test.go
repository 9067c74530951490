package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/dlq"
)

// A testDLQ is the dead-letter topic with the redrives of its dead letters. It does what an
// operator's commands do.
type testDLQ struct {
	t     *testing.T
	kafka *testKafka
}

// read returns the content of the dead-letter topic.
func (d *testDLQ) read() []dlq.DeadLetter {
	d.t.Helper()
	var all []dlq.DeadLetter
	for _, m := range d.kafka.ReadAll(d.t, d.kafka.topics().DLQ) {
		l, err := dlq.Parse(m)
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// wantCount checks the number of dead letters.
func (d *testDLQ) wantCount(want int) {
	d.t.Helper()
	if n := len(d.read()); n != want {
		d.t.Errorf("%d dead letters, want %d", n, want)
	}
}

// rejections returns the reasons of the dead letters, by event id.
func (d *testDLQ) rejections() map[string]dlq.Reason {
	d.t.Helper()
	reasons := map[string]dlq.Reason{}
	for _, l := range d.read() {
		reasons[l.EventID] = l.Reason
	}
	return reasons
}

// unread returns the dead letters that hold no record, as "partition:offset-last error", sorted:
// those of two lanes are written in any order.
func (d *testDLQ) unread() (list []string) {
	d.t.Helper()
	for _, l := range d.read() {
		if l.Key != nil || l.Value != nil || l.Headers != nil || !l.Whole || l.Reason != dlq.ReasonOversized {
			d.t.Errorf("dead letter %s: %+v", l.ID(), l)
		}
		list = append(list, fmt.Sprintf("%d:%d-%d %s", l.Source.Partition, l.Source.Offset, l.LastOffset, l.Error))
	}
	slices.Sort(list)
	return list
}

// items returns the dead letters with their states, by event id.
func (d *testDLQ) items() map[string]dlq.Item {
	d.t.Helper()
	reader := dlq.NewReader(d.kafka.client(), d.kafka.topics())
	s, err := reader.Index(d.t.Context(), dlq.Query{}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	items := map[string]dlq.Item{}
	for item, err := range reader.Items(d.t.Context(), s, 0, true) {
		if err != nil {
			d.t.Fatal(err)
		}
		items[item.DeadLetter.EventID] = item
	}
	return items
}

// redriving lets a service consume the redrive topic.
func (d *testDLQ) redriving(cfg *consumer.Config, parts *consumer.Parts) {
	client := d.kafka.client()
	cfg.Redrives = d.kafka.topics().Redrive
	parts.Archive = dlq.NewReader(client, d.kafka.topics())
	parts.Audit = dlq.NewAuditor(client, d.kafka.topics().Audit, dlq.WithRetry(10*time.Second))
	parts.EditDigest = editDigest()
}

// editDigest is that of edited values, under the state key of the tests.
func editDigest() dlq.ValueDigest { return dlq.NewValueDigest([]byte("a state key made up for tests")) }

// redrive requests a redrive of the latest dead letter of an item in the audit topic, and writes it
// to the redrive topic.
func (d *testDLQ) redrive(item dlq.Item, changes ...func(*dlq.Redrive)) {
	d.t.Helper()
	one := dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: item.Number + 1,
		By: "sample@host", At: time.Now(), Note: "fixed",
	}
	for _, c := range changes {
		c(&one)
	}
	d.send(d.requested(one))
}

// requested writes the request of a redrive.
func (d *testDLQ) requested(one dlq.Redrive) dlq.Redrive {
	d.t.Helper()
	auditor := dlq.NewAuditor(d.kafka.client(), d.kafka.topics().Audit, dlq.WithRetry(10*time.Second))
	var err error
	if one.Audit, err = auditor.Append(d.t.Context(), one.Request(editDigest())); err != nil {
		d.t.Fatal(err)
	}
	return one
}

// send writes a redrive to the redrive topic.
func (d *testDLQ) send(one dlq.Redrive) {
	d.t.Helper()
	redriver := dlq.NewRedriver(d.kafka.client(), d.kafka.topics().Redrive, dlq.WithRetry(10*time.Second))
	if err := redriver.Write(d.t.Context(), one); err != nil {
		d.t.Fatal(err)
	}
}

// results returns the results of redrives in the audit topic as "subject number result", sorted.
func (d *testDLQ) results() []string {
	d.t.Helper()
	var lines []string
	for _, m := range d.kafka.ReadAll(d.t, d.kafka.topics().Audit) {
		a, err := dlq.ParseAudit(m.Value)
		if err == nil && a.Action == dlq.ActionRedrive {
			continue
		}
		if err != nil || a.Action != dlq.ActionRedriveResult {
			d.t.Errorf("an unexpected audit record: %s", m.Value)
		}
		lines = append(lines, fmt.Sprintf("%s %d %s", a.Subject, a.Detail.Number, a.Result))
	}
	slices.Sort(lines)
	return lines
}

// discard records that an operator discarded a dead letter.
func (d *testDLQ) discard(item dlq.Item) {
	d.t.Helper()
	record := dlq.AuditRecord{
		Actor: "sample@host", Action: dlq.ActionDiscard, Subject: item.ID, Note: "wrong", Result: dlq.ResultDone,
		Detail: dlq.Detail{Number: item.Number},
	}
	if err := dlq.NewAuditor(d.kafka.client(), d.kafka.topics().Audit).Write(d.t.Context(), record); err != nil {
		d.t.Fatal(err)
	}
}

// refused returns the latest dead letter of a record of the redrive topic; false: it is of another
// record.
func (d *testDLQ) refused() (latest dlq.DeadLetter, ok bool) {
	d.t.Helper()
	end := d.kafka.Ends(d.t, d.kafka.topics().Redrive)[0]
	for _, l := range d.read() {
		if l.Reason == dlq.ReasonInvalidRedrive && l.Source.Offset == end-1 {
			return l, true
		}
	}
	return latest, false
}
