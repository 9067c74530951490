package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() *report {
	t := table{name: "speed", columns: []string{"latency_ms", "rate_per_s", "kind"}}
	t.add(0, 12345.678, "a")
	t.add(20, 0.12345, "bb")
	r := &report{about: []string{"How it was measured."}, tables: []table{t}}
	r.atLeast("ratio", 0.5, 0.35)
	r.atMost("seconds", 1.5, 1)
	r.cases = []string{"a case"}
	return r
}

func TestReportAsTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample().print(&b, "table"); err != nil {
		t.Fatal(err)
	}
	want := `How it was measured.

speed
  latency_ms  rate_per_s  kind
           0       12346     a
          20       0.123    bb

met: ratio is 0.500, wanted at least 0.350
MISSED: seconds is 1.500, wanted at most 1.000
a case
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample().print(&b, "json"); err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"a","latency_ms":0,"rate_per_s":12345.678,"table":"speed"}
{"kind":"bb","latency_ms":20,"rate_per_s":0.12345,"table":"speed"}
{"got":0.5,"limit":0.35,"met":true,"target":"ratio","wanted":"at least"}
{"got":1.5,"limit":1,"met":false,"target":"seconds","wanted":"at most"}
{"case":"a case"}
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		got, limit float64
		atLeast    bool
		want       bool
	}{
		{0.97, 0.97, true, true},
		{0.9699, 0.97, true, false},
		{96, 96, false, true},
		{96.01, 96, false, false},
	} {
		if got := (target{"x", tt.got, tt.limit, tt.atLeast}).met(); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	if sample().met() {
		t.Error("a report with a missed target counts as met")
	}
	if !(&report{}).met() {
		t.Error("a report without targets counts as missed")
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		0: "0.000", 0.9704: "0.970", 9.9994: "9.999", 12.345: "12.35", 123.45: "123.5", 12345.6: "12346", -1234.5: "-1234",
	} {
		if got := number(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
