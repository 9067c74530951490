package mapper_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/mapper"
)

// recordTime is the timestamp of the records in these tests.
func recordTime() time.Time { return time.Date(2026, 11, 22, 8, 0, 1, 0, time.UTC) }

func record(value string) mapper.Record {
	return mapper.Record{Topic: "in", Partition: 3, Offset: 41, Time: recordTime(), Key: []byte("E1"), Value: []byte(value)}
}

func options() mapper.Options {
	return mapper.Options{MaxRecordBytes: 1 << 20, MaxAhead: 24 * time.Hour, Zone: time.FixedZone("", 8*3600)}
}

func builtin(tb testing.TB, name string, opts mapper.Options) *mapper.Mapping {
	tb.Helper()
	m, err := mapper.Builtin(name, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// only maps a record of one employee.
func only(tb testing.TB, m *mapper.Mapping, rec mapper.Record) mapper.Result {
	tb.Helper()
	results := m.Map(rec)
	if len(results) != 1 {
		tb.Fatalf("%d results, want 1", len(results))
	}
	return results[0]
}

// envelope wraps before and after, given as JSON, into a canonical event.
func envelope(states string) string {
	return `{"eventId":"ev1","occurredAt":"2026-11-22T08:00:00.123Z","sequence":42,"employeeId":"E1","openUserId":"FSUID_TEST0001",` + states + `}`
}

// user is the wanted update as the API's JSON.
func user(u crmapi.Update) string { return string(u.AppendJSON(nil)) }

func TestBuiltinNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	_, err := mapper.Builtin("kanonical", mapper.Options{})
	if err == nil || !strings.Contains(err.Error(), "canonical-time") || !strings.Contains(err.Error(), `"kanonical"`) {
		t.Errorf("error %v, want one that names the wrong name and the known ones", err)
	}
}

func TestMapFillsTheEvent(t *testing.T) {
	t.Parallel()
	rec := record(envelope(`"before":{"position":"Sample A"},"after":{"position":"Sample B"}`))
	got := only(t, builtin(t, "canonical", options()), rec)
	if got.Fault != nil {
		t.Fatal(got.Fault)
	}
	want := mapper.Event{
		Count: 1, ID: "ev1", EmployeeID: "E1", OpenUserID: "FSUID_TEST0001", Order: "42",
		Version: "000000" + "0000000000000000042" + "1795334401000" + "00003" + "00000000000041" + "000" + "0000",
		Update:  crmapi.Update{OpenUserID: "FSUID_TEST0001"}.With(crmapi.Position, crmapi.Text("Sample B")),
	}
	if diff := cmp.Diff(want, got.Event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// TestMapStates walks what an event can say of the old and the new state.
func TestMapStates(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, states, want string }{
		{"no before states all", `"after":{"name":"Sample Person 001","position":"Sample"}`, `"name":"Sample Person 001","position":"Sample"`},
		{"null before states all", `"before":null,"after":{"name":"Sample Person 001"}`, `"name":"Sample Person 001"`},
		{"empty before states all", `"before":{},"after":{"name":"Sample Person 001"}`, `"name":"Sample Person 001"`},
		{"only what differs", `"before":{"name":"a","position":"b"},"after":{"name":"a","position":"c"}`, `"position":"c"`},
		{"only in before: unchanged", `"before":{"name":"a"},"after":{}`, ``},
		{"after before before", `"after":{"name":"b","qq":"1"},"before":{"qq":"1","name":"a"}`, `"name":"b"`},
		{"nothing differs", `"before":{"name":"a"},"after":{"name":"a"}`, ``},
		{"same in another spelling", `"before":{"name":"a"},"after":{"name":"\u0061"}`, ``},
		{"name in another spelling", `"after":{"n\u0061me":"a"}`, `"name":"a"`},
		{"clear by null", `"before":{"email":"a@example.com"},"after":{"email":null}`, `"email":""`},
		{"clear by empty text", `"before":{"qq":"1"},"after":{"qq":""}`, `"qq":""`},
		{"clear what was unknown", `"after":{"position":null,"weixin":""}`, `"position":"","weixin":""`},
		{"clear the departments", `"after":{"attachingDepartmentIds":null}`, `"attachingDepartmentIds":[]`},
		{"clear the departments by a text", `"after":{"attachingDepartmentIds":""}`, `"attachingDepartmentIds":[]`},
		{"clear the departments by a list", `"before":{"attachingDepartmentIds":[1]},"after":{"attachingDepartmentIds":[ ]}`, `"attachingDepartmentIds":[]`},
		{"was empty, is empty", `"before":{"email":"","attachingDepartmentIds":null},"after":{"email":null,"attachingDepartmentIds":[]}`, ``},
		{"set what was empty", `"before":{"email":""},"after":{"email":"a@example.com"}`, `"email":"a@example.com"`},
		{"no clear, since unchanged", `"before":{"name":null,"leaderId":null},"after":{"name":"","leaderId":null}`, ``},
		{"unfit, but unchanged", `"before":{"gender":"X"},"after":{"gender":"X"}`, ``},
		{"old value of a wrong type", `"before":{"gender":7,"mobile":{"a":[1]}},"after":{"gender":"F","mobile":"00000000001"}`, `"gender":"F","mobile":"00000000001"`},
		{"old value that is no date", `"before":{"hireDate":"soon"},"after":{"hireDate":0}`, `"hireDate":"0"`},
		{"unavailable is unchanged", `"before":{"name":"a"},"after":{"name":"__debezium_unavailable_value","hireDate":"__debezium_unavailable_value"}`, ``},
		{"unavailable before is unknown", `"before":{"name":"__debezium_unavailable_value"},"after":{"name":"a"}`, `"name":"a"`},
		{"members not of the API", `"after":{"openUserId":"FSUID_OTHER","shoeSize":1,"Name":"a","NAME":"b","mob\u0131le":"c"}`, ``},
		{"case folding of odd characters", `"after":{"\u212Anot":"a","pos\u0131tion":"b","po\u017Fition":"c"}`, ``},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(envelope(tt.states)))
			if got.Fault != nil {
				t.Fatal(got.Fault)
			}
			want := `{"openUserId":"FSUID_TEST0001"`
			if tt.want != "" {
				want += "," + tt.want
			}
			if diff := cmp.Diff(want+"}", user(got.Event.Update)); diff != "" {
				t.Errorf("update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMapIgnoresDeletions(t *testing.T) {
	t.Parallel()
	got := only(t, builtin(t, "canonical", options()), record(envelope(`"before":{"name":"a"},"after":null`)))
	if got.Fault != nil || got.Event.Ignored != "deletion" || got.Event.Update.Len() != 0 || got.Event.Version == "" {
		t.Errorf("got %+v, %v, want a deletion without an update", got.Event, got.Fault)
	}
}

// TestMapKeepsTheRecord proves that decoding in place writes nothing, and that results
// stay right when the record's bytes are used again.
func TestMapKeepsTheRecord(t *testing.T) {
	t.Parallel()
	text := envelope(`"before":{"n\u0061me":"a"},"after":{"name":"\u4e2d","attachingDepartmentIds":[1,2]}`)
	rec := record(text)
	got := only(t, builtin(t, "canonical", options()), rec)
	if string(rec.Value) != text {
		t.Error("the record's value was changed")
	}
	before := user(got.Event.Update)
	for i := range rec.Value {
		rec.Value[i] = '#'
	}
	if after := user(got.Event.Update); after != before || got.Event.ID != "ev1" {
		t.Errorf("the update reads %s after the bytes were used again", after)
	}
}

func TestMapConcurrently(t *testing.T) {
	t.Parallel()
	m := builtin(t, "canonical", options())
	values := []string{envelope(`"after":{"name":"a"}`), envelope(`"after":{"gender":"X"}`), `{"a":`, envelope(`"before":{"qq":"1"},"after":null`)}
	want := make([]string, len(values))
	for i, v := range values {
		want[i] = string(only(t, m, record(v)).AppendMapJSON(nil))
	}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i := range 400 {
				n := i % len(values)
				if got := string(m.Map(record(values[n]))[0].AppendMapJSON(nil)); got != want[n] {
					t.Fatalf("got %s, want %s", got, want[n])
				}
			}
		})
	}
}

// TestMapIDsAlone: an event whose after has nothing but ids has to be fetched; it is not taken for
// an event in which nothing changed. Data that the mapping does not read makes the difference.
func TestMapIDsAlone(t *testing.T) {
	t.Parallel()
	m := builtin(t, "canonical", options())
	wantFault(t, only(t, m, record(envelope(`"after":{"id":"E1"}`))), mapper.NeedsFetch, "map", "the value carries ids and no values")
	if got := only(t, m, record(envelope(`"after":{"id":"E1","shoeSize":1}`))); got.Fault != nil || got.Event.Update.Len() != 0 {
		t.Errorf("%+v, want it unchanged", got)
	}
}

// A path without the $ of its root begins in the employee's entry, or in the document. Where it
// finds nothing, and its first name is that of a root, the fault says what may be meant.
func TestMapPathsWithoutARoot(t *testing.T) {
	t.Parallel()
	const file = `version: 1
identity: {event_id: $event.id, employee_id: staff.no, open_user_id: $event.member}
order: {kind: sequence, from: $event.seq}
states: {after: is}
fields: {position: title}
`
	const event = `{"id":"e1","seq":1,"member":"FSUID_TEST0001","staff":{"no":"E1"},"event":{"id":"e1"},"is":{"title":"Lead"}}`
	for _, tc := range []struct{ old, now, drop, want string }{
		{"", "", "", ""},
		{"staff.no", "$item.staff.no", "", ""},
		{"staff.no", "event.staff.no", `"event":{"id":"e1"},`, "event.staff.no is missing; is $event.staff.no meant?"},
		{"after: is", "after: event.is", `"event":{"id":"e1"},`, "event.is is missing; is $event.is meant?"},
		{"from: $event.seq", "from: item.seq", "", "item.seq is missing; is $item.seq meant?"},
		{"staff.no", "event.staff.no", "", "event.staff.no is missing"}, // the document has a member of that name
		{"staff.no", "events.staff.no", "", "events.staff.no is missing"},
	} {
		got := mustParse(t, strings.Replace(file, tc.old, tc.now, 1)).Map(record(strings.Replace(event, tc.drop, "", 1)))[0]
		text := ""
		if got.Fault != nil {
			_, text, _ = strings.Cut(got.Fault.Error(), ": ")
		}
		if text != tc.want || text == "" && got.Event.EmployeeID != "E1" {
			t.Errorf("%s: fault %q, want %q", tc.now, text, tc.want)
		}
	}
}
