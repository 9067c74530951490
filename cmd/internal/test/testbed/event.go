package testbed

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
)

// An Event is one change in canonical form. All people are made up.
type Event struct {
	ID       string // empty: built from the employee and the sequence
	Employee int    // its openUserId is that of [OpenUserID]
	Sequence int64
	Before   string // a JSON object; empty: left out
	After    string // a JSON object
}

// OpenUserID returns the openUserId of a made-up employee.
func OpenUserID(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// EmployeeID returns the HR system's id of a made-up employee.
func EmployeeID(employee int) string { return fmt.Sprintf("E%04d", employee) }

// Record returns the event's record. All records of one employee go to one partition.
func (e Event) Record(partitions int) Record {
	id := e.ID
	if id == "" {
		id = EmployeeID(e.Employee) + "-" + strconv.FormatInt(e.Sequence, 10)
	}
	b := make([]byte, 0, 160+len(e.Before)+len(e.After))
	b = append(append(b, `{"eventId":`...), quote(id)...)
	b = append(append(b, `,"occurredAt":"2026-01-02T03:04:05Z","sequence":`...), strconv.FormatInt(e.Sequence, 10)...)
	b = append(append(b, `,"employeeId":`...), quote(EmployeeID(e.Employee))...)
	b = append(append(b, `,"openUserId":`...), quote(OpenUserID(e.Employee))...)
	if e.Before != "" {
		b = append(append(b, `,"before":`...), e.Before...)
	}
	b = append(append(append(b, `,"after":`...), e.After...), '}')
	key := []byte(EmployeeID(e.Employee))
	return Record{Partition: partitionOf(key, partitions), Key: key, Value: b}
}

func partitionOf(key []byte, partitions int) int {
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int(h.Sum32() % uint32(partitions)) //nolint:gosec // a few partitions
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string always has a form in JSON
	return b
}
