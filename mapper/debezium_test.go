package mapper_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"membersync/mapper"
)

// A captured record is one of Debezium 3.5 on PostgreSQL 15 and MariaDB 10.11, with made-up rows.
type captured struct {
	What       string
	Partition  int
	Offset     int64
	Timestamp  time.Time
	Key, Value *string
}

func (c *captured) record() mapper.Record {
	rec := mapper.Record{Topic: "hr", Partition: c.Partition, Offset: c.Offset, Time: c.Timestamp}
	if c.Key != nil {
		rec.Key = []byte(*c.Key)
	}
	if c.Value != nil {
		rec.Value = []byte(*c.Value)
	}
	return rec
}

func capturedRecords(tb testing.TB) (records []captured) {
	tb.Helper()
	lines := bufio.NewScanner(bytes.NewReader(readFile(tb, "testdata/debezium/records.ndjson")))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c captured
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			tb.Fatal(err)
		}
		records = append(records, c)
	}
	return records
}

// What each captured record means, by the mapping that fits it. Members are told by their last
// digits.
func TestCapturedRecords(t *testing.T) {
	t.Parallel()
	const one, other = `"mobile":"00000000008","name":"sp8","openUserId":"FSUID_TEST000`, `","position":""}`
	whole := func(dept, member string) string {
		return `update {"attachingDepartmentIds":[],"birthDate":"-1214467200000","email":"","employeeNumber":"000008","fullName":"Sample Person 008",` +
			`"gender":"F","hireDate":"-115200000","mainDepartmentId":` + dept + `,` + one + member + other
	}
	sample := func(text string) string { return `update {` + text + `}` }
	want := map[string][]string{ // the mapping, and the outcome of each record of the kind
		"PostgreSQL, initial snapshot":                 {"hr", whole("3", "8")},
		"identity full, another member":                {"hr", whole("5", "9")},
		"update, identity full":                        {"hr", sample(`"openUserId":"FSUID_TEST0001","position":"Full Lead"`)},
		"C1, delivery 1 (connector killed in between)": {"hr", sample(`"openUserId":"FSUID_TEST0001","position":"C1"`)},
		"C1, delivery 2 (connector killed in between)": {"hr", sample(`"openUserId":"FSUID_TEST0001","position":"C1"`)},
		"identity by another index: before is invented in part": {"hr", sample(`"attachingDepartmentIds":[14],"birthDate":"625852800000","email":"",` +
			`"employeeNumber":"000004","fullName":"Sample Person 004z","gender":"M","hireDate":"1620144000000","mainDepartmentId":7,"mobile":"00000000004",` +
			`"name":"sp4b","openUserId":"FSUID_TEST0004","position":""`)},
		"toasted int[] not touched, default identity": {"hr", sample(`"birthDate":"-28800000","email":"s9@example.com","employeeNumber":"000009",` +
			`"fullName":"Sample Person 009","mainDepartmentId":5,"mobile":"00000000009","openUserId":"FSUID_TEST0009","position":"Sample Lead 2"`)},
		"incremental snapshot: no lsn": {"hr", sample(`"attachingDepartmentIds":[1,2],"birthDate":"-121248000000","email":"s2@example.com","employeeNumber":"000002",` +
			`"fullName":"Sample Person 002","gender":"M","mainDepartmentId":3,"mobile":"00000000302","name":"sp2","openUserId":"FSUID_TEST0002","position":"C3"`)},
		"time.precision.mode=isostring": {"hr", sample(`"attachingDepartmentIds":[3],"birthDate":"-28800000","email":"s9@example.com","employeeNumber":"000009",` +
			`"fullName":"Sample Person 009","mainDepartmentId":6,"mobile":"00000000009","openUserId":"FSUID_TEST0009","position":"Sample Lead 3"`)},
		"C2, delivery 1 (connector killed in between)": {"hr", sample(`"openUserId":"FSUID_TEST0001","position":"C2"`)},
		"C2, delivery 2 (connector killed in between)": {"hr", sample(`"openUserId":"FSUID_TEST0001","position":"C2"`)},
		"update, default identity, bio not touched": {"hr", sample(`"attachingDepartmentIds":[13],"birthDate":"591292800000","email":"x3@example.com","employeeNumber":"000003",` +
			`"fullName":"Sample Person 003","gender":"F","hireDate":"1578067200000","mainDepartmentId":9,"mobile":"00000000003","name":"spx3","openUserId":"FSUID_TEST0003","position":"Sample Boss"`)},
		"primary key change: create": {"hr", sample(`"attachingDepartmentIds":[11],"birthDate":"694972800000","email":"s6@example.com","employeeNumber":"000066",` +
			`"fullName":"Sample Person 006","gender":"M","hireDate":"1578326400000","mainDepartmentId":8,"mobile":"00000000006","name":"sp6","openUserId":"FSUID_TEST0006","position":"Sample Clerk"`)},
		"CloudEvents converter": {"hr-cloudevents", sample(`"attachingDepartmentIds":[3],"birthDate":"-28800000","email":"s9@example.com","employeeNumber":"000009",` +
			`"fullName":"Sample Person 009","mainDepartmentId":6,"mobile":"00000000009","openUserId":"FSUID_TEST0009","position":"Sample Lead 3"`)},
		"with schema": {"hr", sample(`"attachingDepartmentIds":[11],"birthDate":"522169200000","email":"s1@example.com","employeeNumber":"000001",` +
			`"fullName":"Sample Person 001","gender":"F","hireDate":"1577894400000","mainDepartmentId":2,"mobile":"00000000001","name":"sp1","openUserId":"FSUID_TEST0001","position":"Sample Lead"`)},
		"date infinity":       {"hr", "rejected invalid_field after.hire_date"}, // microseconds, not days
		"2-dimensional int[]": {"hr", "rejected invalid_field after.extra_depts"},
		"delete, default identity: before is invented in part": {"hr", "ignored not in the CRM"},
		"its tombstone":    {"hr", "ignored tombstone"},
		"flattened delete": {"hr-flat", "ignored not in the CRM"},
		"MariaDB, update":  {"hr-mariadb", sample(`"openUserId":"FSUID_TEST0001","position":"M1"`)},
		"initial snapshot of a row that changes during it": {"people", sample(`"openUserId":"745","position":"t0"`)},
		"that change: older by ts_ms, and lost":            {"people", sample(`"openUserId":"745","position":"t1"`)},
		"MariaDB, id 588: incremental snapshot and change": {"people", sample(`"openUserId":"588","position":"t2"`), sample(`"openUserId":"588","position":"t3"`)},
		"MariaDB, initial snapshot": {"hr-mariadb", sample(`"attachingDepartmentIds":[],"email":"","employeeNumber":"000003","fullName":"Sample Person 003",` +
			`"mainDepartmentId":3,"mobile":"00000000003","openUserId":"FSUID_TEST0003","position":""`)},
		"flattened": {"hr-flat", sample(`"attachingDepartmentIds":[13],"birthDate":"591292800000","email":"x3@example.com","employeeNumber":"000003",` +
			`"fullName":"Sample Person 003","gender":"F","hireDate":"1578067200000","mainDepartmentId":9,"mobile":"00000000003","name":"spx3","openUserId":"FSUID_TEST0003","position":"Sample Boss"`)},
	}
	mappings, seen := map[string]*mapper.Mapping{}, map[string]bool{}
	for _, name := range []string{"hr", "hr-flat", "hr-mariadb", "hr-cloudevents", "people"} {
		m, err := mapper.Parse(name, readFile(t, "testdata/debezium/"+name+".yaml"), mapper.Options{MaxAhead: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		mappings[name] = m
	}
	ids, versions := map[string]string{}, map[string]mapper.Version{}
	for _, c := range capturedRecords(t) {
		w := want[c.What]
		if w == nil {
			t.Errorf("nothing is wanted of: %s", c.What)
			continue
		}
		seen[c.What] = true
		results := mappings[w[0]].Map(c.record())
		got, event := told(results[0]), results[0].Event
		if len(results) != 1 || got != w[1] && got != w[len(w)-1] {
			t.Errorf("%s: %s, want %s (%v)", c.What, got, w[1], results[0].Fault)
		}
		what, _, _ := strings.Cut(c.What, ", delivery")
		if old, again := ids[event.ID], event.ID != ""; again && old != "" && old != what {
			t.Errorf("%s and %s have the id %s", old, what, event.ID)
		}
		if w[0] == "people" && event.Version <= versions[event.EmployeeID] {
			t.Errorf("%s is older than what is before it in the topic", c.What)
		}
		ids[event.ID], versions[event.EmployeeID] = what, max(event.Version, versions[event.EmployeeID])
	}
	for what := range want {
		if !seen[what] {
			t.Errorf("no record of: %s", what)
		}
	}
}

// Two deliveries of one change have one id, by the built-in mapping too.
func TestBuiltinDebeziumKnowsDeliveries(t *testing.T) {
	t.Parallel()
	m := builtin(t, "debezium", options())
	byWhat := map[string]string{}
	for _, c := range capturedRecords(t) {
		if c.Value == nil || !strings.Contains(c.What, "delivery") {
			continue
		}
		text := strings.NewReplacer(`"emp_no"`, `"employeeId"`, `"crm_open_user_id"`, `"openUserId"`).Replace(*c.Value)
		r := m.Map(mapper.Record{Value: []byte(text), Offset: c.Offset, Time: c.Timestamp})[0]
		if r.Fault != nil || r.Event.ID == "" {
			t.Fatal(r.Fault)
		}
		byWhat[c.What[:2]+r.Event.ID] = c.What[:2]
	}
	if len(byWhat) != 2 {
		t.Errorf("%v, want one id for each change", byWhat)
	}
}
