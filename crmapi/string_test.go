package crmapi

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestTextsAreEncodedAsJSON: appendString writes the same bytes as encoding/json, also for the
// texts that take its fast path.
func TestTextsAreEncodedAsJSON(t *testing.T) {
	t.Parallel()
	texts := []string{"", "plain text", `a"b`, `a\b`, "a\tb", "\x00", "\x7f", "~", "é", "\u2028", "部门", "<&>"}
	for c := range rune(256) {
		texts = append(texts, "x"+string(c)+"y")
	}
	for _, s := range texts {
		var want strings.Builder
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(appendString([]byte("["), s)); got != "["+strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%q is written as %s", s, got)
		}
	}
}
