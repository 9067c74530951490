package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// sampleAt is the time of the records.
func sampleAt() time.Time { return time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC) }

// sampleTime ends the full ids of their dead letters.
const sampleTime = "@1795334400000"

// An hrSystem produces events to the source topic.
type hrSystem struct {
	broker *kafkatest.Broker
	topic  string
	at     time.Time // of the records
}

// send produces a record as it is.
func (h *hrSystem) send(t *testing.T, key, value string) {
	t.Helper()
	h.broker.Produce(t, h.topic, kafka.Message{Key: []byte(key), Value: []byte(value), Time: h.at})
}

// change produces an event of an employee.
func (h *hrSystem) change(t *testing.T, sequence, employee int, after string) {
	t.Helper()
	h.send(t, fmt.Sprintf("E%d", employee),
		fmt.Sprintf(`{"eventId":"ev-%d","sequence":%[1]d,"employeeId":"E%d","openUserId":"FSUID_TEST%[2]d","after":%s}`, sequence, employee, after))
}

// event is a canonical event that states two fields; its values must not be seen.
func event(offset int64, position string) string {
	return fmt.Sprintf(`{"eventId":"ev-%d","sequence":%d,"employeeId":"E%d","openUserId":"FSUID_TEST%d","after":{"position":%q,"qq":"needle-qq"}}`,
		offset, offset+1, offset, offset, position)
}

// ownTopics are the topics of membersync, read and written as another program would.
type ownTopics struct {
	dlq.Topics
	broker *kafkatest.Broker
}

// deadLetter is that of the event at an offset of the source topic; minute is when it failed.
func (o *ownTopics) deadLetter(offset int64, reason dlq.Reason, minute, redrives int) dlq.DeadLetter {
	at := sampleAt().Add(time.Duration(minute) * time.Minute)
	return dlq.DeadLetter{
		Key: fmt.Appendf(nil, "E%d", offset), Value: []byte(event(offset, "needle-position")),
		Headers: []dlq.Header{{Key: "trace", Value: []byte("needle-header")}},
		Source:  dlq.Source{Topic: o.Source, Partition: 0, Offset: offset, Timestamp: sampleAt()},
		Reason:  reason, Error: "what was wrong", CRMCode: "100001", CRMTraceID: "crm-1", ThirdTraceID: "third-1",
		EventID: fmt.Sprintf("ev-%d", offset), EmployeeID: fmt.Sprintf("E%d", offset), Count: 1, Attempts: 1,
		FirstFailedAt: at, FailedAt: at, Group: "membersync", Version: "v1", Redrives: redrives,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func (o *ownTopics) write(t *testing.T, all ...dlq.DeadLetter) {
	t.Helper()
	var messages []kafka.Message
	for _, l := range all {
		messages = append(messages, l.Message())
	}
	o.broker.Produce(t, o.DLQ, messages...)
}

func (o *ownTopics) deadLetters(t *testing.T) (all []dlq.DeadLetter) {
	t.Helper()
	for _, m := range o.broker.ReadAll(t, o.DLQ) {
		l, err := dlq.Parse(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// records parses the audit topic.
func (o *ownTopics) records(t *testing.T) (all []dlq.AuditRecord) {
	t.Helper()
	for _, m := range o.broker.ReadAll(t, o.Audit) {
		a, err := dlq.ParseAudit(m.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// audit returns "action subject result actor note" of the audit records, by partition.
func (o *ownTopics) audit(t *testing.T) (lines []string) {
	t.Helper()
	for _, a := range o.records(t) {
		lines = append(lines, strings.Join([]string{string(a.Action), a.Subject, a.Result, a.Actor, a.Note}, " "))
	}
	return lines
}

// results are the audit records with the results of redrives.
func (o *ownTopics) results(t *testing.T) []dlq.AuditRecord {
	t.Helper()
	return slices.DeleteFunc(o.records(t), func(a dlq.AuditRecord) bool { return a.Action != dlq.ActionRedriveResult })
}

// requested is the redrive of a dead letter as it stands in the DLQ, with its request in the audit
// topic.
func (o *ownTopics) requested(t *testing.T, deadLetter kafka.Message, number int) dlq.Redrive {
	t.Helper()
	l, err := dlq.Parse(deadLetter)
	if err != nil {
		t.Fatal(err)
	}
	one := dlq.Redrive{
		DeadLetter: l, Place: dlq.Place{Partition: deadLetter.Partition, Offset: deadLetter.Offset}, Number: number,
		By: "sample@host", At: time.Now(), Note: "by hand",
	}
	auditor := dlq.NewAuditor(o.broker.ClientLooking(t, 2*time.Second), o.Audit, dlq.WithRetry(10*time.Second))
	if one.Audit, err = auditor.Append(t.Context(), one.Request(nil)); err != nil {
		t.Fatal(err)
	}
	return one
}
