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
