package mapper_test

import (
	"strings"
	"testing"

	"membersync/mapper"
)

// TestMapMalformed walks bytes that are no event. Each is refused whole, with its problem named.
func TestMapMalformed(t *testing.T) {
	t.Parallel()
	good := envelope(`"after":{"name":"a"}`)
	tests := []struct{ name, value, want string }{
		{"empty", "", "the value is empty (byte 0)"},
		{"white space", " \r\n\t", "the value is only white space"},
		{"text null", " null ", "the value is the JSON null, not an object"},
		{"list", `[` + good + `]`, "the value is a list, not an object"},
		{"string in string", `"{}"`, "the value is a text, not an object"},
		{"number", `17`, "the value is a number, not an object"},
		{"boolean", `true`, "the value is true or false, not an object"},
		{"NaN", `NaN`, "the value is not valid JSON here (byte 0)"},
		{"plain text", "hello", "the value is not valid JSON here (byte 0)"},
		{"byte order mark", "\xef\xbb\xbf" + good, "begins with a byte order mark"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "is UTF-16"},
		{"UTF-16, big end first", "\xfe\xff\x00{\x00}", "is UTF-16"},
		{"gzip", "\x1f\x8b\x08\x00\x00", "is gzip"},
		{"framing with an id", "\x00\x00\x00\x00\x07" + good, "framing (0x00 and a 4-byte id)"},
		{"framing with a GUID", "\x01" + strings.Repeat("\x9f", 16) + good, "framing (0x01 and a 16-byte GUID)"},
		{"XML", `<?xml version="1.0"?><a/>`, "is XML or HTML"},
		{"form", "eventId=ev1&employeeId=E1", "is a form body"},
		{"base64", "Zm9vYg==", "is not valid JSON here (byte 0)"},
		{"text with an equals sign", "a, b = c", "is not valid JSON here (byte 0)"},
		{"ciphertext", "\x93\x01\xfe\x02\xc3\x28", "is not valid UTF-8 here (byte 0)"},
		{"GBK in a value", envelope("\"after\":{\"name\":\"\xd6\xd0\"}"), "is not valid UTF-8 here (byte 136)"},
		{"GBK in what is not read", "{\"x\":\"\xd6\xd0\"," + good[1:], "is not valid UTF-8 here (byte 6)"},
		{"lone surrogate", envelope(`"after":{"name":"\ud800"}`), "after.name is not valid JSON here"},
		{"truncated", good[:len(good)-3], "after.name ends in the middle"},
		{"truncated at a name", good[:60], "ends in the middle"},
		{"truncated before a value", `{"eventId":`, "ends in the middle"},
		{"truncated in after", `{"after":{`, "ends in the middle"},
		{"garbage behind", good + "x", "goes on after the JSON value (byte"},
		{"two values", good + "\n" + good, "goes on after the JSON value (byte"},
		{"a NUL behind", good + "\x00", "goes on after the JSON value"},
		{"bad UTF-8 behind", good + "\xff", "is not valid UTF-8 here"},
		{"duplicate envelope member", `{"eventId":"a","eventId":"a"}`, "eventId occurs twice (byte 15)"},
		{"duplicate in another spelling", `{"eventId":"a","event\u0049d":"a"}`, "eventId occurs twice"},
		{"duplicate after", `{"after":{"name":"a"},"after":{"qq":"1"}}`, "after occurs twice"},
		{"duplicate field", envelope(`"after":{"mobile":"1","mobile":"1"}`), "after.mobile occurs twice"},
		{"duplicate in before", envelope(`"before":{"mobile":"1","mobile":"1"},"after":{}`), "before.mobile occurs twice"},
		{"duplicate of an unknown name", envelope(`"after":{"canary":1,"canary":1}`), "after holds a member name twice"},
		{"duplicate in what is not read", envelope(`"after":{},"x":[{"canary":1,"canary":1}]`), "the value holds a member name twice"},
		{"no comma", `{"eventId":"a" "after":{}}`, "is not valid JSON here"},
		{"trailing comma", `{"eventId":"a",}`, "is not valid JSON here"},
		{"broken name in after", `{"after":{"a\x":1}}`, "after is not valid JSON here"},
		{"number as a name", `{1:2}`, "is not valid JSON here"},
		{"wrong bracket", `{"after":{]}`, "is not valid JSON here"},
		{"comment", `{/**/}`, "is not valid JSON here"},
		{"leading zero", `{"sequence":042}`, "is not valid JSON here"},
		{"depth bomb in what is not read", `{"x":` + strings.Repeat("[", 100_000), "is nested too deeply"},
		{"depth bomb in a field", envelope(`"after":{"name":` + strings.Repeat(`{"a":`, 50_000)), "after.name is nested too deeply"},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(tt.value))
			wantWhole(t, got, mapper.Malformed)
			if !strings.Contains(got.Fault.Error(), tt.want) {
				t.Errorf("error %q, want it to say %q", got.Fault, tt.want)
			}
			if strings.Contains(got.Fault.Error(), "canary") {
				t.Errorf("error %q repeats a name from the payload", got.Fault)
			}
		})
	}
}

func TestTombstoneIsIgnored(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"canonical", "canonical-time", "cloudevents", "debezium"} {
		got := only(t, builtin(t, name, options()), mapper.Record{Key: []byte("E0001")})
		if got.Fault != nil || got.Event.Ignored != "tombstone" {
			t.Errorf("%s: %+v, want it to be ignored as a tombstone", name, got)
		}
	}
}

func TestMapOversized(t *testing.T) {
	t.Parallel()
	rec := record(`{"not":"parsed`)
	rec.Headers = []mapper.Header{{Key: "redrive.note", Value: []byte("does not count")}}
	size := len(rec.Key) + len(rec.Value)

	opts := options()
	opts.MaxRecordBytes = size - 1
	got := only(t, builtin(t, "canonical", opts), rec)
	wantWhole(t, got, mapper.Oversized)
	if want := "oversized: the value has 16 bytes with its key; the bound is 15"; got.Fault.Error() != want {
		t.Errorf("error %q, want %q", got.Fault, want)
	}

	for _, bound := range []int{size, 0} {
		opts.MaxRecordBytes = bound
		if got := only(t, builtin(t, "canonical", opts), rec); got.Fault.Reason != mapper.Malformed {
			t.Errorf("bound %d: %v, want the record to be parsed", bound, got.Fault)
		}
	}
}

// wantWhole checks that the record failed whole at the decode stage, without an identity.
func wantWhole(t *testing.T, got mapper.Result, reason mapper.Reason) {
	t.Helper()
	switch {
	case got.Fault == nil:
		t.Fatalf("no fault, want %s", reason)
	case got.Fault.Reason != reason || !got.Fault.Whole || got.Fault.Stage() != "decode":
		t.Errorf("fault %+v at stage %s, want %s of the whole record at decode", got.Fault, got.Fault.Stage(), reason)
	case got.Event.Count != 0 || got.Event.Version != "" || got.Event.Update.Len() != 0:
		t.Errorf("event %+v, want an empty one", got.Event)
	}
}
