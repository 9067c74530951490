package mapper_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"membersync/mapper"
)

// typical is an event of 900 bytes: full states, of which two fields differ.
func typical() string {
	const same = `"account":"sample001","name":"Sample Person 001","fullName":"Sample Person 001","gender":"F",` +
		`"email":"sample001@example.com","mainDepartmentId":1000,"attachingDepartmentIds":[1001,1002],` +
		`"employeeNumber":"000001","hireDate":"2023-03-16T00:00:00+08:00","leaderId":"FSUID_TEST0002"`
	return envelope(`"before":{` + same + `,"mobile":"00000000001","position":"Sample A"},` +
		`"after":{` + same + `,"mobile":"00000000002","position":"Sample B"}`)
}

func BenchmarkMap(b *testing.B) {
	m, rec := builtin(b, "canonical", options()), record(typical())
	b.SetBytes(int64(len(rec.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if got := m.Map(rec); got[0].Event.Update.Len() != 2 {
			b.Fatal(got[0].Fault)
		}
	}
}

// BenchmarkPlainJSON is the yardstick: encoding/json into structs, which checks nothing of
// what Map checks and compares nothing.
func BenchmarkPlainJSON(b *testing.B) {
	type member struct {
		Account, Name, FullName, Position, Gender, Mobile, Email, QQ, Weixin string
		MainDepartmentID                                                     int64   `json:"mainDepartmentId"`
		AttachingDepartmentIDs                                               []int64 `json:"attachingDepartmentIds"`
		EmployeeNumber, HireDate, BirthDate, StartWorkDate, LeaderID         string
	}
	type event struct {
		EventID, EmployeeID, OpenUserID, OccurredAt string
		Sequence                                    uint64
		Before, After                               *member
	}
	value := []byte(typical())
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		var e event
		if err := json.Unmarshal(value, &e); err != nil || e.After == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMapBomb bounds what a crafted record of the largest size costs.
func BenchmarkMapBomb(b *testing.B) {
	bomb := make([]byte, 1<<20-1000)
	for i := range bomb {
		bomb[i] = '['
	}
	m, rec := builtin(b, "canonical", options()), record(`{"x":`+string(bomb))
	for b.Loop() {
		if m.Map(rec)[0].Fault == nil {
			b.Fatal("accepted")
		}
	}
}

// BenchmarkMapCraftedList bounds what a record of the largest size costs that has the most
// employees, in a document of as many other members as fit.
func BenchmarkMapCraftedList(b *testing.B) {
	m := mustParse(b, strings.NewReplacer("$event.emp", "$item.emp", "version: 1", "version: 1\nenvelope: {list: $event.l}").Replace(minimal("fields: {qq: qq}")))
	var text strings.Builder
	text.WriteString(`{"l":[` + strings.Repeat(`{"emp":"E1"},`, 999) + `{"emp":"E1"}]`)
	for i := 0; text.Len() < 1<<20-100; i++ {
		text.WriteString(`,"` + strconv.Itoa(i) + `":0`)
	}
	rec := record(text.String() + `}`)
	for b.Loop() {
		if got := m.Map(rec); len(got) != 1000 || got[0].Fault == nil {
			b.Fatal(got[0])
		}
	}
}

// BenchmarkMapDebezium is a typical update of a row.
func BenchmarkMapDebezium(b *testing.B) {
	file := corpus(b)["debezium"]
	rec := record(`{"before":{"emp_no":"E1","full_name":"Sample Person 001","title":"A","sex":"M","phone":"+86 000 0000 0001","email":"a@example.com","dept_code":"D01","birthday":7425,"hired_at":1678958999999999},` +
		`"after":{"emp_no":"E1","full_name":"Sample Person 001","title":"B","sex":"M","phone":"+86 000 0000 0002","email":"a@example.com","dept_code":"D02","birthday":7425,"hired_at":1678958999999999},` +
		`"source":{"version":"2.7.0","connector":"postgresql","name":"hr","ts_ms":1795334400000,"db":"hr","schema":"public","table":"emp","txId":571,"lsn":24023128},"op":"u","ts_ms":1795334400100}`)
	found := map[mapper.Reference]string{{Lookup: "members", Key: "E1"}: "FSUID_TEST0001"}
	b.SetBytes(int64(len(rec.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if got := file.mapped.MapWith(rec, found); got[0].Event.Update.Len() != 3 {
			b.Fatal(got[0])
		}
	}
}
