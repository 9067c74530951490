package config

import (
	"strings"
	"testing"
)

// A key is what its text encodes. One that is too short is refused, not stretched.
func TestStateKey(t *testing.T) {
	t.Parallel()
	raw := "01234567-9abcdef+01234567_9abcde/" // neither hex nor base64
	for name, tc := range map[string]struct {
		text string
		want string // empty: refused
	}{
		"hex":                    {strings.Repeat("61", 32), strings.Repeat("a", 32)},
		"upper-case hex":         {strings.Repeat("4A", 40), strings.Repeat("J", 40)},
		"16 bytes of hex":        {strings.Repeat("61", 16), ""},
		"base64":                 {"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", strings.Repeat("a", 32)},
		"base64 without padding": {"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE", strings.Repeat("a", 32)},
		"base64 of the URL kind": {strings.Repeat("_-", 22), strings.Repeat("\xff\xef\xfe", 11)},
		"16 bytes of base64":     {"YWFhYWFhYWFhYWFhYWFhYQ==", ""},
		"raw":                    {raw, raw},
		"raw words":              {strings.Repeat("xyz-", 8), strings.Repeat("xyz-", 8)},
		"raw bytes":              {strings.Repeat("\x00\xff", 16), strings.Repeat("\x00\xff", 16)},
		"31 raw bytes":           {raw[:31], ""},
		"a password":             {"changeme", ""},
	} {
		got, ok := stateKey(tc.text)
		if ok != (tc.want != "") || ok && string(got) != tc.want {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, tc.want)
		}
	}
	if (State{}).KeyBytes() != nil {
		t.Error("a key without a setting")
	}
}
