package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// stem is the beginning of every canary that is a text, so that a part of one is found too.
const stem = "zqcanary"

// canaries are values of member fields and secrets that must not be found anywhere. Numbers have
// enough digits not to be found by chance.
func canaries() map[string]any {
	all := map[string]any{
		"mobile": "90705030101", "hireDate": int64(9070503010203), "birthDate": int64(9070503040506),
		"startWorkDate": int64(9070503070809), "mainDepartmentId": int64(907050301122), "attachingDepartmentIds": []int64{907050303344},
	}
	for _, field := range []string{
		"account", "name", "fullName", "position", "email", "qq", "weixin", "employeeNumber", "leaderId",
	} {
		all[field] = stem + "-" + field + " <\"样例\">"
	}
	return all
}

// secrets returns all secrets that a service may have. Each is a canary.
func secrets() map[string]string {
	return map[string]string{
		"CRM_TOKEN": stem + "-token", "CRM_APP_SECRET": stem + "-app-secret", "CRM_PERMANENT_CODE": stem + "-permanent-code",
		"STATE_KEY": stem + "-digest-key-of-thirty-two-bytes", "REDIS_PASSWORD": stem + "-redis-password",
	}
}

// canaryOptions returns a CRM that echoes what it received in every kind of failure.
func canaryOptions() crmapitest.Options {
	opts := crmapitest.Options{
		Tokens: []string{secrets()["CRM_TOKEN"]}, AppID: "app-of-the-test", AppSecret: secrets()["CRM_APP_SECRET"],
		PermanentCode: secrets()["CRM_PERMANENT_CODE"],
	}
	for i := range 30 {
		opts.Members = append(opts.Members, member(i))
	}
	var mu sync.Mutex
	counts := make(map[string]int)
	opts.Fault = func(seen crmapitest.Seen) crmapitest.Fault {
		mu.Lock()
		defer mu.Unlock()
		counts[seen.OpenUserID]++
		fault := echo(seen)
		if fault.Code != 201112011 && fault.Code != 10001 && counts[seen.OpenUserID] > 1 {
			return crmapitest.Fault{Message: fault.Message} // the fault ends by itself, and its response still echoes
		}
		return fault
	}
	return opts
}

func member(i int) string { return fmt.Sprintf("FSUID_TEST%04d", i) }

// echo returns the fault of the first request of some members.
func echo(seen crmapitest.Seen) crmapitest.Fault {
	said := string(seen.User)
	switch seen.OpenUserID {
	case member(1):
		return crmapitest.Fault{Code: -1, Message: said}
	case member(2):
		return crmapitest.Fault{Code: 50009, Message: said, At: crmapitest.AfterEffect}
	case member(3):
		return crmapitest.Fault{Status: http.StatusBadGateway, Body: "<html>" + said + "</html>", Header: map[string]string{"X-Echo": stem, "Retry-After": stem}}
	case member(4):
		return crmapitest.Fault{Code: 10001, Message: said} // poison
	case member(5):
		return crmapitest.Fault{Code: 201112011, Message: said} // only in the test's table
	case member(6):
		return crmapitest.Fault{Cut: true, Message: said}
	case member(7):
		return crmapitest.Fault{Close: true}
	case member(8):
		return crmapitest.Fault{Code: 20016, Message: said}
	case member(9):
		return crmapitest.Fault{Body: said, Type: "application/json"} // JSON, but not a response of the CRM
	case member(10):
		return crmapitest.Fault{Hang: true}
	}
	return crmapitest.Fault{Message: said}
}

// canaryRecords returns changes of every field: good ones and poison of every kind.
func canaryRecords() []outcome.Record {
	var records []outcome.Record
	add := func(i int, value string) {
		records = append(records, outcome.Record{Partition: i % 3, Key: fmt.Appendf(nil, "E%04d", i), Value: []byte(value)})
	}
	all := canaries()
	for i := range 20 {
		for n, field := range slices.Sorted(maps.Keys(all)) {
			if field == "position" || i != 4 && i != 5 { // all their changes are rejected
				add(i, canaryEvent(i, n+1, map[string]any{field: own(all[field], i)}))
			}
		}
	}
	text := stem + "-value"
	good := canaryEvent(20, 1, map[string]any{"position": text, "email": text})
	add(20, good)
	add(20, good) // a duplicate
	add(20, canaryEvent(20, 2, map[string]any{"position": text}))
	for _, bad := range []string{
		good[:len(good)-9], good + text, `"` + text + `"`, text, strings.Replace(good, `"position"`, `"`+text+`":1,"`+text+`"`, 1),
		strings.Replace(good, `"position":`, `"position":1,"position":`, 1), strings.Replace(good, text, "\xff"+text, 1),
		strings.Replace(good, "employeeId", text, 1), strings.Replace(good, `"sequence":1`, `"sequence":"`+text+`"`, 1),
		strings.Replace(good, `"after":{`, `"after":"`+text+`","x":{`, 1), "", strings.Replace(good, text, text+strings.Repeat("x", 20000), 1),
	} {
		add(21, bad)
	}
	for n, field := range slices.Sorted(maps.Keys(all)) {
		add(22, canaryEvent(22, n+1, map[string]any{field: map[string]any{text: text}}))
	}
	for n, field := range []string{"gender", "hireDate", "mainDepartmentId", "attachingDepartmentIds"} {
		add(23, canaryEvent(23, n+1, map[string]any{field: text}))
	}
	add(24, canaryEvent(24, 1, map[string]any{"mobile": fmt.Sprint(all["mobile"], "****")}))
	add(99, canaryEvent(99, 1, map[string]any{"email": text})) // the CRM does not know 99
	return records
}

// openRecord returns a record whose call the test keeps open.
func openRecord() outcome.Record {
	value := canaryEvent(19, 50, map[string]any{"position": stem + "-open"})
	return outcome.Record{Partition: 19 % 3, Key: []byte("E0019"), Value: []byte(value)}
}

// own returns a variant of the value for this employee if it must be unique in the company.
func own(value any, i int) any {
	if text, ok := value.(string); ok {
		return fmt.Sprintf("%s%02d", text, i)
	}
	return value
}

func canaryEvent(i, order int, after map[string]any) string {
	text, err := json.Marshal(map[string]any{
		"eventId": fmt.Sprintf("event-of-test-%d-%d", i, order), "employeeId": fmt.Sprintf("E%04d", i), "openUserId": member(i), "sequence": order,
		"before": map[string]any{"email": stem + "-before"}, "after": after, stem + "-name": stem + "-other",
	})
	if err != nil {
		return err.Error()
	}
	return string(text)
}
