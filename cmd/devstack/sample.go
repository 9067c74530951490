package main

import (
	"encoding/json"
	"fmt"

	"membersync/crmapi/crmapitest"
)

// The names of the sample company. All of it is made up.
const (
	sampleTopic   = "hris.employee.changed"
	sampleCorp    = "sample-corp"
	sampleToken   = "sample-token"
	sampleKey     = "sample-state-key-of-32-bytes-or-more"
	samplePeople  = 9  // members of the CRM
	streamPeople  = 8  // of them, those in samples; the last is left to the user
	departments   = 20 // that exist, from 1
	unknownPerson = 404
	noteHeader    = "sample" // the kind of sample of a record
)

// A message is one record to be sent.
type message struct {
	note       string // the kind of sample
	key, value []byte // a nil value is a tombstone
}

func employee(person int) string { return fmt.Sprintf("E%04d", person) }

func member(person int) string { return fmt.Sprintf("FSUID_TEST%04d", person) }

// people are the members that the CRM knows from the start.
func people() []crmapitest.Seed {
	all := make([]crmapitest.Seed, 0, samplePeople)
	for n := range samplePeople {
		person := n + 1
		all = append(all, crmapitest.Seed{OpenUserID: member(person), Fields: map[string]json.RawMessage{
			"fullName":       fmt.Appendf(nil, `"Sample Person %03d"`, person),
			"employeeNumber": fmt.Appendf(nil, `"%s"`, employee(person)),
		}})
	}
	return all
}

// event writes a canonical event; parts are its members before and after.
func event(note, id string, person, sequence int, parts string) message {
	return message{
		note: note,
		key:  []byte(employee(person)),
		value: fmt.Appendf(nil, `{"eventId":%q,"sequence":%d,"employeeId":%q,"openUserId":%q,%s}`,
			id, sequence, employee(person), member(person), parts),
	}
}
