package incident_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
	"membersync/cmd/internal/test/oracle/outcome"
)

// log returns records of "sequence after", all of one employee.
func log(events ...string) []outcome.Record {
	var all []outcome.Record
	for i, one := range events {
		sequence, after, _ := strings.Cut(one, " ")
		all = append(all, outcome.Record{Offset: int64(i), Time: time.UnixMilli(1), Value: fmt.Appendf(nil,
			`{"eventId":"ev-%s","sequence":%[1]s,"employeeId":"E1","openUserId":"FSUID_TEST1","before":{"email":"e"},"after":{%s}}`, sequence, after)})
	}
	return all
}

func expect(t *testing.T, events ...string) incident.Expectation {
	t.Helper()
	e, err := incident.Expect(log(events...), map[string]int64{"old": 1}, map[string]int64{"old": 1, "new": 2})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestItems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		events []string
		want   map[string]string // overtaken and outcome, by id
	}{
		"alone":                  {[]string{`1 "dept":"new"`}, map[string]string{"0:0:0@1": "none applied"}},
		"known":                  {[]string{`1 "dept":"old"`}, map[string]string{}},
		"newer of another field": {[]string{`1 "dept":"new"`, `2 "qq":"b"`}, map[string]string{"0:0:0@1": "none applied"}},
		"newer of one field":     {[]string{`1 "dept":"new","qq":"a"`, `2 "qq":"b"`}, map[string]string{"0:0:0@1": "some applied"}},
		"newer of all":           {[]string{`1 "dept":"new","qq":"a"`, `2 "qq":"b"`, `3 "dept":"old"`}, map[string]string{"0:0:0@1": "all superseded"}},
		"older of all":           {[]string{`5 "dept":"new","qq":"a"`, `2 "qq":"b","dept":"old"`}, map[string]string{"0:0:0@1": "none applied"}},
		"late":                   {[]string{`5 "qq":"b","dept":"old"`, `2 "dept":"new","qq":"a"`}, map[string]string{"0:1:0@1": "all superseded"}},
		"a dead one overtakes nothing": {
			[]string{`1 "dept":"new"`, `2 "dept":"new","qq":"a"`}, map[string]string{"0:0:0@1": "none ", "0:1:0@1": "none applied"},
		},
		"held before": {[]string{`1 "dept":"new","email":"e"`, `2 "dept":"old"`}, map[string]string{"0:0:0@1": "all superseded"}},
		"a copy":      {[]string{`1 "dept":"new"`, `1 "dept":"new"`}, map[string]string{"0:0:0@1": "none ", "0:1:0@1": "none applied"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]string{}
			for id, item := range expect(t, tc.events...).Items {
				got[id] = item.NewerValues + " " + item.Outcome
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	e := expect(t, `1 "qq":"a","dept":"old"`, `3 "dept":"new","email":"e"`, `2 "qq":"b","dept":"old"`)
	before := map[string]map[string]string{"FSUID_TEST1": {"qq": `"b"`, "mainDepartmentId": "1"}}
	after := map[string]map[string]string{"FSUID_TEST1": {"qq": `"b"`, "mainDepartmentId": "2"}}
	if d := cmp.Diff(before, e.Before) + cmp.Diff(after, e.After); d != "" {
		t.Error(d)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	e := expect(t, `1 "qq":"a"`, `2 "qq":"b"`, `3 "qq":"a","dept":"new"`)
	call := func(user string) outcome.Call {
		return outcome.Call{Member: "FSUID_TEST1", User: []byte(user), Applied: true}
	}
	a, b, none, dept := call(`{"openUserId":"x","qq":"a"}`), call(`{"qq":"b"}`), call(`{"qq":"c"}`), call(`{"mainDepartmentId":2}`)
	for name, tc := range map[string]struct {
		calls []outcome.Call
		back  int
	}{
		"in order": {[]outcome.Call{a, b, a}, 0}, "again": {[]outcome.Call{b, b}, 0}, "back": {[]outcome.Call{b, a, b}, 1},
		"no member": {[]outcome.Call{none}, 1}, "no object": {[]outcome.Call{call(`[]`)}, 1},
	} {
		if got := e.Back(tc.calls); len(got) != tc.back {
			t.Errorf("%s: %q", name, got)
		}
	}
	if d := cmp.Diff(map[string]int{"0:2:0@1": 2}, e.Sent([]outcome.Call{a, dept, b, dept})); d != "" {
		t.Error(d)
	}
}

// A story holds enough dead letters of each kind, and more good events.
func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, events := range []int{240, 5000} {
		story := incident.Generate(1, events, 6)
		for i := range story {
			story[i].Offset = int64(i)
		}
		e, err := incident.Expect(story, incident.Departments(false), incident.Departments(true))
		if err != nil || len(story) != events {
			t.Fatalf("%d events, %v", len(story), err)
		}
		n := e.NewerValues()
		if least := events / 24; n[incident.All] < least || n[incident.Some] < least || n[incident.None] < least || len(e.Items) > events/3 {
			t.Errorf("of %d events, dead letters by kind: %v", events, n)
		}
	}
}
