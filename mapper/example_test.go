package mapper_test

import (
	"fmt"
	"os"

	"membersync/mapper"
)

func ExampleMapping_Map() {
	mapping, err := mapper.Builtin("canonical", mapper.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	results := mapping.Map(mapper.Record{Value: []byte(`{
		"eventId": "ev1", "sequence": 42, "employeeId": "E1", "openUserId": "FSUID_TEST0001",
		"before": {"position": "Sample A", "email": "sample001@example.com", "qq": "10001"},
		"after":  {"position": "Sample B", "email": null}
	}`)})
	for _, r := range results {
		fmt.Println(string(r.Event.Update.AppendJSON(nil)))
	}
	// Output: {"openUserId":"FSUID_TEST0001","position":"Sample B","email":""}
}

func ExampleFold() {
	mapping, err := mapper.Builtin("canonical", mapper.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	var waiting []mapper.Event
	for _, value := range []string{
		`{"eventId":"ev8","sequence":8,"employeeId":"E1","openUserId":"FSUID_TEST0001","after":{"position":"newer"}}`,
		`{"eventId":"ev7","sequence":7,"employeeId":"E1","openUserId":"FSUID_TEST0001","after":{"position":"older","qq":"10001"}}`,
	} {
		for _, r := range mapping.Map(mapper.Record{Value: []byte(value)}) {
			waiting = append(waiting, r.Event)
		}
	}
	fmt.Println(string(mapper.Fold(waiting).Update().AppendJSON(nil)))
	// Output: {"openUserId":"FSUID_TEST0001","position":"newer","qq":"10001"}
}
