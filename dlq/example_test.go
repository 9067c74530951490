package dlq_test

import (
	"fmt"
	"time"

	"membersync/dlq"
)

func ExampleDeadLetter_Message() {
	failedAt := time.Date(2026, 11, 22, 8, 0, 1, 0, time.UTC)
	deadLetter := dlq.DeadLetter{
		Key:     []byte("E1001"),
		Value:   []byte(`{"eventId":"ev-42","employeeId":"E1001"}`),
		Headers: []dlq.Header{{Key: "traceparent", Value: []byte("00-1")}, {Key: "dlq.id", Value: []byte("the source's own")}},
		Source:  dlq.Source{Topic: "hris.employee.changed", Partition: 3, Offset: 1042, Timestamp: failedAt.Add(-time.Second)},
		Reason:  dlq.ReasonCRMNotFound,
		Error:   "the CRM does not know the member",
		CRMCode: "20012", CRMTraceID: "crm-0001", ThirdTraceID: "ms-0001",
		EventID: "ev-42", EmployeeID: "E1001", Index: 0, Count: 1,
		Attempts: 1, FirstFailedAt: failedAt, FailedAt: failedAt,
		Group: "membersync", Version: "v1.0.0",
	}
	for _, h := range deadLetter.Message().Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	// Output:
	// traceparent: 00-1
	// orig.dlq.id: the source's own
	// dlq.id: 3:1042:0@1795334400000
	// dlq.reason: crm_not_found
	// dlq.stage: update
	// dlq.error: the CRM does not know the member
	// dlq.crm.code: 20012
	// dlq.crm.trace.id: crm-0001
	// dlq.third.trace.id: ms-0001
	// dlq.event.id: ev-42
	// dlq.employee.id: E1001
	// dlq.event.index: 0
	// dlq.event.count: 1
	// dlq.attempts: 1
	// dlq.first.failed.at: 2026-11-22T08:00:01.000Z
	// dlq.failed.at: 2026-11-22T08:00:01.000Z
	// dlq.source.topic: hris.employee.changed
	// dlq.source.partition: 3
	// dlq.source.offset: 1042
	// dlq.source.timestamp: 2026-11-22T08:00:00.000Z
	// dlq.group: membersync
	// dlq.membersync.version: v1.0.0
	// dlq.redrives: 0
}
