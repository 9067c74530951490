package mapper_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

// TestMapInvalidEvent takes a good event and spoils one required part of it.
func TestMapInvalidEvent(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, from, to, want string }{
		{"no event id", `"eventId":"ev1",`, ``, "eventId is missing"},
		{"null event id", `"ev1"`, `null`, "eventId is the JSON null, not a text or an integer (byte 11)"},
		{"empty event id", `"ev1"`, `""`, "eventId is empty"},
		{"blank event id", `"ev1"`, `" \t\u00a0"`, "eventId is empty"},
		{"list as event id", `"ev1"`, `["ev1"]`, "eventId is a list, not a text or an integer"},
		{"fraction as event id", `"ev1"`, `1.5`, "eventId is not an integer"},
		{"endless event id", `"ev1"`, `1e999999999`, "eventId is out of range"},
		{"long event id", `ev1`, strings.Repeat("x", 1025), "eventId is longer than 1024 bytes"},
		{"no employee id", `"employeeId":"E1",`, ``, "employeeId is missing"},
		{"employee id in other case", `employeeId`, `EmployeeId`, `employeeId is missing; "EmployeeId" is another name`},
		{"employee id in snake case", `employeeId`, `employee_id`, `employeeId is missing; "employee_id" is another name`},
		{"employee id with a long s", `"sequence"`, `"\u017Fequence"`, `sequence is missing; "\u017fequence" is another name`},
		{"employee id after other names", `"eventId"`, `"x":{"eventID":[1]},"event-id"`, `eventId is missing; "event-id" is another name`},
		{"boolean employee id", `"E1"`, `true`, "employeeId is true or false"},
		{"no openUser id", `"openUserId":"FSUID_TEST0001",`, ``, "openUserId is missing"},
		{"object as openUser id", `"FSUID_TEST0001"`, `{"id":1}`, "openUserId is an object"},
		{"placeholder as openUser id", `"FSUID_TEST0001"`, `"__debezium_unavailable_value"`, "openUserId is Debezium's placeholder of an unchanged value"},
		{"no sequence", `"sequence":42,`, ``, "sequence is missing"},
		{"null sequence", `42`, `null`, "sequence is the JSON null, not an integer"},
		{"negative sequence", `42`, `-1`, "sequence is negative"},
		{"negative text sequence", `42`, `"-1"`, "sequence is not an integer"},
		{"empty sequence", `42`, `""`, "sequence is not an integer"},
		{"fraction as sequence", `42`, `42.5`, "sequence is not an integer"},
		{"sequence of 10^19", `42`, `10000000000000000000`, "sequence is out of range"},
		{"sequence of 10^19 as text", `42`, `"10000000000000000000"`, "sequence is out of range"},
		{"huge sequence", `42`, `1e99999999999999999999`, "sequence is out of range"},
		{"tiny sequence", `42`, `1e-99999999999999999999`, "sequence is not an integer"},
		{"text of a time as sequence", `42`, `"2026-11-22"`, "sequence is not an integer"},
		{"no after", `,"after":{"name":"b"}`, ``, "after is missing"},
		{"After", `"after"`, `"After"`, `after is missing; "After" is another name`},
		{"null after, no before", `"before":{"name":"a"},"after":{"name":"b"}`, `"after":null`, "after is null, and there is no before"},
		{"null after, null before", `"before":{"name":"a"},"after":{"name":"b"}`, `"before":null,"after":null`, "after is null, and there is no before"},
		{"list as after", `{"name":"b"}`, `[]`, "after is a list, not an object"},
		{"text as after", `{"name":"b"}`, `"{}"`, "after is a text, not an object"},
		{"text as before", `{"name":"a"}`, `"{}"`, "before is a text, not an object"},
		{"list as before", `{"name":"a"}`, `[]`, "before is a list, not an object"},
	}
	m := builtin(t, "canonical", options())
	good := envelope(`"before":{"name":"a"},"after":{"name":"b"}`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the test replaces %q, which is not there", tt.from)
			}
			got := only(t, m, record(strings.Replace(good, tt.from, tt.to, 1)))
			wantFault(t, got, mapper.InvalidEvent, "decode", tt.want)
		})
	}
}

// wantFault checks a fault of one employee's event.
func wantFault(t *testing.T, got mapper.Result, reason mapper.Reason, stage, text string) {
	t.Helper()
	switch {
	case got.Fault == nil:
		t.Fatalf("no fault, want %s: %s", reason, text)
	case got.Fault.Reason != reason || got.Fault.Whole || got.Fault.Stage() != stage:
		t.Errorf("fault %+v at stage %s, want %s at %s", got.Fault, got.Fault.Stage(), reason, stage)
	case !strings.HasPrefix(got.Fault.Error(), string(reason)+": "+text):
		t.Errorf("error %q, want it to begin with the reason and %q", got.Fault, text)
	case got.Event.Count != 1 || got.Event.Update.Len() != 0:
		t.Errorf("event %+v, want one of one, without an update", got.Event)
	}
}

// TestMapIdentifiesWhatItRejects: a dead letter is found by what could be read.
func TestMapIdentifiesWhatItRejects(t *testing.T) {
	t.Parallel()
	m := builtin(t, "canonical", options())
	got := only(t, m, record(`{"eventId":7,"employeeId":null,"openUserId":"FSUID_TEST0001","sequence":"x","after":3}`))
	want := mapper.Event{Count: 1, ID: "7", OpenUserID: "FSUID_TEST0001"}
	if diff := cmp.Diff(want, got.Event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	wantFault(t, got, mapper.InvalidEvent, "decode", "employeeId is the JSON null")

	got = only(t, m, record(envelope(`"after":{"gender":"X"}`)))
	if got.Event.ID != "ev1" || got.Event.EmployeeID != "E1" || got.Event.Order != "42" || got.Event.Version == "" {
		t.Errorf("event %+v, want all of its identity", got.Event)
	}
}

// TestMapIDs: ids survive exactly, and a number is taken where it is exact.
func TestMapIDs(t *testing.T) {
	t.Parallel()
	tests := []struct{ json, want string }{
		{`"007"`, "007"},
		{`" E 1 "`, " E 1 "},
		{`"\u4e2d\/\n\u0000"`, "中/\n\x00"},
		{`7`, "7"},
		{`-7`, "-7"},
		{`10042.0`, "10042"},
		{`1e3`, "1000"},
		{`1.5E+1`, "15"},
		{`150e-1`, "15"},
		{`0.0e-99999999999999999999`, "0"},
		{`-0`, "0"},
		{`9007199254740993`, "9007199254740993"},
		{`123456789012345678901234567890`, "123456789012345678901234567890"},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(`{"eventId":`+tt.json+`,"employeeId":`+tt.json+`,"openUserId":`+tt.json+`,"sequence":1,"after":{}}`))
			if got.Fault != nil {
				t.Fatal(got.Fault)
			}
			if e := got.Event; e.ID != tt.want || e.EmployeeID != tt.want || e.OpenUserID != tt.want || e.Update.OpenUserID != tt.want {
				t.Errorf("ids %q, %q, %q, want %q", e.ID, e.EmployeeID, e.OpenUserID, tt.want)
			}
		})
	}
}

// TestMapReadsNoUnknownName: with no likeness to a required name, a name is not repeated.
func TestMapReadsNoUnknownName(t *testing.T) {
	t.Parallel()
	got := only(t, builtin(t, "canonical", options()), record(`{"canary":1,"e_m_p_l_o_y_e_e_I_d__________":2,"evntId":3}`))
	wantFault(t, got, mapper.InvalidEvent, "decode", "eventId is missing")
	if got.Fault.Text != "is missing" {
		t.Errorf("text %q, want no other name in it", got.Fault.Text)
	}
}
