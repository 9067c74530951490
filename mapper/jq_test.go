package mapper_test

import (
	"strings"
	"testing"

	"membersync/mapper"
)

const jqHead = `
version: 1
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: $event.crm}
order: {kind: sequence, from: $event.seq}
defaults: {null: clear, empty: clear}
`

// Each mapping is what a source needs that paths alone cannot say.
func TestJQ(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ mapping, value, want string }{
		"a field": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: '.title | ascii_upcase'}}",
			`"new":{"title":"lead"}`, `update {"openUserId":"FSUID_TEST0001","position":"LEAD"}`,
		},
		"a field whose member is absent is unchanged": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: '.title'}, qq: qq}",
			`"new":{"qq":"1"}`, `update {"openUserId":"FSUID_TEST0001","qq":"1"}`,
		},
		"a field whose member is null": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: '.title'}}",
			`"new":{"title":null}`, `update {"openUserId":"FSUID_TEST0001","position":""}`,
		},
		"the same before and after": {
			jqHead + "states: {after: $event.new, before: $event.old}\nfields: {position: {jq: '.title.name'}, qq: qq}",
			`"new":{"title":{"name":"a","at":2},"qq":"1"},"old":{"title":{"name":"a","at":1},"qq":"2"}`, `update {"openUserId":"FSUID_TEST0001","qq":"1"}`,
		},
		"a step over the value": {
			jqHead + "states: {after: $event.new}\nfields: {position: {from: title, jq: 'fromjson | .[0]'}}",
			`"new":{"title":"[\"Lead\"]"}`, `update {"openUserId":"FSUID_TEST0001","position":"Lead"}`,
		},
		"a step leaves a value out": {
			jqHead + "states: {after: $event.new}\nfields: {position: {from: title, jq: 'select(. != \"?\")'}, qq: qq}",
			`"new":{"title":"?","qq":"1"}`, `update {"openUserId":"FSUID_TEST0001","qq":"1"}`,
		},
		"an object that means null": {
			jqHead + "states: {after: $event.new}\nfields: {position: {from: title, jq: 'if type == \"object\" then null else . end'}}",
			`"new":{"title":{"@nil":"true"}}`, `update {"openUserId":"FSUID_TEST0001","position":""}`,
		},
		"departments in a text": {
			jqHead + "states: {after: $event.new}\nfields: {attachingDepartmentIds: {from: depts, jq: '[scan(\"[0-9]+\") | tonumber]'}}",
			`"new":{"depts":"12|13;14"}`, `update {"attachingDepartmentIds":[12,13,14],"openUserId":"FSUID_TEST0001"}`,
		},
		"a decimal in base64": {
			jqHead + "states: {after: $event.new}\nfields: {mainDepartmentId: {jq: '.dept | decimal(0)'}, employeeNumber: {from: no, jq: decimal(0)}}",
			`"new":{"dept":"A+k=","no":"J0I="}`, `update {"employeeNumber":"10050","mainDepartmentId":1001,"openUserId":"FSUID_TEST0001"}`,
		},
		"a date": {
			jqHead + "zone: Asia/Shanghai\nstates: {after: $event.new}\nfields: {hireDate: {from: hired, jq: 'strptime(\"%d/%m/%Y\") | strftime(\"%Y-%m-%d\")'}}",
			`"new":{"hired":"16/03/2023"}`, `update {"hireDate":"1678896000000","openUserId":"FSUID_TEST0001"}`,
		},
		"parallel lists": {
			jqHead + "states: {after: {jq: '[.names, .values] | transpose | map({key: .[0], value: .[1]}) | from_entries'}}\nfields: {position: title, qq: qq}",
			`"names":["title","qq"],"values":["Lead",null]`, `update {"openUserId":"FSUID_TEST0001","position":"Lead","qq":""}`,
		},
		"pairs": {
			jqHead + "states: {pairs: {from: $event.changes, name: {jq: '.n | ascii_downcase'}, old: o, new: {jq: '.v | fromjson'}}}\nfields: {position: title}",
			`"changes":[{"n":"TITLE","o":"x","v":"\"Lead\""}]`, `update {"openUserId":"FSUID_TEST0001","position":"Lead"}`,
		},
		"all of the pairs": {
			jqHead + "states: {pairs: {from: $event.changes, old: o, new: v}}\nfields: {fullName: {jq: '\"\\(.last)\\(.first)\"'}}",
			`"changes":{"last":{"o":"A","v":"A"},"first":{"o":"B","v":"C"}}`, `update {"fullName":"AC","openUserId":"FSUID_TEST0001"}`,
		},
		"a bitmap": {
			jqHead + "states: {after: $event.new, changed: {jq: '.bits as $b | [[\"title\",1],[\"qq\",2]] | map(select(($b / .[1] | floor) % 2 == 1) | .[0])'}}\nfields: {position: title, qq: qq}",
			`"bits":2,"new":{"title":null,"qq":"1"}`, `update {"openUserId":"FSUID_TEST0001","qq":"1"}`,
		},
		"a condition": {
			jqHead + "states: {after: $event.new}\nroutes: [{name: test, when: {jq: '.emp | startswith(\"E\")'}, do: ignore}]\nfields: {position: title}",
			`"new":{"title":"x"}`, `ignored test`,
		},
		"a condition that does not hold": {
			jqHead + "states: {after: $event.new}\nroutes: [{name: test, when: {not: {jq: '.new.title == \"x\"'}}, do: ignore}]\nfields: {position: title}",
			`"new":{"title":"x"}`, `update {"openUserId":"FSUID_TEST0001","position":"x"}`,
		},
		"a condition that fails decides nothing": {
			jqHead + "states: {after: $event.new}\nroutes: [{name: test, when: {not: {jq: '.emp | tonumber > 1'}}, do: ignore}]\nfields: {position: title}",
			`"new":{"title":"x"}`, `rejected invalid_event jq at line 7`,
		},
		"a path of a condition": {
			jqHead + "states: {after: $event.new}\nroutes: [{name: test, when: {path: {jq: '.new.title | length'}, greater: 3}, do: ignore}]\nfields: {position: title}",
			`"new":{"title":"long"}`, `ignored test`,
		},
		"variables": {
			jqHead + "states: {after: $event.new, before: $event.old}\nfields: {position: {jq: '.title + $event.emp + ($header.h // \"\") + $key + $before.title'}}",
			`"new":{"title":"x"},"old":{"title":"y"}`, `update {"openUserId":"FSUID_TEST0001","position":"xE1HKy"}`,
		},
		"a field that fails": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: '.title | tonumber'}}",
			`"new":{"title":"secret"}`, `rejected invalid_field new.jq at line 7`,
		},
		"two values": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: '.title, .qq'}}",
			`"new":{"title":"x"}`, `rejected invalid_field new.jq at line 7`,
		},
		"a list of changes and a program": {
			jqHead + "states: {after: $event.new, changed: {from: $event.changed}}\nfields: {position: {jq: '.title // .job'}, qq: qq}",
			`"changed":["job"],"new":{"title":null,"job":"x","qq":"1"}`, `update {"openUserId":"FSUID_TEST0001","position":"x"}`,
		},
		"old values that hold what changed": {
			jqHead + "states: {after: $event.new, before: $event.old, before_holds: changed}\nfields: {position: {jq: '.title'}, qq: {jq: '.qq'}}",
			`"new":{"title":"x","qq":"1"},"old":{"qq":"2"}`, `update {"openUserId":"FSUID_TEST0001","qq":"1"}`,
		},
		"numbers keep their digits": {
			jqHead + "states: {after: $event.new}\nfields: {employeeNumber: {jq: .no, numbers: true}}",
			`"new":{"no":12345678901234567890123}`, `update {"employeeNumber":"12345678901234567890123","openUserId":"FSUID_TEST0001"}`,
		},
		"no end": {
			jqHead + "states: {after: $event.new}\nfields: {position: {jq: 'last(repeat(1))'}}",
			`"new":{"title":"x"}`, `rejected invalid_field new.jq at line 7`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mustParse(t, strings.Replace(tc.mapping, "jqHead", "", 1))
			rec := record(`{"id":"1","emp":"E1","crm":"FSUID_TEST0001","seq":1,` + tc.value + `}`)
			rec.Key, rec.Headers = []byte("K"), []mapper.Header{{Key: "h", Value: []byte("H")}}
			results := m.Map(rec)
			if got := told(results[0]); got != tc.want {
				t.Errorf("%s, want %s (%v)", got, tc.want, results[0].Fault)
			}
			if f := results[0].Fault; f != nil && strings.Contains(f.Error(), "secret") {
				t.Error("the fault holds a value")
			}
			if explained := m.Explain(rec, nil); told(explained[0].Result) != told(results[0]) {
				t.Errorf("explained as %s", told(explained[0].Result))
			}
			if masked := string(m.Mask(rec)); strings.Contains(masked, "secret") || masked == "" {
				t.Errorf("masked as %s", masked)
			}
		})
	}
}

func TestJQList(t *testing.T) {
	t.Parallel()
	m := mustParse(t, `
version: 1
envelope: {list: {jq: '.pages[].people[] | [.] | .[]' }, unwrap: [{path: {jq: '.outer // .'}}]}
identity: {event_id: {jq: '$event.id'}, employee_id: {jq: .no}, open_user_id: {from: {jq: '.mail | ascii_downcase'}, lookup: members}}
order: {kind: time, from: {jq: '.at | tonumber'}, unit: s}
states: {after: $item}
lookups: {members: {redis: m}}
fields: {position: title}
`)
	if got := m.Map(record(`{"outer":{"id":"1","pages":[{"people":[{"no":"E1"}]},{"people":[]}]}}`)); told(got[0]) != "rejected invalid_event jq at line 3" && len(got) != 1 {
		t.Errorf("%s", told(got[0]))
	}
	m = mustParse(t, `
version: 1
envelope: {list: {jq: '[.pages[].people[]]'}, unwrap: [{path: {jq: '.outer // .'}}]}
identity: {event_id: {jq: '$event.id'}, employee_id: {jq: .no}, open_user_id: {from: {jq: '.mail | ascii_downcase'}, lookup: members}}
order: {kind: time, from: {jq: '.at | tonumber'}, unit: s}
states: {after: $item}
lookups: {members: {redis: m}}
fields: {position: title}
`)
	rec := record(`{"outer":{"id":"1","pages":[{"people":[{"no":"E1","mail":"A@x","at":"1795334400","title":"a"}]},{"people":[{"no":"E2","mail":"B@x","at":"1795334400","title":"b"}]}]}}`)
	refs := m.References(rec)
	if len(refs) != 2 || refs[0].Key != "a@x" || refs[1].Key != "b@x" {
		t.Fatalf("%+v", refs)
	}
	got := m.MapWith(rec, map[mapper.Reference]string{{Lookup: "m", Key: ""}: "", {Lookup: "members", Key: "a@x"}: "FSUID_TEST0001", {Lookup: "members", Key: "b@x"}: "FSUID_TEST0002"})
	if len(got) != 2 || told(got[1]) != `update {"openUserId":"FSUID_TEST0002","position":"b"}` || got[1].Event.EmployeeID != "E2" {
		t.Errorf("%+v %v", got, got[0].Fault)
	}
}

func TestJQFaults(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"fields: {position: {jq: '.a | foo'}}":                                  `m.yaml:7:31: jq: function not defined: foo/0`,
		"fields:\n  position:\n    jq: |\n      .a\n      | bar\n":              `m.yaml:11:9: jq: function not defined: bar/0`,
		"fields: {position: {jq: '.a |'}}":                                      `m.yaml:7:30: jq: unexpected EOF`,
		"fields: {position: {jq: 'env.PATH'}}":                                  `m.yaml:7:26: jq: uses env, which is not available in a mapping`,
		"fields: {position: {jq: 'input'}}":                                     `m.yaml:7:26: jq: uses input, which is not available in a mapping`,
		"fields: {position: {jq: '.a', const: x}}":                              `m.yaml:7:25: jq is a step of a field with from`,
		"fields: {position: a}\nroutes: [{name: x, when: {jq: ']'}, do: take}]": `m.yaml:8:32: jq: unexpected token "]"`,
	} {
		_, err := parse(jqHead + "states: {after: $event.new}\n" + program)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", program, err, want)
		}
	}
}

// What a program reads by path is shown or hidden as a path would be.
func TestJQMasks(t *testing.T) {
	t.Parallel()
	m := mustParse(t, `
version: 1
identity: {event_id: $event.id, employee_id: {jq: '.who.no'}, open_user_id: {jq: '.who | .crm'}}
order: {kind: sequence, from: {jq: .seq}}
states: {after: $event.new}
public: [{jq: '.new.title'}]
personal: [{jq: .who.crm}]
fields: {position: title}
`)
	got := string(m.Mask(record(`{"id":"1","who":{"no":"E1","crm":"C1","name":"N"},"seq":7,"new":{"title":"T","qq":"1"}}`)))
	if want := `{"id":"1","who":{"no":"E1","crm":"***","name":"***"},"seq":7,"new":{"title":"T","qq":"***"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	hidden := mustParse(t, strings.Replace(jqHead+"states: {after: $event.new}\npersonal: [{jq: '[.id] | add'}]\nfields: {position: title}", "jqHead", "", 1))
	if got := string(hidden.Mask(record(`{"id":"1","emp":"E1","crm":"C","seq":1,"new":{}}`))); strings.Contains(got, "E1") {
		t.Errorf("%s shows what may be personal", got)
	}
}

func TestJQExplains(t *testing.T) {
	t.Parallel()
	m := mustParse(t, jqHead+"states: {after: $event.new}\nfields: {position: {from: title, jq: 'fromjson'}}")
	got := m.Explain(record(`{"id":"1","emp":"E1","crm":"C","seq":1,"new":{"title":"\"x\""}}`), nil)[0].Fields[0]
	if got.Path != "title" || len(got.Steps) != 2 || got.Steps[0].Name != "jq" || got.Steps[0].Result != `"x"` {
		t.Errorf("%+v", got)
	}
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	m := mustParse(t, jqHead+"zone: Asia/Shanghai\nstates: {after: $event.new}\nfields: {hireDate: {from: hired, layout: ['02-Jan-2006', '2006.01.02', '2006-1-2', 'Mon, 02 Jan 2006 15:04:05 MST', '2006-01-02 15h04 -0700']}}")
	for value, want := range map[string]string{
		"16-MAR-2023": "1678896000000", "2023.03.16": "1678896000000", "2023-3-16": "1678896000000", "Thu, 16 Mar 2023 00:00:00 GMT": "1678924800000",
		"2023-03-16 00h00 +0800": "1678896000000", "Thu, 16 Mar 2023 00:00:00 CST": "", "2023-03-16T00:00:00Z": "", "16-MAR-23": "", "2023.3.16": "", "2023.02.30": "",
	} {
		r := m.Map(record(`{"id":"1","emp":"E1","crm":"C","seq":1,"new":{"hired":"` + value + `"}}`))[0]
		if got := told(r); want == "" && r.Fault == nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %s", value, got)
		}
	}
	for _, layout := range []string{"02-Jan-06", "2006-01", "15:04", "yyyy-MM-dd", "2006-01-02 03:04"} {
		if _, err := parse(jqHead + "states: {after: $event.new}\nfields: {hireDate: {from: hired, layout: '" + layout + "'}}"); err == nil {
			t.Errorf("%s is taken", layout)
		}
	}
}

func TestFoldedLookups(t *testing.T) {
	t.Parallel()
	text := strings.Replace(jqHead, "open_user_id: $event.crm", "open_user_id: {from: $event.crm, lookup: members}", 1) +
		"states: {after: $event.new}\nlookups: {members: {table: {A@Example.com: FSUID_TEST0001}, fold: lower}}\nfields: {position: title}"
	got := told(mustParse(t, text).Map(record(`{"id":"1","emp":"E1","crm":"a@EXAMPLE.COM","seq":1,"new":{"title":"x"}}`))[0])
	if want := `update {"openUserId":"FSUID_TEST0001","position":"x"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := parse(strings.Replace(text, "FSUID_TEST0001}", "FSUID_TEST0001, a@example.com: FSUID_TEST0002}", 1)); err == nil {
		t.Error("two values for one key are taken")
	}
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	base := jqHead + "states: {after: $event.new}\nfields: {position: title}\n"
	gone := func(when, do string) string { return "routes: [{name: gone, when: " + when + ", do: " + do + "}]" }
	for more, want := range map[string]string{
		"":                        "ignored tombstone",
		"tombstones: dead_letter": "whole malformed",
		"tombstones: ignore":      "ignored tombstone",
		// a route that was not written for tombstones
		gone("{not: {path: $event.emp, exists: true}}", "dead_letter"):                "ignored tombstone",
		gone("{path: $event, exists: false}", "dead_letter"):                          "rejected routed",
		gone("{path: $event, exists: false}", "needs_fetch"):                          "rejected needs_fetch",
		"tombstones: dead_letter\n" + gone("{path: $event, exists: false}", "ignore"): "ignored gone",
		"tombstones: dead_letter\n" + gone("{path: $key, prefix: X}", "ignore"):       "whole malformed",
		"tombstones: dead_letter\n" + gone(`{jq: '$key == "E1"'}`, "ignore"):          "ignored gone",
	} {
		m := mustParse(t, base+more)
		rec := mapper.Record{Key: []byte("E1")}
		results := m.Map(rec)
		if got := told(results[0]); len(results) != 1 || got != want {
			t.Errorf("%s: %s, want %s", more, got, want)
		}
		if got := m.Explain(rec, nil); len(got) != 1 || told(got[0].Result) != want {
			t.Errorf("%s: explained as %+v", more, got)
		}
	}
	m := mustParse(t, base+"examples: [{name: gone, no_value: true, key: E1, out: [{outcome: ignored, reason: tombstone}]}]")
	if got := m.RunExamples(); len(got) != 1 || len(got[0].Diffs) != 0 {
		t.Errorf("%+v", got)
	}
}
