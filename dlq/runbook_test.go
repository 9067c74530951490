package dlq_test

import (
	"strings"
	"testing"

	"membersync/dlq"
)

// Each reason has a section with a text, and no section runs into the next one.
func TestRunbookSections(t *testing.T) {
	t.Parallel()
	for _, r := range dlq.Reasons() {
		if got := dlq.Runbook(string(r)); got == "" || strings.Contains(got, "\n## ") {
			t.Errorf("%s: %q", r, got)
		}
	}
	if got := dlq.Runbook("unknown subject"); got != "" {
		t.Errorf("%q", got)
	}
}
