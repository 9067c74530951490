package crmapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
)

func TestClassNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range crmapi.Classes() {
		names = append(names, c.String())
		if back, ok := crmapi.ParseClass(c.String()); !ok || back != c {
			t.Errorf("ParseClass(%q) = %v, %v", c.String(), back, ok)
		}
	}
	want := []string{"success", "poison", "transient", "unacknowledged", "throttled", "quota", "token", "refused"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if _, ok := crmapi.ParseClass("unknown"); ok {
		t.Error("ParseClass accepts a name that is not a class")
	}
	if got := crmapi.Class(200).String(); got != "unknown" {
		t.Errorf("Class(200) = %q", got)
	}
}
