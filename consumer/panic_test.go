package consumer_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// A panickingTable panics for keys that ask for it, with a value that holds the key.
type panickingTable struct{}

// panicNumber is a value that would stand in the text of a bounds error, and among the arguments of
// a stack.
const panicNumber = 13800000001

func (panickingTable) Lookup(key string) (string, bool) {
	switch {
	case strings.HasPrefix(key, "text"):
		panic("no entry for " + key)
	case strings.HasPrefix(key, "error"):
		panic(fmt.Errorf("no entry for %s: %w", key, errors.ErrUnsupported))
	case strings.HasPrefix(key, "index"):
		return indexed(key, panicNumber), true
	case strings.HasPrefix(key, "nil"):
		var table *struct{ entries map[string]string }
		return table.entries[key], true
	}
	return "FSUID_" + key, true
}

//go:noinline
func indexed(key string, at int) string { return key[at:] }

const panicking = `
version: 1
identity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: {from: {jq: '.openUserId | ascii_downcase'}, lookup: members}}
order: {kind: sequence, from: $event.sequence}
states: {after: $event.after}
lookups: {members: {file: members.csv}}
fields: {position: position}
`

// panicsAsReferences is a mapper that panics when it is asked for references, too.
type panicsAsReferences struct{ *mapper.Mapping }

func (m panicsAsReferences) References(rec mapper.Record) []mapper.Reference {
	if bytes.Contains(rec.Value, []byte("references-needle")) {
		panic(rec)
	}
	return m.Mapping.References(rec)
}

func panickingMapper(t *testing.T) consumer.Mapper {
	t.Helper()
	base, err := mapper.Parse("panicking.yaml", []byte(panicking), mapper.Options{MaxRecordBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	with, err := base.WithTables(map[string]mapper.Table{"members": panickingTable{}})
	if err != nil {
		t.Fatal(err)
	}
	return panicsAsReferences{with}
}

// A record that makes the mapper panic, in whatever way, is a malformed dead letter with its bytes,
// and the records after it are mapped as ever. The log has the stack. Log, error and headers hold
// no value of the record.
func TestAPanicOfTheMapperIsADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	m := panickingMapper(t)
	bad := []string{"text-needle", "error-needle", "index-needle", "nil-needle", "references-needle"}
	for i, kind := range bad {
		r.kafka.produce(message{Key: []byte(kind), Value: fmt.Appendf(nil,
			`{"eventId":"needle-%d","sequence":1,"employeeId":"needle","openUserId":%q,"after":{"position":"needle"}}`, i, kind)})
		r.kafka.produce(message{Value: fmt.Appendf(nil,
			`{"eventId":"good-%d","sequence":1,"employeeId":"E1","openUserId":"good%d","after":{"position":"Good"}}`, i, i)})
	}
	r.start(func(cfg *consumer.Config, p *consumer.Parts) { cfg.StormShare, p.Mapper = 0, m })
	r.settled()
	var keys []string
	for _, d := range r.dlq.read() {
		keys = append(keys, string(d.Key))
		const text = "malformed: the record makes the mapper panic; the log has the stack"
		if d.Reason != dlq.ReasonMalformed || d.Stage != dlq.StageDecode || !d.Whole || d.Error != text || d.EventID+d.EmployeeID != "" {
			t.Errorf("dead letter %+v", d)
		}
		if !bytes.Contains(d.Value, d.Key) {
			t.Errorf("%s: its value is not kept", d.ID())
		}
		for _, h := range d.Message().Headers {
			if bytes.Contains(h.Value, []byte("needle")) {
				t.Errorf("header %s: %s", h.Key, h.Value)
			}
		}
	}
	slices.Sort(keys)
	slices.Sort(bad)
	if !slices.Equal(keys, bad) {
		t.Errorf("dead letters of %v", keys)
	}
	for i := range bad {
		r.wantOutcomes(fmt.Sprintf("good-%d", i), consumer.Applied)
	}
	log := r.logs.String()
	for _, want := range []string{
		`"level":"ERROR","msg":"mapper panicked"`, "panickingTable.Lookup", "membersync/mapper.(*resolver).look", "panic_test.go:",
		`"panic":"a value of type string"`, `"panic":"runtime error: slice bounds out of range [#:#]"`,
		`"panic":"a value of type *fmt.wrapError"`, `"panic":"runtime error: invalid memory address or nil pointer dereference"`, `"panic":"a value of type mapper.Record"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	for _, not := range []string{"needle", fmt.Sprint(panicNumber), fmt.Sprintf("%x", panicNumber)} {
		if strings.Contains(log, not) {
			t.Errorf("the log holds %s", not)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
