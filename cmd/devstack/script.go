package main

import (
	"bytes"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A row of the script is a message and its expected outcome.
type row struct {
	message
	want   consumer.Outcome
	reason dlq.Reason // of a dead letter
}

// An act is a group of rows that are sent together.
type act struct {
	title    string
	faults   []crmapitest.Fault
	oneByOne bool // each waits until the previous one has ended
	behind   bool // all except the first arrive while its call is open
	goesOn   bool // the next act does not wait for it
	rows     []row
}

// theScript has each case at least once. expectation holds its result.
func theScript() []act {
	return append(goodActs(), act{title: "Poison goes to the dead-letter topic, and the partition continues", faults: []crmapitest.Fault{
		{Member: member(3), Code: crmapitest.CodeRule},
	}, rows: poison()})
}

func goodActs() []act {
	first := changes()
	return []act{
		{title: "Changes: only what the event states is sent", rows: first},
		{
			title:  "A mobile that another member has: the others continue",
			goesOn: true,
			rows:   []row{dead("taken", dlq.ReasonCRMRejected, "a mobile that member 2 has", 8, 2, `"after":{"mobile":"00000000002"}`)},
		},
		{title: "Delivered twice", rows: []row{again(first[0]), again(first[2])}},
		{title: "Nothing new", rows: []row{
			good("same", consumer.Unchanged, "the CRM holds this value", 1, 2, `"after":{"position":"Sample Engineer"}`),
			good("equal", consumer.Unchanged, "after equals before", 2, 2, `"before":{"qq":"10000"},"after":{"qq":"10000"}`),
		}},
		{title: "Late events: the newest wins, field by field", oneByOne: true, rows: []row{
			good("newest", consumer.Applied, "the newest", 1, 20, `"after":{"position":"Sample Lead"}`),
			good("late-1", consumer.Applied, "late: its position is old, its qq is not", 1, 10, `"after":{"position":"Sample Senior","qq":"10001"}`),
			good("late-2", consumer.Superseded, "late: all of it is old", 1, 5, `"after":{"position":"Sample Trainee"}`),
		}},
		{title: "Clears", rows: []row{
			good("clear-1", consumer.Applied, "null clears", 1, 21, `"after":{"email":null}`),
			good("clear-2", consumer.Applied, "an empty list clears", 3, 2, `"after":{"attachingDepartmentIds":[]}`),
			good("clear-3", consumer.Applied, "an empty text clears", 7, 2, `"after":{"qq":""}`),
		}},
		backlog(), offending(), stumbles(),
		{title: "A deletion", rows: []row{
			good("gone", consumer.Ignored, "the employee was deleted", 7, 3, `"before":{"qq":"70007"},"after":null`),
		}},
	}
}

func good(id string, want consumer.Outcome, note string, person, sequence int, parts string) row {
	return row{message: event(note, id, person, sequence, parts), want: want}
}

func dead(id string, reason dlq.Reason, note string, person, sequence int, parts string) row {
	return row{message: event(note, id, person, sequence, parts), want: consumer.DeadLettered, reason: reason}
}

// again delivers a row's bytes again.
func again(r row) row {
	return row{message: message{note: "again: " + r.note, key: r.key, value: r.value}, want: consumer.Duplicate}
}

func changes() []row {
	applied := func(id, note string, person int, parts string) row {
		return good(id, consumer.Applied, note, person, 1, parts)
	}
	return []row{
		applied("two", "two fields", 1, `"after":{"position":"Sample Engineer","email":"one@sample.invalid"}`),
		applied("differs", "only mobile differs", 2, `"before":{"mobile":"00000000001","qq":"10000"},"after":{"mobile":"00000000002","qq":"10000"}`),
		applied("depts", "departments", 3, `"after":{"mainDepartmentId":3,"attachingDepartmentIds":[4,5]}`),
		applied("date", "a date becomes milliseconds", 4, `"after":{"hireDate":"2026-03-02T08:00:00Z","gender":"F"}`),
		applied("leader", "a new leader", 5, `"after":{"leaderId":"FSUID_TEST0001","weixin":"sample-five"}`),
		applied("account", "unique ones", 6, `"after":{"account":"sample.six","name":"Sample Six"}`),
		applied("two-b", "two other fields", 7, `"after":{"position":"Sample Analyst","qq":"70007"}`),
		applied("renamed", "a field that the CRM holds otherwise", 8, `"after":{"fullName":"Sample Person 008 Renamed","employeeNumber":"E1008"}`),
	}
}

func backlog() act {
	return act{title: "Five events of one member, four of them during the first call: two calls", behind: true, rows: []row{
		good("fold-1", consumer.Applied, "in flight", 2, 3, `"after":{"position":"Sample A"}`),
		good("fold-2", consumer.Superseded, "waits: a newer position waits too", 2, 4, `"after":{"position":"Sample B"}`),
		good("fold-3", consumer.Applied, "waits: email", 2, 5, `"after":{"email":"two@sample.invalid"}`),
		good("fold-4", consumer.Applied, "waits: the newest position", 2, 6, `"after":{"position":"Sample C"}`),
		good("fold-5", consumer.Applied, "waits: weixin", 2, 7, `"after":{"weixin":"sample-two"}`),
	}}
}

func offending() act {
	return act{title: "One of three that wait has an unknown department: it alone is dead-lettered", behind: true, rows: []row{
		good("group-1", consumer.Applied, "in flight, again", 5, 2, `"after":{"qq":"50005"}`),
		good("group-2", consumer.Applied, "waits: position", 5, 3, `"after":{"position":"Sample Tester"}`),
		dead("offending", dlq.ReasonCRMNotFound, "waits: department 999", 5, 4, `"after":{"mainDepartmentId":999}`),
		good("group-4", consumer.Applied, "waits: email too", 5, 5, `"after":{"email":"five@sample.invalid"}`),
	}}
}

func stumbles() act {
	return act{title: "The CRM fails: the call is repeated", faults: []crmapitest.Fault{
		{Member: member(4), Status: 503},
		{Member: member(6), At: crmapitest.AfterEffect, Close: true},
	}, rows: []row{
		good("busy", consumer.Applied, "503 at first", 4, 2, `"after":{"position":"Sample Auditor"}`),
		good("lost", consumer.Applied, "applied, but the response is lost", 6, 2, `"after":{"email":"six@sample.invalid"}`),
	}}
}

func poison() []row {
	raw := func(reason dlq.Reason, note string, person int, value []byte) row {
		return row{message: message{note: note, key: []byte(employee(person)), value: value}, want: consumer.DeadLettered, reason: reason}
	}
	return []row{
		raw(dlq.ReasonMalformed, "cut off", 3, []byte(`{"eventId":"cut","sequence":5,"employeeId":`)),
		raw(dlq.ReasonMalformed, "a name twice", 3, []byte(`{"eventId":"twice","sequence":5,"sequence":6,"employeeId":"E0003","openUserId":"FSUID_TEST0003","after":{"qq":"1"}}`)),
		raw(dlq.ReasonMalformed, "not UTF-8", 4, []byte("{\"eventId\":\"latin\",\"sequence\":5,\"employeeId\":\"E0004\",\"openUserId\":\"FSUID_TEST0004\",\"after\":{\"position\":\"\xe9\"}}")),
		raw(dlq.ReasonMalformed, "an empty value", 5, []byte{}),
		raw(dlq.ReasonOversized, noteOversized, 6, bytes.Repeat([]byte("x"), 1<<20+1)),
		raw(dlq.ReasonInvalidEvent, "no sequence", 7, []byte(`{"eventId":"no-seq","employeeId":"E0007","openUserId":"FSUID_TEST0007","after":{"qq":"1"}}`)),
		raw(dlq.ReasonInvalidEvent, "no employee", 7, []byte(`{"eventId":"no-employee","sequence":5,"openUserId":"FSUID_TEST0007","after":{"qq":"1"}}`)),
		dead("gender", dlq.ReasonInvalidField, "neither M nor F", 1, 50, `"after":{"gender":"X"}`),
		dead("masked", dlq.ReasonInvalidField, "a masked number would destroy the real one", 2, 50, `"after":{"mobile":"000****0009"}`),
		dead("no-name", dlq.ReasonInvalidField, "a name cannot be cleared", 3, 50, `"after":{"fullName":null}`),
		dead("unknown", dlq.ReasonCRMNotFound, "a member that the CRM does not know", unknownPerson, 1, `"after":{"position":"Sample Ghost"}`),
		dead("invalid", dlq.ReasonCRMInvalid, "the CRM calls a parameter invalid", 3, 60, `"after":{"weixin":"sample-three"}`),
	}
}

// noteOversized is the note of the one sample that is too large to be read.
const noteOversized = "larger than 1 MiB"

// expectation returns the state of every member after the script, written by hand: for each field
// the value of the newest event that states it and was not dead-lettered.
func expectation() map[string]string {
	return map[string]string{
		"FSUID_TEST0001": `{"fullName":"Sample Person 001","employeeNumber":"E0001","position":"Sample Lead","email":"","qq":"10001"}`,
		"FSUID_TEST0002": `{"fullName":"Sample Person 002","employeeNumber":"E0002","mobile":"00000000002","position":"Sample C","email":"two@sample.invalid","weixin":"sample-two"}`,
		"FSUID_TEST0003": `{"fullName":"Sample Person 003","employeeNumber":"E0003","mainDepartmentId":3,"attachingDepartmentIds":[]}`,
		"FSUID_TEST0004": `{"fullName":"Sample Person 004","employeeNumber":"E0004","hireDate":"1772438400000","gender":"F","position":"Sample Auditor"}`,
		"FSUID_TEST0005": `{"fullName":"Sample Person 005","employeeNumber":"E0005","leaderId":"FSUID_TEST0001","weixin":"sample-five","qq":"50005","position":"Sample Tester","email":"five@sample.invalid"}`,
		"FSUID_TEST0006": `{"fullName":"Sample Person 006","employeeNumber":"E0006","account":"sample.six","name":"Sample Six","email":"six@sample.invalid"}`,
		"FSUID_TEST0007": `{"fullName":"Sample Person 007","employeeNumber":"E0007","position":"Sample Analyst","qq":""}`,
		"FSUID_TEST0008": `{"fullName":"Sample Person 008 Renamed","employeeNumber":"E1008"}`,
		"FSUID_TEST0009": `{"fullName":"Sample Person 009","employeeNumber":"E0009"}`,
	}
}
