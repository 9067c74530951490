package mapper_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

// parse reads the text of a mapping file.
func parse(text string) (*mapper.Mapping, error) {
	return mapper.Parse("m.yaml", []byte(text), mapper.Options{})
}

// minimal is the smallest mapping file, with more lines behind it.
func minimal(more ...string) string {
	return strings.Join(append([]string{
		"version: 1",
		"identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: $event.uid}",
		"order: {kind: sequence, from: $event.seq}",
		"states: {after: $event.new, before: $event.old}",
	}, more...), "\n")
}

// TestParseFaults walks what can be wrong with a file; each is told with its line and column.
func TestParseFaults(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", "", "m.yaml:1:1: the file is empty"},
		{"no YAML", "version: 1\n  a: b: c\n", "m.yaml:2:3: is not valid YAML: mapping values are not allowed in this context"},
		{"brackets in braces", "version: 1\norder: {from: a[0], kind: time}\n", "m.yaml:2:1: is not valid YAML: did not find expected ',' or '}'; a path with brackets is quoted in braces: {from: 'a[0]'}"},
		{"brackets in braces further down", "version: 1\norder:\n  kind: time\nidentity:\n  event_id: {from: a[0], lookup: b}\n", "m.yaml:5:3: is not valid YAML: did not find expected ',' or '}'"},
		{"an entry too far to the left", "version: 1\nroutes:\n  - name: a\n b: c\n", "m.yaml:4:2: is not valid YAML: did not find expected key"},
		{"two documents", minimal("fields: {qq: qq}", "---", "a: 1"), "m.yaml:6:1: a second YAML document begins here; a file holds one"},
		{"a list", "- 1", "m.yaml:1:1: should be a map"},
		{"another version", "version: 2", `m.yaml:1:10: "2" should be one of 1`},
		{"a typo in a section", minimal("field: {qq: qq}", "fields: {qq: qq}"), `m.yaml:5:1: "field" is no key here; is fields meant?`},
		{"a typo in a key", minimal("fields: {qq: {form: qq, nul: clear}}"), `m.yaml:5:25: "nul" is no key here; is null meant?`},
		{"a typo in a value", minimal("fields:", "  qq: {from: qq, null: cleer}"), `m.yaml:6:24: "cleer" should be one of clear, ignore, reject; is clear meant?`},
		{"a typo in a field", minimal("fields: {mobil: m}"), `m.yaml:5:10: "mobil" is no member field; is mobile meant?`},
		{"far from any field", minimal("fields: {qq: q, shoeSizeOfTheLeftFoot: m}"), `m.yaml:5:17: "shoeSizeOfTheLeftFoot" is no member field`},
		{"a key twice", minimal("fields: {qq: a, qq: b}"), `m.yaml:5:17: "qq" occurs twice`},
		{"an alias", minimal("fields: {qq: &a x, weixin: *a}"), "m.yaml:5:14: anchors and aliases are not taken"},
		{"no fields", minimal(), `m.yaml:1:1: "fields" is missing`},
		{"an epoch that is too high", strings.Replace(minimal("fields: {qq: a}"), "from: $event.seq", "from: a, epoch: 1000000", 1), "m.yaml:3:41: epoch is at most 999999"},
		{"a negative epoch", strings.Replace(minimal("fields: {qq: a}"), "from: $event.seq", "from: a, epoch: -1", 1), "m.yaml:3:41: should be a whole number from 0"},
		{"an order of none from somewhere", strings.Replace(minimal("fields: {qq: a}"), "kind: sequence", "kind: none", 1), "m.yaml:3:8: an order of kind none has no from"},
		{"an order by time of days without a zone", strings.Replace(minimal("fields: {qq: a}"), "kind: sequence", "kind: time, unit: days", 1), "m.yaml:3:8: needs a zone"},
		{"a unit for a sequence", strings.Replace(minimal("fields: {qq: a}"), "kind: sequence", "kind: sequence, unit: ms", 1), "m.yaml:3:31: is only for an order by time"},
		{"an id of nothing", strings.Replace(minimal("fields: {qq: a}"), "event_id: $event.id", "event_id: {separator: x}", 1), "m.yaml:2:22: event_id needs exactly one of from, concat and record"},
		{"an employee of the record", strings.Replace(minimal("fields: {qq: a}"), "employee_id: $event.emp", "employee_id: {record: true}", 1), "m.yaml:2:55: only event_id can be that of the record"},
		{"a separator of nothing", strings.Replace(minimal("fields: {qq: a}"), "event_id: $event.id", "event_id: {from: a, separator: x}", 1), "m.yaml:2:43: separator stands between the parts of concat"},
		{"pairs and after", strings.Replace(minimal("fields: {qq: a}"), "before: $event.old", "pairs: {from: a, new: b}", 1), "m.yaml:4:9: pairs stand in place of after, before"},
		{"pairs in a text, and not begun there", strings.Replace(minimal("fields: {qq: a}"), "after: $event.new, before: $event.old", "after: $event.new, text: true, pairs: {from: $event.a, new: b}", 1), "m.yaml:4:55: the pairs begin with $after"},
		{"pairs in no text", strings.Replace(minimal("fields: {qq: a}"), "after: $event.new, before: $event.old", "after: $event.new, pairs: {from: $after.a, new: b}", 1), "m.yaml:4:9: pairs stand in place of after, before"},
		{"pairs in nothing", strings.Replace(minimal("fields: {qq: a}"), "after: $event.new, before: $event.old", "pairs: {from: $after.a, new: b}", 1), `m.yaml:4:24: path "$after.a" begins with $after, which does not exist here`},
		{"objects with a name", strings.Replace(minimal("fields: {qq: a}"), "after: $event.new, before: $event.old", "pairs: {from: a, objects: true, name: n, new: b}", 1), "m.yaml:4:36: objects are for entries whose members have the names"},
		{"removals without an operation", strings.Replace(minimal("fields: {qq: a}"), "after: $event.new, before: $event.old", "pairs: {from: a, new: b, remove: c}", 1), "m.yaml:4:17: op and remove belong together"},
		{"what before holds, without a before", strings.Replace(minimal("fields: {qq: a}"), "before: $event.old", "before_holds: changed", 1), "m.yaml:4:43: before_holds is about before, and there is none"},
		{"changes from nowhere", strings.Replace(minimal("fields: {qq: a}"), "before: $event.old", "changed: {split: ','}", 1), "m.yaml:4:38: changed needs from"},
		{"names split by nothing", strings.Replace(minimal("fields: {qq: a}"), "before: $event.old", "changed: {from: a, split: ''}", 1), "m.yaml:4:55: split is at least one character"},
		{"a list split by nothing", minimal("fields: {attachingDepartmentIds: {from: a, split: ''}}"), "m.yaml:5:51: split is at least one character"},
		{"a step of two kinds", minimal("envelope: {unwrap: [{is: text, path: a}]}", "fields: {qq: a}"), "m.yaml:5:21: a step is either is or path"},
		{"an unwrapped key that is text", minimal("envelope: {key: {unwrap: [text]}}", "fields: {qq: a}"), "m.yaml:5:17: the key is unwrapped only if it is read as json"},
		{"columns of no file", minimal("lookups: {d: {redis: d, key: k}}", "fields: {qq: {from: a, lookup: d}}"), "m.yaml:5:11: key and value are columns of a file"},
		{"a miss of nothing", minimal("fields: {qq: {from: a, miss: ignore}}"), "m.yaml:5:30: miss is about a lookup or a table"},
		{"a table and a lookup", minimal("lookups: {d: {redis: d}}", "fields: {qq: {from: a, lookup: d, table: {x: y}}}"), "m.yaml:6:10: a field has either a table or a lookup"},
		{"several constants", minimal("fields: {qq: {const: [a, b]}}"), "m.yaml:5:23: qq takes one value"},
		{"an empty constant", minimal("fields: {qq: {const: ''}}"), "m.yaml:5:22: a constant is not empty"},
		{"a constant that is no number", minimal("fields: {mainDepartmentId: {const: x}}"), "m.yaml:5:36: should be a whole number from 0"},
		{
			"an id of employee and time",
			strings.NewReplacer("event_id: $event.id", "event_id: {concat: [$event.emp, $event.at]}", "{kind: sequence, from: $event.seq}", "{kind: time, from: $event.at}").Replace(minimal("fields: {qq: a}")),
			"event_id is the employee and the time, which two changes can share; use {record: true}",
		},
		{"a constant that is a map", minimal("fields: {qq: {const: {a: b}}}"), "m.yaml:5:22: should be a value, or a list of them"},
		{"wall clocks of texts", minimal("fields: {hireDate: {from: a, wall: true}}"), "m.yaml:5:36: wall is about numbers"},
		{"a country code as a name", minimal("fields: {mobile: {from: a, as: phone, country: CN}}"), "m.yaml:5:48: country is digits, such as 86"},
		{"an unknown clear", minimal("fields: {qq: {from: a, clear: nothing}}"), `m.yaml:5:31: should be "", [] or refused`},
		{"a separator without parts", minimal("fields: {qq: {from: a, separator: x}}"), "m.yaml:5:35: separator stands between the parts of concat"},
		{"an example at no time", minimal("fields: {qq: a}", "examples: [{name: a, value: x, timestamp: today, out: []}]"), "m.yaml:6:43: should be a time such as"},
		{"an example in no base64", minimal("fields: {qq: a}", "examples: [{name: a, base64: '*', out: []}]"), "m.yaml:6:30: is not base64"},
		{"an example with an unknown lookup", minimal("fields: {qq: a}", "examples: [{name: a, value: x, lookups: {d: {a: b}}, out: []}]"), `m.yaml:6:42: "d" is no lookup that an example can fill`},
		{"an example with an unknown field", minimal("fields: {qq: a}", "examples: [{name: a, value: x, out: [{outcome: update, user: {qqq: a}}]}]"), `m.yaml:6:63: "qqq" is no member field; is qq meant?`},
		{"an example whose user is a text", minimal("fields: {qq: a}", "examples: [{name: a, value: x, out: [{outcome: update, user: x}]}]"), "m.yaml:6:62: should be a map"},
		{"a route without a name", minimal("routes: [{name: '', do: ignore, when: {path: $event.a, exists: true}}]", "fields: {qq: a}"), "m.yaml:5:17: a route has a name"},
		{"a date for no comparison", minimal("routes: [{name: a, do: ignore, when: {path: $event.a, exists: true, unit: ms}}]", "fields: {qq: a}"), "m.yaml:5:75: is only for future"},
		{"a path of a list from the entry", minimal("envelope: {list: $item.x}", "fields: {qq: a}"), `m.yaml:5:18: path "$item.x" begins with $item, which does not exist here`},
		{"no field in fields", minimal("fields: {}"), "m.yaml:1:1: fields names no field"},
		{"a path with a bad root", minimal("fields: {qq: $evnt.x}"), `m.yaml:5:14: path "$evnt.x" begins with a $ but with none of $event`},
		{"an empty name in a path", minimal("fields: {qq: a..b}"), `m.yaml:5:14: path "a..b" has an empty name; a dot in a name is written \.`},
		{"an open bracket", minimal("fields: {qq: 'a[0'}"), `m.yaml:5:14: path "a[0" lacks a ]`},
		{"an attribute without a CloudEvent", minimal("fields: {qq: $ce.x}"), `m.yaml:5:14: path "$ce.x" begins with $ce, and the envelope is not cloudevents`},
		{"two origins", minimal("fields: {qq: {from: a, const: b}}"), "m.yaml:5:10: qq needs exactly one of from, concat and const"},
		{"no origin", minimal("fields: {qq: {trim: true}}"), "m.yaml:5:10: qq needs exactly one of from, concat and const"},
		{"an unfit reading", minimal("fields: {mainDepartmentId: {from: a, as: text}}"), `m.yaml:5:42: "text" does not give what mainDepartmentId needs; int does`},
		{"an unfit clear", minimal("fields: {qq: {from: a, clear: []}}"), "m.yaml:5:31: [] is not of the type that qq has"},
		{"a clear of an integer", minimal("fields: {mainDepartmentId: {from: a, clear: ''}}"), `m.yaml:5:45: "" is not of the type that mainDepartmentId has`},
		{"a key that does nothing", minimal("fields: {qq: {from: a, unit: ms, male: x, split: ',', country: 86}}"), "m.yaml:5:30: is only for dates"},
		{"digits for dates and numbers", minimal("fields: {hireDate: {from: a, unit: ms, formats: [compact]}}"), "m.yaml:5:50: compact and a unit cannot be told apart: both are digits"},
		{"an unknown zone", minimal("zone: Mars/Base", "fields: {qq: a}"), `m.yaml:5:7: "Mars/Base" is no zone that is known here`},
		{"the machine's zone", minimal("zone: Local", "fields: {qq: a}"), "m.yaml:5:7: should be a zone such as Asia/Shanghai or UTC"},
		{"both genders", minimal("fields: {gender: {from: g, male: [1, 2]}}"), `m.yaml:5:38: "2" means both M and F; give both lists`},
		{"an unknown lookup", minimal("lookups: {depts: {redis: d}}", "fields: {qq: {from: a, lookup: dept}, name: {from: b, lookup: depts}}"), `m.yaml:6:32: "dept" is no lookup of this file; is depts meant?`},
		{"an unused lookup", minimal("lookups: {depts: {redis: d}}", "fields: {qq: a}"), `m.yaml:5:11: lookup "depts" is not used`},
		{"a lookup of two kinds", minimal("lookups: {d: {redis: d, file: f}}", "fields: {qq: {from: a, lookup: d}}"), `m.yaml:5:11: lookup "d" needs exactly one of table, file and redis`},
		{"an empty translation", minimal("fields: {qq: {from: a, table: {x: ''}}}"), "m.yaml:5:35: a table translates to something"},
		{"masked phones", minimal("fields: {mobile: {from: a, masked: allow}}"), "m.yaml:5:36: masked phone numbers are never sent"},
		{"a list where a text belongs", minimal("description: [a]", "fields: {qq: a}"), "m.yaml:5:14: should be a text"},
		{"null where a text belongs", minimal("fields: {qq: null}"), "m.yaml:5:14: should be a text"},
		{"a flag that is not a boolean", minimal("fields: {qq: {from: a, trim: yes}}"), "m.yaml:5:30: should be true or false"},
		{"a condition of nothing", minimal("routes: [{name: a, do: ignore, when: {}}]", "fields: {qq: a}"), "m.yaml:5:38: a condition names something"},
		{"a comparison with nothing", minimal("routes: [{name: a, do: ignore, when: {path: $event.x}}]", "fields: {qq: a}"), "m.yaml:5:38: path, and what it is compared with, belong together"},
		{"a limit that is no number", minimal("routes: [{name: a, do: ignore, when: {path: $event.x, less: ten}}]", "fields: {qq: a}"), `m.yaml:5:61: "ten" should be a number`},
		{"a type that is nowhere", minimal("routes: [{name: a, do: ignore, when: {type: x}}]", "fields: {qq: a}"), "m.yaml:5:45: identity does not say where the type stands"},
		{"framing inside", minimal("envelope: {then: [registry]}", "fields: {qq: a}"), "m.yaml:5:19: registry is the first step from the bytes, or none"},
		{"an example without a message", minimal("fields: {qq: a}", "examples: [{name: a, out: []}]"), "m.yaml:6:12: an example has either value or base64"},
		{"a wrong type in an example", minimal("fields: {qq: a}", "examples: [{name: a, value: x, out: [{outcome: update, user: {qq: 1}}]}]"), "m.yaml:6:67: qq should be a text (quote digits)"},
		{"a user where there is none", minimal("fields: {qq: a}", "examples: [{name: a, value: x, out: [{outcome: ignored, user: {}}]}]"), "m.yaml:6:38: user belongs to the outcome update, and to it alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(tt.text)
			if err == nil {
				t.Fatal("no fault")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// TestParseTellsAllFaults holds a file with many faults to all of them, in the order of the file.
func TestParseTellsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := parse("version: 1\nzone: X\nidentity:\n  event_id: $event.id\n  employee_id: {from: $event.emp, lookup: x}\norder: {kind: time}\nfields:\n  qq: {from: a..b, bad: 1}\n")
	faults, ok := errors.AsType[mapper.ParseError](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.Error())
		if !errors.Is(err, f) {
			t.Errorf("%v cannot be unwrapped", f)
		}
	}
	want := []string{
		`m.yaml:1:1: states needs after or pairs`,
		`m.yaml:2:7: "X" is no zone that is known here; one is Asia/Shanghai`,
		`m.yaml:4:3: "open_user_id" is missing`,
		`m.yaml:5:43: only open_user_id has a lookup`,
		`m.yaml:5:43: "x" is no lookup of this file`,
		`m.yaml:6:8: order needs from`,
		`m.yaml:8:14: path "a..b" has an empty name; a dot in a name is written \.`,
		`m.yaml:8:20: "bad" is no key here`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
