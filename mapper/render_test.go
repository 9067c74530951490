package mapper_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

func TestAppendMapJSON(t *testing.T) {
	t.Parallel()
	const version = "0000000000000000000000042179533440100000003000000000000410000000"
	const known = `"event_id":"ev1","employee_id":"E1","index":0,"version":"` + version + `"`
	tests := []struct{ name, value, want string }{
		{
			"update", envelope(`"before":{"email":"a"},"after":{"email":null,"name":"\u4e2d\"<"}`),
			`{"outcome":"update",` + known + `,"user":{"openUserId":"FSUID_TEST0001","name":"中\"<","email":""}}`,
		},
		{"unchanged", envelope(`"after":{}`), `{"outcome":"unchanged",` + known + `}`},
		{"ignored", envelope(`"before":{},"after":null`), `{"outcome":"ignored","reason":"deletion",` + known + `}`},
		{
			"rejected", envelope(`"after":{"gender":"X"}`),
			`{"outcome":"rejected","reason":"invalid_field",` + known + `,"path":"after.gender","error":"invalid_field: after.gender is neither M nor F (byte 137)"}`,
		},
		{
			"rejected with little identity", `{"employeeId":"\n"}`,
			`{"outcome":"rejected","reason":"invalid_event","index":0,"path":"eventId","error":"invalid_event: eventId is missing"}`,
		},
		{
			"rejected whole", `[]`,
			`{"outcome":"rejected","reason":"malformed","error":"malformed: the value is a list, not an object (byte 0)"}`,
		},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(tt.value)).AppendMapJSON([]byte("> "))
			if diff := cmp.Diff("> "+tt.want, string(got)); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultStage(t *testing.T) {
	t.Parallel()
	want := map[mapper.Reason]string{
		mapper.Malformed: "decode", mapper.Oversized: "decode", mapper.InvalidEvent: "decode", mapper.InvalidField: "map",
	}
	for reason, stage := range want {
		if got := (&mapper.Fault{Reason: reason}).Stage(); got != stage {
			t.Errorf("%s fails at %s, want %s", reason, got, stage)
		}
	}
}
