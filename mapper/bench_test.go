package mapper_test

import (
	"encoding/json"
	"testing"
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

// BenchmarkMapBomb bounds what a hostile record of the largest size costs.
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
