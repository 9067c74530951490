package dlq_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"membersync/dlq"
)

// sample returns a dead letter with every fact.
func sample() dlq.DeadLetter {
	at := time.Date(2026, 11, 22, 8, 0, 0, 123_000_000, time.UTC)
	return dlq.DeadLetter{
		Key: []byte("E1001"), Value: []byte(`{"eventId":"ev-1"}`), Headers: []dlq.Header{{Key: "trace", Value: []byte("t-1")}},
		Source: dlq.Source{Topic: "hris.employee.changed", Partition: 3, Offset: 42, Timestamp: at}, LastOffset: 44,
		Reason: dlq.ReasonCRMInvalid, Stage: dlq.StageUpdate, Error: "the CRM calls the mobile invalid",
		CRMCode: "100001", CRMTraceID: "crm-1", ThirdTraceID: "third-1", EventID: "ev-1", EmployeeID: "E1001",
		Index: 1, Count: 2, Attempts: 1, FirstFailedAt: at.Add(time.Second), FailedAt: at.Add(2 * time.Second),
		Group: "membersync", Version: "v1.2.3", Redrives: 1, Edited: 1,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// The id of a trace is read from a header, which anyone could have written.
func TestTraceID(t *testing.T) {
	t.Parallel()
	if got := sample().TraceID(); got != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace %q", got)
	}
	for _, header := range []string{"", "00", "00-0af7651916cd43dd-b7ad6b7169203331-01", "x y"} {
		if got := (dlq.DeadLetter{Traceparent: header}).TraceID(); got != "" {
			t.Errorf("header %q: trace %q", header, got)
		}
	}
}

func TestMessageHeaders(t *testing.T) {
	t.Parallel()
	want := [][2]string{
		{"trace", "t-1"},
		{"dlq.id", "3:42:1@1795334400123"},
		{"dlq.reason", "crm_invalid"},
		{"dlq.stage", "update"},
		{"dlq.error", "the CRM calls the mobile invalid"},
		{"dlq.crm.code", "100001"},
		{"dlq.crm.trace.id", "crm-1"},
		{"dlq.third.trace.id", "third-1"},
		{"dlq.event.id", "ev-1"},
		{"dlq.employee.id", "E1001"},
		{"dlq.event.index", "1"},
		{"dlq.event.count", "2"},
		{"dlq.attempts", "1"},
		{"dlq.first.failed.at", "2026-11-22T08:00:01.123Z"},
		{"dlq.failed.at", "2026-11-22T08:00:02.123Z"},
		{"dlq.source.topic", "hris.employee.changed"},
		{"dlq.source.partition", "3"},
		{"dlq.source.offset", "42"},
		{"dlq.source.timestamp", "2026-11-22T08:00:00.123Z"},
		{"dlq.source.last.offset", "44"},
		{"dlq.group", "membersync"},
		{"dlq.membersync.version", "v1.2.3"},
		{"dlq.redrives", "1"},
		{"dlq.edited", "1"},
		{"dlq.traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	if diff := cmp.Diff(want, pairs(sample().Message())); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// If a record failed whole, none of its events is known, and so no index.
func TestWholeRecordHasNoIndex(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_795_334_400_123).UTC()
	d := dlq.DeadLetter{
		Source: dlq.Source{Topic: "in", Offset: 7, Timestamp: at}, Reason: dlq.ReasonMalformed, Whole: true, Index: 4, Count: 5,
	}
	want := [][2]string{
		{"dlq.id", "0:7@1795334400123"},
		{"dlq.reason", "malformed"},
		{"dlq.stage", "decode"},
		{"dlq.attempts", "0"},
		{"dlq.source.topic", "in"},
		{"dlq.source.partition", "0"},
		{"dlq.source.offset", "7"},
		{"dlq.source.timestamp", "2026-11-22T08:00:00.123Z"},
		{"dlq.redrives", "0"},
	}
	if diff := cmp.Diff(want, pairs(d.Message())); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestParseReturnsWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := deadLetters().Draw(t, "dead letter")
		got, err := dlq.Parse(want.Message())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("dead letter (-want +got):\n%s", diff)
		}
	})
}

// Source headers are never read as facts, whatever their names, and are restored unchanged.
func TestSourceHeadersAreNotFacts(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"dlq.id": "orig.dlq.id", "dlq.": "orig.dlq.", "orig.dlq.id": "orig.orig.dlq.id", "orig.orig.dlq.x": "orig.orig.orig.dlq.x",
		"redrive.note": "orig.redrive.note", "redrive.": "orig.redrive.", "orig.redrive.by": "orig.orig.redrive.by",
		"": "", "dlq": "dlq", "redrive": "redrive", "DLQ.id": "DLQ.id", "orig.": "orig.", "orig.x": "orig.x", "x.dlq.id": "x.dlq.id",
	} {
		d := sample()
		d.Headers = []dlq.Header{{Key: name, Value: []byte("source")}}
		m := d.Message()
		if got := m.Headers[0].Key; got != want {
			t.Errorf("header %q is written as %q, want %q", name, got, want)
		}
		got, err := dlq.Parse(m)
		if err != nil {
			t.Errorf("header %q: %v", name, err)
		}
		if diff := cmp.Diff(d, got); diff != "" {
			t.Errorf("header %q (-want +got):\n%s", name, diff)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"plain":        {"field mobile, byte 17", "field mobile, byte 17"},
		"line breaks":  {"a\r\nb\tc\x00\u0085\u2028", "a  b c   "},
		"terminal":     {"\x1b[31mred\u202e", " [31mred "},
		"not UTF-8":    {"a\xff\xfeb", "a\uFFFDb"},
		"long":         {strings.Repeat("x", 5000), strings.Repeat("x", 1024)},
		"long, wide":   {"x" + strings.Repeat("字", 1000), "x" + strings.Repeat("字", 341)},
		"nothing":      {"", ""},
		"long garbage": {strings.Repeat("\xff", 5000), "\uFFFD"},
	} {
		d := sample()
		d.Error = c.in
		got, err := dlq.Parse(d.Message())
		if err != nil {
			t.Fatal(err)
		}
		if got.Error != c.want {
			t.Errorf("%s: %q is written as %q, want %q", name, c.in, got.Error, c.want)
		}
	}
}

// Ids from outside have no character in their headers that could move a cursor, reorder or hide
// text. Reading the headers restores the ids.
func TestIDsAreEscapedInHeaders(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"E1001":               `E1001`,
		"员工 <b>😀":             `员工 <b>😀`,
		`CORP\anna`:           `CORP\anna`,
		`CORP\uma`:            `CORP\u005cuma`,
		`\u001b`:              `\u005cu001b`,
		"\\\a":                `\\u0007`,
		"\x1b[2J\x7f\r\n\x00": `\u001b[2J\u007f\u000d\u000a\u0000`,
		"\u009b2J":            `\u009b2J`,
		"\u202e\u2066\u200f\u061c\u2028\u2029\u200b\ufeff": `\u202e\u2066\u200f\u061c\u2028\u2029\u200b\ufeff`,
		"\U000e0041": `\udb40\udc41`,
	}
	for id, want := range cases {
		d := sample()
		d.CRMCode, d.CRMTraceID, d.ThirdTraceID, d.EventID, d.EmployeeID = id, id, id, id, id
		n := 0
		for _, p := range pairs(d.Message()) {
			switch p[0] {
			case "dlq.crm.code", "dlq.crm.trace.id", "dlq.third.trace.id", "dlq.event.id", "dlq.employee.id":
				if n++; p[1] != want {
					t.Errorf("%q: header %s is %q, want %q", id, p[0], p[1], want)
				}
			}
		}
		got, err := dlq.Parse(d.Message())
		if err != nil || got.EventID != id || got.EmployeeID != id || got.CRMTraceID != id || n != 5 {
			t.Errorf("%q: read back as %q, %v", id, got.EventID, err)
		}
	}
}

// The topic takes 64 KiB more than the source topic's largest record. The facts must fit into that,
// whatever a producer or the CRM put into them.
func TestFactsAreBounded(t *testing.T) {
	t.Parallel()
	for name, huge := range map[string]string{
		"text": strings.Repeat("字", 1<<20), "bytes": strings.Repeat("\x80", 1<<20),
	} {
		d := sample()
		d.Error, d.CRMCode, d.CRMTraceID, d.ThirdTraceID, d.EventID, d.EmployeeID, d.Group, d.Version =
			huge, huge, huge, huge, huge, huge, huge, huge
		total := 0
		for _, h := range d.Message().Headers {
			total += len(h.Key) + len(h.Value)
			if name == "text" && !utf8.Valid(h.Value) {
				t.Errorf("header %s is cut within a character", h.Key)
			}
		}
		if total > 40<<10 {
			t.Errorf("%s: the headers take %d bytes", name, total)
		}
	}
}

// A record may carry any 64-bit timestamp, and the version of its events depends on it.
func TestEveryTimestampIsRestored(t *testing.T) {
	t.Parallel()
	for _, ms := range []int64{math.MinInt64, -62_135_596_800_001, -1, 0, 1, 253_402_300_799_999, 253_402_300_800_000, 1_700_000_000_000_000, math.MaxInt64} {
		d := sample()
		d.Source.Timestamp = time.UnixMilli(ms).UTC()
		got, err := dlq.Parse(d.Message())
		if err != nil {
			t.Errorf("%d: %v", ms, err)
		} else if got.Source.Timestamp.UnixMilli() != ms {
			t.Errorf("%d is restored as %d", ms, got.Source.Timestamp.UnixMilli())
		}
	}
}

func TestTimesAreWrittenInUTC(t *testing.T) {
	t.Parallel()
	d := sample()
	d.FailedAt = time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.FixedZone("", 8*3600))
	got, err := dlq.Parse(d.Message())
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 1, 19, 4, 5, 999_000_000, time.UTC); got.FailedAt != want {
		t.Errorf("failed at %v, want %v", got.FailedAt, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const canary = "00000000001"
	set := func(key, value string) func(*kafka.Message) {
		return func(m *kafka.Message) {
			for i, h := range m.Headers {
				if h.Key == key {
					m.Headers[i].Value = []byte(value)
				}
			}
		}
	}
	drop := func(key string) func(*kafka.Message) {
		return func(m *kafka.Message) { m.Headers = without(m.Headers, key) }
	}
	for name, c := range map[string]struct {
		change func(*kafka.Message)
		header string
	}{
		"not a dead letter":        {func(m *kafka.Message) { m.Headers = nil }, "dlq.id"},
		"no id":                    {drop("dlq.id"), "dlq.id"},
		"another id":               {set("dlq.id", "3:43:1@1795334400123"), "dlq.id"},
		"id without the index":     {set("dlq.id", "3:42@1795334400123"), "dlq.id"},
		"the short id":             {set("dlq.id", "3:42:1"), "dlq.id"},
		"an id of another time":    {set("dlq.id", "3:42:1@1795334400124"), "dlq.id"},
		"another time":             {set("dlq.source.timestamp", "2026-11-22T08:00:00.124Z"), "dlq.id"},
		"no time":                  {drop("dlq.source.timestamp"), "dlq.id"},
		"no reason":                {drop("dlq.reason"), "dlq.reason"},
		"no topic":                 {drop("dlq.source.topic"), "dlq.source.topic"},
		"no partition":             {drop("dlq.source.partition"), "dlq.source.partition"},
		"no offset":                {drop("dlq.source.offset"), "dlq.source.offset"},
		"an index without a count": {drop("dlq.event.count"), "dlq.event.count"},
		"a count without an index": {drop("dlq.event.index"), "dlq.event.index"},
		"a negative number":        {set("dlq.attempts", "-1"), "dlq.attempts"},
		"not a number":             {set("dlq.redrives", canary+"x"), "dlq.redrives"},
		"too large a number":       {set("dlq.source.partition", "99999999999"), "dlq.source.partition"},
		"not a time":               {set("dlq.failed.at", canary+"x"), "dlq.failed.at"},
		"a fact twice": {func(m *kafka.Message) {
			m.Headers = append(m.Headers, kafka.Header{Key: "dlq.reason", Value: []byte(canary)})
		}, "dlq.reason"},
	} {
		m := sample().Message()
		c.change(&m)
		_, err := dlq.Parse(m)
		var format *dlq.FormatError
		if !errors.As(err, &format) || format.Header != c.header {
			t.Errorf("%s: error %v, want one about %s", name, err, c.header)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
}

// This version can read a dead letter of a later version.
func TestParseIgnoresUnknownFacts(t *testing.T) {
	t.Parallel()
	m := sample().Message()
	m.Headers = append(m.Headers, kafka.Header{Key: "dlq.of.a.later.version", Value: []byte("x")})
	got, err := dlq.Parse(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "dlq.id", []byte("0:1"), "dlq.failed.at", []byte("2026-11-22T08:00:00Z"))
	f.Add([]byte(nil), []byte{}, "dlq.event.index", []byte("1"), "orig.dlq.x", []byte(nil))
	f.Add([]byte("k"), []byte("v"), "dlq.source.timestamp", []byte("-9223372036854775808"), "dlq.error", bytes.Repeat([]byte{0xff}, 3000))
	f.Fuzz(func(t *testing.T, key, value []byte, name1 string, value1 []byte, name2 string, value2 []byte) {
		base := sample().Message()
		base.Key, base.Value = key, value
		base.Headers = without(without(base.Headers, name1), name2)
		base.Headers = append(base.Headers, kafka.Header{Key: name1, Value: value1}, kafka.Header{Key: name2, Value: value2})
		first, err := dlq.Parse(base)
		if err != nil {
			return
		}
		if !bytes.Equal(first.Key, key) || !bytes.Equal(first.Value, value) {
			t.Fatal("key or value changed")
		}
		second, err := dlq.Parse(first.Message()) // texts are cleaned and truncated now
		if err != nil {
			t.Fatal(err)
		}
		third, err := dlq.Parse(second.Message())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(second, third); diff != "" {
			t.Fatalf("dead letter (-want +got):\n%s", diff)
		}
	})
}

// deadLetters generates dead letters as the service writes them: times in whole milliseconds, texts
// within their bounds.
func deadLetters() *rapid.Generator[dlq.DeadLetter] {
	return rapid.Custom(func(t *rapid.T) dlq.DeadLetter {
		text, number := rapid.StringN(0, 50, 1000), rapid.IntRange(0, math.MaxInt32)
		reason := rapid.SampledFrom(dlq.Reasons()).Draw(t, "reason")
		d := dlq.DeadLetter{
			Key: bytesOrNil().Draw(t, "key"), Value: bytesOrNil().Draw(t, "value"),
			Source: dlq.Source{
				Topic: rapid.StringMatching(`[a-z][a-z.]{0,20}`).Draw(t, "topic"), Partition: number.Draw(t, "partition"),
				Offset: rapid.Int64Min(0).Draw(t, "offset"), Timestamp: times().Draw(t, "timestamp"),
			},
			Reason: reason, Stage: reason.Stage(), Error: rapid.StringMatching(`[ -~字]{0,300}`).Draw(t, "error"),
			CRMCode: text.Draw(t, "code"), CRMTraceID: text.Draw(t, "trace"), ThirdTraceID: text.Draw(t, "third"),
			EventID: text.Draw(t, "event"), EmployeeID: text.Draw(t, "employee"), Attempts: number.Draw(t, "attempts"),
			FirstFailedAt: times().Draw(t, "first"), FailedAt: times().Draw(t, "failed"),
			Group: text.Draw(t, "group"), Version: text.Draw(t, "version"), Redrives: number.Draw(t, "redrives"), Edited: number.Draw(t, "edited"),
			Traceparent: text.Draw(t, "traceparent"),
		}
		if rapid.Bool().Draw(t, "unread") {
			d.LastOffset = rapid.Int64Min(1).Draw(t, "last offset")
		}
		if d.Whole = rapid.Bool().Draw(t, "whole"); !d.Whole {
			d.Index, d.Count = number.Draw(t, "index"), number.Draw(t, "count")
		}
		names := rapid.OneOf(text, rapid.StringMatching(`(orig\.){0,3}((dlq|redrive)\.)?[a-z.]{0,10}`), rapid.Just("dlq.id"))
		for range rapid.IntRange(0, 5).Draw(t, "headers") {
			d.Headers = append(d.Headers, dlq.Header{Key: names.Draw(t, "name"), Value: bytesOrNil().Draw(t, "header")})
		}
		return d
	})
}

func bytesOrNil() *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOf(rapid.Byte()))
}

func times() *rapid.Generator[time.Time] {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Map(rapid.Int64(), func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }),
		rapid.Map(rapid.Int64Range(0, 4e12), func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }))
}

func pairs(m kafka.Message) [][2]string {
	var ps [][2]string
	for _, h := range m.Headers {
		ps = append(ps, [2]string{h.Key, string(h.Value)})
	}
	return ps
}

func without(headers []kafka.Header, key string) []kafka.Header {
	var kept []kafka.Header
	for _, h := range headers {
		if h.Key != key {
			kept = append(kept, h)
		}
	}
	return kept
}
