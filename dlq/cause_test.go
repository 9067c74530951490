package dlq_test

import (
	"testing"

	"membersync/dlq"
)

// Dead letters of one cause have the same text, whatever their ids and offsets are.
func TestCause(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]dlq.DeadLetter{
		"crm_not_found 30007 department not found": {
			Reason: dlq.ReasonCRMNotFound, CRMCode: "30007", Error: "department not found (30007)",
		},
		"invalid_field after.gender is neither M nor F (byte …)": {
			Reason: dlq.ReasonInvalidField, Error: "invalid_field: after.gender is neither M nor F (byte 94)",
		},
		"malformed trace … at …": {
			Reason: dlq.ReasonMalformed, Error: "trace 0f8fad5b-d9cb-469f-a165-70867728950e at 3",
		},
		"oversized": {Reason: dlq.ReasonOversized},
	} {
		if got := d.Cause(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
