package dedupe_test

import (
	"strings"
	"testing"

	"membersync/dedupe"
)

func TestIdentitiesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for what, id := range map[string]string{
		"member":                    dedupe.NewMember("https://a", "b", "c").String(),
		"another CRM":               dedupe.NewMember("https://b", "b", "c").String(),
		"another company":           dedupe.NewMember("https://a", "c", "c").String(),
		"another user":              dedupe.NewMember("https://a", "b", "d").String(),
		"parts split elsewhere":     dedupe.NewMember("https://a", "bc", "").String(),
		"event":                     dedupe.NewEventID("t", "1", 0, "1").String(),
		"event of another topic":    dedupe.NewEventID("u", "1", 0, "1").String(),
		"another event":             dedupe.NewEventID("t", "2", 0, "1").String(),
		"another index":             dedupe.NewEventID("t", "1", 1, "1").String(),
		"another order":             dedupe.NewEventID("t", "1", 0, "2").String(),
		"record":                    dedupe.NewRecordID("t", 1, 0, 1, 0).String(),
		"another partition":         dedupe.NewRecordID("t", 2, 0, 1, 0).String(),
		"another offset":            dedupe.NewRecordID("t", 1, 1, 1, 0).String(),
		"record, recreated topic":   dedupe.NewRecordID("t", 1, 0, 2, 0).String(),
		"another index of a record": dedupe.NewRecordID("t", 1, 0, 1, 1).String(),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s are the same", what, other)
		}
		seen[id] = what
		if len(id) != 32 && len(id) != 56 || strings.Trim(id, "0123456789abcdef") != "" {
			t.Errorf("%s: %q, want 32 or 56 hexadecimal digits", what, id)
		}
	}
}

// TestIdentitiesAreStable pins the hashes: a change would orphan everything that is stored.
func TestIdentitiesAreStable(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		dedupe.NewMember("https://a/", "b", "c").String(): "9ae95a9638ffcca967d2f31c385a33c8",
		dedupe.NewEventID("t", "1", 0, "1").String():      "6454496fc6b2a3cd8c81f534ab9fafe37776ab0c42fdb56436a295a3",
		dedupe.NewRecordID("t", 1, 2, 3, 0).String():      "b11dca400a1646f4f35c1fe0a8442170000000000000000000000000",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if dedupe.NewMember("https://a/", "b", "c") != dedupe.NewMember("https://a", "b", "c") {
		t.Error("a slash at the end of the base URL makes a different member")
	}
}

func TestTokensDiffer(t *testing.T) {
	t.Parallel()
	if a, b := dedupe.NewToken(), dedupe.NewToken(); a == b || len(a) < 20 {
		t.Errorf("tokens %d and %d long, same: %v", len(a), len(b), a == b)
	}
}
