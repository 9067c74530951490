package mapper_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

const explained = `
version: 1
zone: Asia/Shanghai
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: {from: $event.emp, lookup: members}}
order: {kind: sequence, from: $event.seq}
states: {after: $event.new, before: $event.old}
routes: [{name: all, when: {path: $event.id, exists: true}, do: take}]
lookups: {members: {redis: m}}
defaults: {trim: true, null: ignore}
fields:
  position: title
  gender: {from: sex, unknown: ignore}
  mobile: {from: [cell, phone], as: phone, country: "86"}
  email: mail
  hireDate: {from: hired, unit: days}
  leaderId: {from: boss, lookup: members}
`

func TestExplain(t *testing.T) {
	t.Parallel()
	m := mustParse(t, explained)
	rec := record(`{"id":"1","emp":"E1","seq":1,"old":{"title":"A","mail":null},"new":{"title":" A","sex":0,"phone":"+86 000","mail":null,"hired":19432,"boss":"E2"}}`)
	got := m.Explain(rec, map[mapper.Reference]string{{"members", "E1"}: "FSUID_TEST0001", {"members", "E2"}: "FSUID_TEST0002"})
	if len(got) != 1 || told(got[0].Result) != told(m.MapWith(rec, map[mapper.Reference]string{{"members", "E1"}: "FSUID_TEST0001", {"members", "E2"}: "FSUID_TEST0002"})[0]) {
		t.Fatalf("%+v", got)
	}
	parts := []mapper.Explained{
		{Name: "event_id", Path: "$event.id", Value: "1"},
		{Name: "employee_id", Path: "$event.emp", Value: "E1"},
		{Name: "open_user_id", Path: "$event.emp", Value: "E1"},
		{Name: "open_user_id", Path: "lookup members", Value: "FSUID_TEST0001"},
		{Name: "order", Path: "$event.seq", Value: "1"},
		{Name: "route", Path: "all", Value: "take"},
	}
	if diff := cmp.Diff(parts, got[0].Parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	fields := []mapper.Explained{
		{Name: "position", Path: "title", Raw: `" A"`, Steps: []mapper.Step{{Name: "trim", Result: "A"}, {Name: "read as text", Result: `"A"`}, {Name: "means the same as before"}}},
		{Name: "gender", Path: "sex", Raw: `0`, Steps: []mapper.Step{{Name: "read as gender", Result: "nothing"}}, Reason: "left out by the mapping"},
		{Name: "mobile", Path: "phone", Raw: `"+86 000"`, Steps: []mapper.Step{{Name: "read as phone", Result: `"000"`}}, Value: `"000"`},
		{Name: "email", Path: "mail", Raw: "null", Steps: []mapper.Step{{Name: "the same before and after"}}},
		{Name: "hireDate", Path: "hired", Raw: `19432`, Steps: []mapper.Step{{Name: "read as date", Result: `"1678896000000"`}}, Value: `"1678896000000"`},
		{
			Name: "leaderId", Path: "boss", Raw: `"E2"`, Value: `"FSUID_TEST0002"`,
			Steps: []mapper.Step{{Name: "lookup members", Result: "FSUID_TEST0002"}, {Name: "read as text", Result: `"FSUID_TEST0002"`}},
		},
	}
	if diff := cmp.Diff(fields, got[0].Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestExplainSaysWhyNot(t *testing.T) {
	t.Parallel()
	m := mustParse(t, explained)
	got := m.Explain(record(`{"id":"1","emp":"E1","seq":1,"new":{"phone":"1**1"}}`), map[mapper.Reference]string{{"members", "E1"}: "FSUID_TEST0001"})
	last := got[0].Fields[len(got[0].Fields)-1]
	if last.Name != "mobile" || last.Reason != "is masked" || told(got[0].Result) != "rejected invalid_field new.phone" {
		t.Errorf("%+v", got[0])
	}
	whole := m.Explain(record(`{`), nil)
	if len(whole) != 1 || whole[0].Result.Fault == nil || whole[0].Fields != nil {
		t.Errorf("%+v", whole)
	}
}

// TestExplainIsMap: explaining changes nothing of what comes out, for the whole corpus.
func TestExplainIsMap(t *testing.T) {
	t.Parallel()
	for name, file := range corpus(t) {
		for i := range file.Cases {
			c := &file.Cases[i]
			m, rec := file.mapping(t, c), c.record(t, file)
			results, explanations := file.run(m, rec), m.Explain(rec, file.found(m, rec))
			var want, got []string
			for _, r := range results {
				want = append(want, told(r))
			}
			for _, e := range explanations {
				got = append(got, told(e.Result))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s (-map +explain):\n%s", name, c.Name, diff)
			}
		}
	}
}

func TestRunExamplesTellsTheDifference(t *testing.T) {
	t.Parallel()
	m := mustParse(t, minimal("fields: {qq: qq, mainDepartmentId: d}", `examples:
  - name: wrong values
    value: '{"id":"1","emp":"E1","uid":"U","seq":1,"new":{"qq":"1","d":5}}'
    out: [{outcome: update, employee_id: E2, user: {openUserId: V, qq: "2", name: x}}]
  - name: wrong outcome
    value: '{"id":"1","emp":"E1","uid":"U","seq":1,"new":{"qq":1}}'
    out: [{outcome: unchanged}]
  - name: wrong number
    value: '{}'
    out: []
  - name: wrong words
    value: '{}'
    out: [{outcome: rejected, reason: invalid_event, path: id, error: is there}]
  - name: right
    value: '{"id":"1","emp":"E1","uid":"U","seq":1,"new":{"qq":"1"}}'
    out: [{outcome: update, user: {openUserId: U, qq: "1"}}]`))
	got := m.RunExamples()
	want := []mapper.ExampleResult{
		{Name: "wrong values", Line: 7, Diffs: []mapper.Difference{
			{What: "employee_id", Want: "E2", Got: "E1"},
			{What: "user.openUserId", Want: "V", Got: "U"},
			{What: "user.name", Want: `"x"`},
			{What: "user.qq", Want: `"2"`, Got: `"1"`},
			{What: "user.mainDepartmentId", Got: "5"},
		}},
		{Name: "wrong outcome", Line: 10, Diffs: []mapper.Difference{
			{What: "outcome", Want: "unchanged", Got: "rejected: invalid_field: new.qq is a number, not a text (byte 51)"},
		}},
		{Name: "wrong number", Line: 13, Diffs: []mapper.Difference{{What: "number of results", Want: "0", Got: "1"}}},
		{Name: "wrong words", Line: 16, Diffs: []mapper.Difference{{What: "error", Want: "is there", Got: "invalid_event: id is missing"}}},
		{Name: "right", Line: 19},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	file := minimal("fields: {qq: qq, name: nick}", "public: [$event.source.db, $event.source.by, $event.emp, $event.x]", "personal: [$event.source.by]")
	tests := []struct{ name, mapping, value, want string }{
		{
			"ids, order and what is public", file,
			`{"id":"1","emp":"E1","uid":"U","seq":42,"source":{"db":"hr","by":"secret"},"new":{"qq":"secret","x":[1,true,null,""]}}`,
			`{"id":"1","emp":"E1","uid":"U","seq":42,"source":{"db":"hr","by":"***"},"new":{"qq":"***","x":["***","***",null,""]}}`,
		},
		{
			"ids and an order that are no scalars", file,
			`{"id":["secret"],"emp":{"secret":"secret"},"uid":{"secret":["secret"]},"seq":{"n":"secret"},"new":{"x":{}}}`,
			`{"id":"***","emp":"***","uid":"***","seq":"***","new":{"x":{}}}`,
		},
		{
			"what is public and no scalar", file,
			`{"id":"1","emp":{"no":"secret"},"x":["secret"],"source":{"db":{"a":"secret"},"sql":"secret"}}`,
			`{"id":"1","emp":"***","x":"***","source":{"db":"***","sql":"***"}}`,
		},
		{
			"what is personal and public", strings.Replace(file, "personal: [$event.source.by", "personal: [$event.emp, $event.source.by", 1),
			`{"id":"1","emp":"secret","source":{"by":["secret"]}}`, `{"id":"1","emp":"***","source":{"by":"***"}}`,
		},
		{"what is no event", file, `[{"a":"secret"},7]`, `[{"a":"***"},"***"]`},
		{
			"a text that holds JSON", strings.Replace(file, "version: 1", "version: 1\nenvelope: {unwrap: [{path: m}, text]}", 1),
			`{"m":"{\"id\":\"1\",\"new\":\"secret\"}","secret":1}`, `{"m":{"id":"1","new":"***"},"secret":"***"}`,
		},
		{
			"several", strings.Replace(strings.ReplaceAll(file, "$event.emp", "$item.emp"), "version: 1", "version: 1\nenvelope: {list: $event.l}", 1),
			`{"id":"1","l":[{"emp":"E1","new":"secret"},{"emp":"E2"}]}`, `{"id":"1","l":[{"emp":"E1","new":"***"},{"emp":"E2"}]}`,
		},
		{"no JSON", file, `{"secret`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(mustParse(t, tt.mapping).Mask(record(tt.value)))
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	canonical := builtin(t, "canonical", options()).Mask(record(typical()))
	if strings.Contains(string(canonical), "Sample") || !strings.Contains(string(canonical), `"employeeId":"E1"`) {
		t.Errorf("canonical: %s", canonical)
	}
}
