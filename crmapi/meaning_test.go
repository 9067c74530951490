package crmapi_test

import (
	"testing"

	"membersync/crmapi"
)

// Each published code has a meaning, and only those have one.
func TestMeaning(t *testing.T) {
	t.Parallel()
	for code := -10; code < 60_000; code++ {
		_, published := crmapi.Table(nil).Lookup(code)
		if got := crmapi.Meaning(code); published != (got != "") {
			t.Errorf("%d: published %v, meaning %q", code, published, got)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]*crmapi.Error{
		"department not found (30007)":     {Class: crmapi.ClassPoison, Status: 200, Code: 30007, HasCode: true, TraceID: "trace"},
		"refused with errorCode 201112011": {Class: crmapi.ClassPoison, Status: 200, Code: 201112011, HasCode: true},
		"HTTP 404":                         {Class: crmapi.ClassPoison, Status: 404},
		"transient":                        {Class: crmapi.ClassTransient},
	} {
		if got := err.Summary(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
