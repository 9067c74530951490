package mapper_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"membersync/mapper"
)

// listing maps lists of employees; ids of the event are next to the list, old values in a list of
// the same length.
const listing = `
version: 1
envelope: {list: $event.l}
identity: {event_id: $event.id, employee_id: $item.emp, open_user_id: $item.uid}
order: {kind: sequence, from: $event.seq}
states: {after: $item, before: "$event.old[#]"}
fields: {qq: qq}
`

func listOf(n int) string {
	var now, old []string
	for i := range n {
		now = append(now, fmt.Sprintf(`{"emp":"E%d","uid":"FSUID_TEST%04d","qq":"%d"}`, i, i, i))
		old = append(old, fmt.Sprintf(`{"qq":"%d"}`, i-i%2))
	}
	return `{"id":"1","seq":7,"l":[` + strings.Join(now, ",") + `],"old":[` + strings.Join(old, ",") + `]}`
}

// TestListsOfEveryLength: each employee is mapped with its own old values, in a short list and in a
// long one.
func TestListsOfEveryLength(t *testing.T) {
	t.Parallel()
	m := mustParse(t, listing)
	for _, n := range []int{1, 8, 9, 1000} {
		results := m.Map(record(listOf(n)))
		if len(results) != n {
			t.Fatalf("%d results of %d", len(results), n)
		}
		for i, r := range results {
			want := "unchanged"
			if i%2 == 1 {
				want = fmt.Sprintf(`update {"openUserId":"FSUID_TEST%04d","qq":"%d"}`, i, i)
			}
			if got := told(r); got != want || r.Event.Index != i || r.Event.Count != n || r.Event.ID != "1" || r.Event.EmployeeID != fmt.Sprintf("E%d", i) {
				t.Fatalf("%d of %d: %s %+v, want %s", i, n, got, r.Event, want)
			}
			if i > 0 && r.Event.Version <= results[i-1].Event.Version {
				t.Fatalf("%d of %d is not newer than the one before", i, n)
			}
		}
	}
}

func TestListsThatAreTooLong(t *testing.T) {
	t.Parallel()
	batch := `[` + strings.Repeat(`{"specversion":"1.0"},`, 1000) + `{"specversion":"1.0"}]`
	for name, got := range map[string][]mapper.Result{
		"list":  mustParse(t, listing).Map(record(listOf(1001))),
		"batch": builtin(t, "cloudevents", mapper.Options{}).Map(record(batch)),
	} {
		if len(got) != 1 || told(got[0]) != "whole invalid_event" || !strings.Contains(got[0].Fault.Text, "1000") {
			t.Errorf("%s: %d results, %v", name, len(got), got[0].Fault)
		}
	}
}

// TestOrderByRecordNeedsATimestamp: without one there is nothing that orders the events.
func TestOrderByRecordNeedsATimestamp(t *testing.T) {
	t.Parallel()
	m := mustParse(t, strings.Replace(minimal("fields: {qq: qq}"), "order: {kind: sequence, from: $event.seq}", "order: {kind: none, epoch: 3}", 1))
	rec := record(`{"id":"1","emp":"E1","uid":"U","new":{"qq":"1"}}`)
	older, newer := rec, rec
	older.Offset = 99
	newer.Time = rec.Time.Add(time.Millisecond)
	if a, b := m.Map(older)[0].Event.Version, m.Map(newer)[0].Event.Version; a >= b || !strings.HasPrefix(string(a), "000003"+strings.Repeat("0", 19)) {
		t.Errorf("%s, %s", a, b)
	}
	rec.Time = time.UnixMilli(-1)
	if got := told(m.Map(rec)[0]); got != "rejected invalid_event" {
		t.Error(got)
	}
}

// TestFileConcurrently: one mapping serves many goroutines.
func TestFileConcurrently(t *testing.T) {
	t.Parallel()
	for name, file := range corpus(t) {
		for range 4 {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for i := range file.Cases {
					file.Cases[i].check(t, file)
				}
			})
		}
	}
}

// TestResultsOutliveTheRecord: nothing of a result changes when the record's bytes, or the
// mapping's own, are used again.
func TestResultsOutliveTheRecord(t *testing.T) {
	t.Parallel()
	for name, file := range corpus(t) {
		for i := range file.Cases {
			c := &file.Cases[i]
			rec := c.record(t, file)
			results := file.run(file.mapping(t, c), rec)
			for i := range rec.Value {
				rec.Value[i] = '#'
			}
			file.run(file.mapping(t, c), record(`{"x":["#########################################"]}`))
			for i, r := range results {
				if got := told(r); got != c.wanted()[i] {
					t.Errorf("%s: %s: %s, want %s", name, c.Name, got, c.wanted()[i])
				}
			}
		}
	}
}
