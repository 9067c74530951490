package corpus_test

import (
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
)

// The checker distinguishes what a record states about a field from other values of the record, and
// forms of the value from other values.
func TestCheckerRefuses(t *testing.T) {
	t.Parallel()
	s := &source{name: "test", lookups: map[string]map[string]string{"members": {"E1": "FSUID_TEST0001", "E2": "FSUID_TEST0002"}}, mapping: []byte(`
version: 1
zone: Asia/Shanghai
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: {from: $event.emp, lookup: members}}
order: {kind: none}
states: {after: $event.new, before: $event.old}
lookups: {members: {redis: m}, units: {table: {A: 7}}}
defaults: {null: clear, empty: ignore, trim: true}
fields:
  position: title
  fullName: {concat: [last, first], separator: " "}
  gender: {from: sex, male: [1], female: [2]}
  mobile: {from: cell, as: phone, country: "86"}
  mainDepartmentId: {from: unit, lookup: units}
  attachingDepartmentIds: {from: units, split: ";"}
  hireDate: {from: hired, unit: s}
  leaderId: {from: boss, lookup: members}
  qq: {const: "1"}
`)}
	r := readRules(t, s)
	statement := stated(kafka.Message{Value: []byte(`{"emp":"E1","boss":"E2","title":"no","by":"E3",
		"old":{"title":"Old","last":"L","first":"F","mail":null},
		"new":{"title":" New ","first":"G","sex":2,"cell":"+86 000-0001","unit":"A","units":"1;2;3","hired":"1678896000","boss":"E2"}}`)})
	if got := r.members(statement); !slices.Equal(got, []string{"FSUID_TEST0001"}) {
		t.Errorf("members %q", got)
	}
	for field, want := range map[string]struct{ lawful, not string }{
		"position":               {`"New"`, `"Old"`},
		"fullName":               {`"L G"`, `"G L"`},
		"gender":                 {`"F"`, `"M"`},
		"mobile":                 {`"0000001"`, `"860000001"`},
		"mainDepartmentId":       {"7", `"7"`},
		"attachingDepartmentIds": {"[1,2,3]", "[1,3]"},
		"hireDate":               {`"1678896000000"`, `"1678896000"`},
		"leaderId":               {`"FSUID_TEST0002"`, `"E2"`},
		"qq":                     {`"1"`, `""`},
	} {
		got := r.allowed(statement, r.fields[field])
		if !slices.Contains(got, want.lawful) || slices.Contains(got, want.not) || slices.Contains(got, `""`) {
			t.Errorf("%s: %q, want %s and not %s", field, got, want.lawful, want.not)
		}
	}
}

// A clear is allowed only where the mapping says so. Masked values and invalid ones are never
// allowed.
func TestCheckerOfClears(t *testing.T) {
	t.Parallel()
	s := &source{name: "test", mapping: []byte(`
version: 1
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: $event.emp}
order: {kind: none}
states: {after: $event.new, before: $event.old}
fields:
  position: {from: title, null: clear}
  email: {from: mail, empty: clear}
  mobile: {from: cell, as: phone}
  attachingDepartmentIds: {from: units, null: clear, also_empty: ["-"], empty: clear}
`)}
	r := readRules(t, s)
	for value, want := range map[string]map[string][]string{
		`{"new":{"title":null,"mail":null,"units":null}}`:         {"position": {`""`}, "email": nil, "attachingDepartmentIds": {"[]"}},
		`{"new":{"title":"","mail":"","units":"-"}}`:              {"position": nil, "email": {`""`}, "attachingDepartmentIds": {"[]"}},
		`{"new":{"title":{},"cell":"000****1","units":[1,null]}}`: {"position": nil, "mobile": nil, "attachingDepartmentIds": nil},
		`{"title":"x","old":{"title":"y"}}`:                       {"position": nil},
	} {
		for field, lawful := range want {
			if got := r.allowed(stated(kafka.Message{Value: []byte(value)}), r.fields[field]); !slices.Equal(got, lawful) {
				t.Errorf("%s: %s is %q, want %q", value, field, got, lawful)
			}
		}
	}
}
