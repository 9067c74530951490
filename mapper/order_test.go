package mapper_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/mapper"
)

func TestMapSequence(t *testing.T) {
	t.Parallel()
	tests := []struct{ json, want string }{
		{`0`, "0"},
		{`-0`, "0"},
		{`42.0`, "42"},
		{`4.2e1`, "42"},
		{`"42"`, "42"},
		{`"0042"`, "42"},
		{`"000"`, "0"},
		{`9007199254740993`, "9007199254740993"},
		{`9999999999999999999`, "9999999999999999999"},
		{`"9999999999999999999"`, "9999999999999999999"},
		{`"00000000000000000000000000000000000000001"`, "1"},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(strings.Replace(envelope(`"after":{}`), `42`, tt.json, 1)))
			if got.Fault != nil || got.Event.Order != tt.want {
				t.Errorf("order %q, %v, want %q", got.Event.Order, got.Fault, tt.want)
			}
			if v := string(got.Event.Version); v[6:25] != strings.Repeat("0", 19-len(tt.want))+tt.want {
				t.Errorf("version %s, want the order value in it", v)
			}
		})
	}
}

func TestMapOccurredAt(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, json, order, fault string }{
		{"milliseconds", `"2026-11-22T08:00:00.123Z"`, "1795334400123000000", ""},
		{"offset", `"2026-11-22T16:00:00+08:00"`, "1795334400000000000", ""},
		{"nanoseconds", `"2026-11-22T08:00:00.123456789Z"`, "1795334400123456789", ""},
		{"the epoch", `"1970-01-01T00:00:00Z"`, "0", ""},
		{"as far ahead as may be", `"2026-11-23T08:00:01Z"`, "1795420801000000000", ""},
		{"farther ahead", `"2026-11-23T08:00:01.001Z"`, "", "occurredAt is too far ahead of the record's timestamp (byte"},
		{"ages ahead", `"9999-12-31T23:59:59Z"`, "", "occurredAt is out of range"},
		{"before the epoch", `"1969-12-31T23:59:59.999Z"`, "", "occurredAt is before 1970"},
		{"date", `"2026-11-22"`, "", "occurredAt is not a time written as rfc3339"},
		{"no zone", `"2026-11-22T08:00:00"`, "", "occurredAt is not a time written as rfc3339"},
		{"one-digit hour", `"2026-11-22T8:00:00Z"`, "", "occurredAt is not a time written as rfc3339"},
		{"comma", `"2026-11-22T08:00:00,1Z"`, "", "occurredAt is not a time written as rfc3339"},
		{"offset of a day", `"2026-11-22T08:00:00+24:00"`, "", "occurredAt is not a time written as rfc3339"},
		{"offset of 60 minutes", `"2026-11-22T08:00:00-00:60"`, "", "occurredAt is not a time written as rfc3339"},
		{"offset without colon", `"2026-11-22T16:00:00+0800"`, "", "occurredAt is not a time written as rfc3339"},
		{"lower case", `"2026-11-22t08:00:00z"`, "", "occurredAt is not a time written as rfc3339"},
		{"milliseconds as a number", `1795334400123`, "", "occurredAt is a number, and the mapping names no unit for it"},
		{"null", `null`, "", "occurredAt is the JSON null"},
		{"empty", `""`, "", "occurredAt is not a time written as rfc3339"},
	}
	m := builtin(t, "canonical-time", options())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(strings.Replace(envelope(`"after":{}`), `"2026-11-22T08:00:00.123Z"`, tt.json, 1)))
			if tt.fault != "" {
				wantFault(t, got, mapper.InvalidEvent, "decode", tt.fault)
				return
			}
			if got.Fault != nil || got.Event.Order != tt.order {
				t.Errorf("order %q, %v, want %q", got.Event.Order, got.Fault, tt.order)
			}
		})
	}
}

// TestMapReadsOneOrder: the other kind's member is not looked at.
func TestMapReadsOneOrder(t *testing.T) {
	t.Parallel()
	value := `{"eventId":"ev1","employeeId":"E1","openUserId":"FSUID_TEST0001",ORDER,"after":{}}`
	tests := []struct{ mapping, order, fault string }{
		{"canonical", `"sequence":1,"occurredAt":false`, ""},
		{"canonical", `"sequence":1`, ""},
		{"canonical-time", `"sequence":-1,"occurredAt":"2026-11-22T08:00:00Z"`, ""},
		{"canonical-time", `"sequence":1`, "occurredAt is missing"},
		{"canonical-time", `"occurredat":"2026-11-22T08:00:00Z"`, `occurredAt is missing; "occurredat" is another name`},
	}
	for _, tt := range tests {
		t.Run(tt.mapping+tt.order, func(t *testing.T) {
			t.Parallel()
			got := only(t, builtin(t, tt.mapping, options()), record(strings.Replace(value, "ORDER", tt.order, 1)))
			if tt.fault != "" {
				wantFault(t, got, mapper.InvalidEvent, "decode", tt.fault)
			} else if got.Fault != nil {
				t.Error(got.Fault)
			}
		})
	}
}

// TestMapWithoutTimestamp: where the record has no timestamp, or there is no bound, nothing is too
// far ahead.
func TestMapWithoutTimestamp(t *testing.T) {
	t.Parallel()
	rec := record(strings.Replace(envelope(`"after":{}`), "2026", "2030", 1))
	unbounded := options()
	unbounded.MaxAhead = 0
	if got := only(t, builtin(t, "canonical-time", unbounded), rec); got.Fault != nil {
		t.Error(got.Fault)
	}
	for _, none := range []time.Time{{}, time.UnixMilli(-1)} {
		rec.Time = none
		got := only(t, builtin(t, "canonical-time", options()), rec)
		if got.Fault != nil || string(got.Event.Version[25:38]) != strings.Repeat("0", 13) {
			t.Errorf("%s: %v, version %s", none, got.Fault, got.Event.Version)
		}
	}
}

// TestVersionsOrderAsBytes: the wider number is never the smaller text.
func TestVersionsOrderAsBytes(t *testing.T) {
	t.Parallel()
	m := builtin(t, "canonical", options())
	version := func(sequence string, at time.Time, partition int, offset int64) mapper.Version {
		rec := record(strings.Replace(envelope(`"after":{}`), "42", sequence, 1))
		rec.Time, rec.Partition, rec.Offset = at, partition, offset
		return only(t, m, rec).Event.Version
	}
	early, late := recordTime(), recordTime().Add(time.Millisecond)
	ascending := []mapper.Version{
		version("9", late, 7, 900),
		version("10", early, 9, 1e14-1),
		version("10", early, 10, 99),
		version("10", early, 10, 100),
		version("10", late, 0, 0),
		version("10", time.UnixMilli(1e13-1), 1e5-1, -5),
		version("9999999999999999999", time.Time{}, -1, -1),
	}
	edited := record(strings.Replace(envelope(`"after":{}`), "42", "10", 1))
	edited.Time, edited.Partition, edited.Offset, edited.Edited = early, 10, 99, 1
	later := edited
	later.Edited = mapper.MaxEdited
	ascending = slices.Insert(ascending, 3, only(t, m, edited).Event.Version, only(t, m, later).Event.Version)
	if !slices.IsSorted(ascending) {
		t.Errorf("not ascending: %q", ascending)
	}
	for _, v := range ascending {
		if len(v) != 64 || strings.Trim(string(v), "0123456789") != "" {
			t.Errorf("version %q, want 64 digits", v)
		}
	}
}

// TestNoVersionIsTruncated: a number that does not fit its width is a fault that names it.
func TestNoVersionIsTruncated(t *testing.T) {
	t.Parallel()
	const none = `order: {kind: none}`
	byRecord := mustParse(t, strings.Replace(minimal("fields: {qq: qq}"), "order: {kind: sequence, from: $event.seq}", none, 1))
	for name, m := range map[string]*mapper.Mapping{"canonical": builtin(t, "canonical", options()), "by record": byRecord} {
		for want, change := range map[string]func(*mapper.Record){
			"the record timestamp has more than 13 digits":     func(r *mapper.Record) { r.Time = time.UnixMilli(1e13) },
			"the partition has more than 5 digits":             func(r *mapper.Record) { r.Partition = 1e5 },
			"the offset has more than 14 digits":               func(r *mapper.Record) { r.Offset = math.MaxInt64 },
			"the number of the redrive has more than 4 digits": func(r *mapper.Record) { r.Edited = mapper.MaxEdited + 1 },
		} {
			rec := record(envelope(`"after":{}`))
			if name == "by record" {
				rec = record(`{"id":"ev1","emp":"E1","uid":"FSUID_TEST0001","new":{}}`)
			}
			change(&rec)
			got := only(t, m, rec)
			wantFault(t, got, mapper.InvalidEvent, "decode", "the event has no version: "+want)
			if got.Event.Version != "" {
				t.Errorf("version %q next to a fault", got.Event.Version)
			}
		}
	}
}
