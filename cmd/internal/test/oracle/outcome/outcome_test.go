package outcome_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/oracle/outcome"
)

func world() outcome.World {
	return outcome.World{Members: []string{"FSUID_TEST0001", "FSUID_TEST0002"}, Departments: 9, MaxRecordBytes: 1000}
}

// event returns a change of the first member.
func event(id string, order int, before, after string) outcome.Record {
	return outcome.Record{Value: fmt.Appendf(nil,
		`{"eventId":%q,"employeeId":"E1","openUserId":"FSUID_TEST0001","sequence":%d,"before":%s,"after":%s}`, id, order, before, after)}
}

func TestNewestWinsFieldByField(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		records []outcome.Record
		want    map[string]string
	}{
		"in order": {[]outcome.Record{
			event("a", 1, `{}`, `{"position":"p1","email":"e1"}`), event("b", 2, `{}`, `{"position":"p2"}`),
		}, map[string]string{"position": `"p2"`, "email": `"e1"`}},
		"the older one late": {[]outcome.Record{
			event("b", 2, `{}`, `{"position":"p2"}`), event("a", 1, `{}`, `{"position":"p1","email":"e1"}`),
		}, map[string]string{"position": `"p2"`, "email": `"e1"`}},
		"twice": {[]outcome.Record{
			event("a", 1, `{}`, `{"position":"p1"}`), event("b", 2, `{}`, `{"position":"p2"}`), event("a", 1, `{}`, `{"position":"p1"}`),
		}, map[string]string{"position": `"p2"`}},
		"null and empty clear": {[]outcome.Record{
			event("a", 1, `{}`, `{"position":null,"email":"","attachingDepartmentIds":null}`),
		}, map[string]string{"position": `""`, "email": `""`, "attachingDepartmentIds": `[]`}},
		"unchanged is not stated": {[]outcome.Record{
			event("a", 1, `{}`, `{"position":"p1"}`), event("b", 2, `{"position":"p2"}`, `{"position":"p2","email":"e2"}`),
		}, map[string]string{"position": `"p1"`, "email": `"e2"`}},
		"one date in two spellings is unchanged": {[]outcome.Record{
			event("a", 1, `{"hireDate":"2031-01-02T03:04:05Z","qq":"q"}`, `{"hireDate":1925089445000,"qq":"r"}`),
		}, map[string]string{"qq": `"r"`}},
		"types": {[]outcome.Record{
			event("a", 1, `{}`, `{"hireDate":"2031-01-02T03:04:05Z","mainDepartmentId":7,"attachingDepartmentIds":[1,2],"gender":"M"}`),
		}, map[string]string{"hireDate": `"1925089445000"`, "mainDepartmentId": `7`, "attachingDepartmentIds": `[1,2]`, "gender": `"M"`}},
		"poison gives nothing": {[]outcome.Record{
			event("a", 1, `{}`, `{"position":"p1"}`), event("b", 2, `{}`, `{"position":"p2","mainDepartmentId":10}`),
		}, map[string]string{"position": `"p1"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := outcome.Expect(world(), tc.records)
			want := map[string]map[string]string{"FSUID_TEST0001": tc.want, "FSUID_TEST0002": {}}
			if d := cmp.Diff(want, e.States); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPoison(t *testing.T) {
	t.Parallel()
	good := string(event("a", 1, `{}`, `{"position":"p1"}`).Value)
	for name, tc := range map[string]struct{ value, want string }{
		"good":               {good, ""},
		"empty value":        {"", "malformed decode whole"},
		"cut":                {good[:40], "malformed decode whole"},
		"something behind":   {good + "{}", "malformed decode whole"},
		"a list":             {"[" + good + "]", "malformed decode whole"},
		"a name twice":       {strings.Replace(good, `"position":"p1"`, `"position":"p1","position":"p1"`, 1), "malformed decode whole"},
		"bad UTF-8":          {strings.Replace(good, "p1", "\xff", 1), "malformed decode whole"},
		"large":              {strings.Replace(good, "p1", strings.Repeat("p", 1000), 1), "oversized decode whole"},
		"no employee":        {strings.Replace(good, "employeeId", "employee", 1), "invalid_event decode a"},
		"no sequence":        {strings.Replace(good, "sequence", "seq", 1), "invalid_event decode a E1"},
		"no after":           {strings.Replace(good, "after", "later", 1), "invalid_event decode a E1"},
		"gender":             {strings.Replace(good, `"position":"p1"`, `"gender":"sample"`, 1), "invalid_field map a E1"},
		"department":         {strings.Replace(good, `"position":"p1"`, `"attachingDepartmentIds":[1,10]`, 1), "crm_not_found update a E1 30007"},
		"member":             {strings.Replace(good, "TEST0001", "TEST0003", 1), "crm_not_found update a E1 20012"},
		"member, no changes": {strings.NewReplacer("TEST0001", "TEST0003", `"position":"p1"`, "").Replace(good), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, l := range outcome.Expect(world(), []outcome.Record{{Partition: 3, Offset: 4, Value: []byte(tc.value), Time: time.UnixMilli(5)}}).DeadLetters {
				id := map[bool]string{true: "3:4@5", false: "3:4:0@5"}[l.Whole]
				if l.ID != id {
					t.Errorf("id %s, want %s", l.ID, id)
				}
				whole := map[bool]string{true: "whole"}[l.Whole]
				got = append(got, strings.Join(strings.Fields(strings.Join([]string{l.Reason, l.Stage, whole, l.EventID, l.EmployeeID, l.Code}, " ")), " "))
			}
			if text := strings.Join(got, "; "); text != tc.want {
				t.Errorf("%q, want %q", text, tc.want)
			}
		})
	}
}

func call(user string, applied bool) outcome.Call {
	return outcome.Call{Member: "FSUID_TEST0001", User: json.RawMessage(user), Applied: applied}
}

func TestReplayFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	e := outcome.Expect(world(), []outcome.Record{
		event("a", 1, `{}`, `{"position":"p1"}`), event("b", 2, `{}`, `{"position":"p2"}`), event("c", 3, `{}`, `{"position":"p1"}`),
		event("d", 4, `{}`, `{"position":"bad","mainDepartmentId":10}`),
	})
	p1, p2, bad := call(`{"openUserId":"FSUID_TEST0001","position":"p1"}`, true), call(`{"position":"p2"}`, true), call(`{"position":"bad"}`, true)
	refused := bad
	refused.Applied = false
	for name, tc := range map[string]struct {
		calls                    []outcome.Call
		unexplained, back, again int
	}{
		"each in turn":          {[]outcome.Call{p1, p2, p1}, 0, 0, 0},
		"some left out":         {[]outcome.Call{p2, refused, p1}, 0, 0, 0},
		"once too often":        {[]outcome.Call{p1, p2, p1, p1}, 0, 0, 1},
		"back":                  {[]outcome.Call{p1, p1, p2}, 0, 1, 0},
		"twice":                 {[]outcome.Call{p2, p2}, 0, 0, 1},
		"poison applied":        {[]outcome.Call{bad}, 1, 0, 0},
		"a value from nowhere":  {[]outcome.Call{call(`{"position":"p3"}`, true)}, 1, 0, 0},
		"refused from nowhere":  {[]outcome.Call{call(`{"email":"p1"}`, false)}, 1, 0, 0},
		"not even a user":       {[]outcome.Call{call(`[]`, true)}, 1, 0, 0},
		"one of another member": {[]outcome.Call{{Member: "FSUID_TEST0002", User: p1.User, Applied: true}}, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := e.Replay(tc.calls)
			if len(a.Unexplained) != tc.unexplained || len(a.Back) != tc.back || len(a.Again) != tc.again {
				t.Errorf("%+v, want %d unexplained, %d back and %d again", a, tc.unexplained, tc.back, tc.again)
			}
		})
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, spec := range []outcome.Spec{
		{Seed: 1, Events: 10000, Employees: 500, Partitions: 6},
		{Seed: 2, Events: 2000, Employees: 500, Partitions: 6},
		{Seed: 3, Events: 800, Employees: 60, Partitions: 3},
	} {
		t.Run(fmt.Sprint(spec.Events), func(t *testing.T) {
			t.Parallel()
			script := outcome.Generate(spec)
			if !reflect.DeepEqual(script, outcome.Generate(spec)) { // cmp.Diff would take half a minute
				t.Error("two scripts of one spec differ")
			}
			odd := spec.Events / 100
			for what, n := range map[string][2]int{
				"records": {len(script.Records), spec.Events}, "duplicates": {script.Duplicates, odd},
				"reordered": {script.Reordered, odd}, "poison": {script.Poison, odd},
			} {
				if n[0] != n[1] {
					t.Errorf("%s: %d, want %d", what, n[0], n[1])
				}
			}
			e := outcome.Expect(script.World, numbered(script.Records))
			if len(e.DeadLetters) != odd || e.Duplicates != odd || e.Stating+e.Empty != spec.Events-2*odd {
				t.Errorf("deadLetters %d, duplicates %d, stating %d, empty %d", len(e.DeadLetters), e.Duplicates, e.Stating, e.Empty)
			}
			wantKinds(t, e.DeadLetters)
			for member, fields := range e.States {
				for name, value := range fields {
					if strings.Contains(value, "sample ") {
						t.Errorf("%s: %s holds poison", member, name)
					}
				}
			}
		})
	}
}

func numbered(records []outcome.Record) []outcome.Record {
	for i := range records {
		records[i].Offset = int64(i)
	}
	return records
}

func wantKinds(t *testing.T, deadLetters []outcome.DeadLetter) {
	t.Helper()
	kinds := make(map[string]int)
	for _, l := range deadLetters {
		kinds[l.Reason+l.Code]++
	}
	want := []string{"crm_not_found20012", "crm_not_found30007", "invalid_event", "invalid_field", "malformed", "oversized"}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); d != "" {
		t.Error(d)
	}
}
