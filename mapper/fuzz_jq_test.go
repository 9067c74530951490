package mapper_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzJQ: a mapping with any program ends, gives what Explain gives, and shows no value in a fault.
func FuzzJQ(f *testing.F) {
	for _, program := range []string{
		`.title`, `.title | fromjson`, `.. | strings`, `[range(1e9)]`, `reduce range(60) as $i ("x"; . + .)`, `.[1e9] = 1`, `$event.id + $key`, `to_entries`, `.a.b[0:2]`,
		`"x" * 1e9`, `try error(.) catch .`, `@base64d`, `input`, `def f: f; f`, `limit(3; repeat(1))`, `.title |= ascii_upcase`, `getpath(["title"])`, `decimal(2)`, `splits(",")`,
	} {
		f.Add(program, `{"title":"canaryvalue","a":{"b":[1,2,3]}}`)
	}
	f.Fuzz(func(t *testing.T, program, after string) {
		if !json.Valid([]byte(after)) || strings.Contains(program, "\x00") {
			return
		}
		quoted := jsonText(program)
		m, err := parse(jqHead + "states: {after: $event.new, before: $event.old}\nroutes: [{name: r, when: {jq: " + quoted + "}, do: ignore}]\n" +
			"fields: {position: {jq: " + quoted + "}, email: {from: title, jq: " + quoted + "}}")
		if err != nil {
			return
		}
		rec := record(`{"id":"1","emp":"E1","crm":"FSUID_TEST0001","seq":1,"new":` + after + `,"old":{"title":"canaryvalue"}}`)
		results, again := m.Map(rec), m.Map(rec)
		if told(results[0]) != told(again[0]) || told(m.Explain(rec, nil)[0].Result) != told(results[0]) {
			t.Fatalf("%s and %s", told(results[0]), told(again[0]))
		}
		if fault := results[0].Fault; fault != nil && strings.Contains(fault.Error(), "canaryvalue") {
			t.Fatal(fault)
		}
		if masked := m.Mask(rec); masked != nil && !json.Valid(masked) {
			t.Fatalf("the mask is not JSON: %s", masked)
		}
	})
}
