package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
)

func TestAlternativesGetAPrefix(t *testing.T) {
	t.Parallel()
	a := alternatives{compare: true, duration: 5 * time.Second}
	loop, watermill := a.systems(8)[0], a.systems(8)[1]
	for _, tt := range []struct {
		system  alternative
		all     int
		latency time.Duration
		want    int
	}{
		{loop, 6000, 0, 5000},
		{loop, 3000, 0, 3000},
		{loop, 6000, 50 * time.Millisecond, 98},
		{loop, 6000, time.Minute, 1},
		{watermill, 6000, 0, 6000},
		{watermill, 6000, 50 * time.Millisecond, 784},
	} {
		if got := a.events(tt.system, tt.all, tt.latency); got != tt.want {
			t.Errorf("%s, %d events, %v: %d, want %d", tt.system.name, tt.all, tt.latency, got, tt.want)
		}
	}
}

func TestAlternativesCanBeLeftOut(t *testing.T) {
	t.Parallel()
	var none alternatives
	if systems := none.systems(8); len(systems) != 0 {
		t.Errorf("%v", systems)
	}
	if err := none.build(t.Context(), t.TempDir(), t.TempDir(), t.Logf); err != nil || none.binary != "" {
		t.Errorf("%q, %v", none.binary, err)
	}
}

func TestAlternativesWithoutTheirSource(t *testing.T) {
	t.Parallel()
	a := alternatives{compare: true}
	err := a.build(t.Context(), t.TempDir(), t.TempDir(), t.Logf)
	if !errors.Is(err, os.ErrNotExist) || a.binary != "" {
		t.Fatalf("%q, %v", a.binary, err)
	}
	for _, want := range []string{alternativesDir, "--alternatives PATH", "--compare=false"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	a.binary = "given"
	if err := a.build(t.Context(), t.TempDir(), t.TempDir(), t.Logf); err != nil || a.binary != "given" {
		t.Errorf("%q, %v", a.binary, err)
	}
}

// The alternatives must be measured with the libraries that ship.
func TestAlternativesHaveTheVersionsOfTheProduct(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`(?m)^\t?(go|toolchain|github\.com/segmentio/kafka-go|github\.com/redis/go-redis/v9) (\S+)$`)
	versions := func(folder string) map[string]string {
		text, err := os.ReadFile(filepath.Join(folder, "go.mod")) //nolint:gosec // of this repository
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]string)
		for _, match := range line.FindAllStringSubmatch(string(text), -1) {
			found[match[1]] = match[2]
		}
		return found
	}
	root := filepath.Join("..", "..")
	product := versions(root)
	if diff := cmp.Diff(product, versions(filepath.Join(root, alternativesDir))); diff != "" || len(product) != 4 {
		t.Errorf("the product has %v\n%s", product, diff)
	}
}

func TestAlternativesMustMakeTheCallsOfTheService(t *testing.T) {
	t.Parallel()
	const calls = 20
	crm, err := startCRM(t.Context(), crmapitest.Options{}, calls)
	if err != nil {
		t.Fatal(err)
	}
	sent := bodies(calls)
	if err := newBare(crm.URL()+crmapitest.UpdatePath, 2).post(t.Context(), sent, 2); err != nil {
		t.Fatal(err)
	}
	if err := crm.Close(); err != nil {
		t.Fatal(err)
	}
	other := []byte(strings.Replace(string(sent[0]), `"position":"`, `"position":"another `, 1))
	for name, tt := range map[string]struct {
		service [][]byte
		want    error
	}{
		"the same":          {sent, nil},
		"a prefix":          {append(bodies(calls+5), other), nil},
		"a value differs":   {append(bodies(calls)[1:], other), errOtherCalls},
		"the first is more": {sent[1:], errOtherCalls},
	} {
		if err := sameCalls(crm, tt.service); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := sameCalls(crm, [][]byte{[]byte("{")}); err == nil {
		t.Error("no JSON, and no error")
	}
}

func TestSortedIgnoresTheOrderOfFields(t *testing.T) {
	t.Parallel()
	a, err1 := sorted([]byte(`{"b":{"d":10000000000000000001,"c":"<"},"a":1}`))
	b, err2 := sorted([]byte(`{ "a":1, "b":{"c":"\u003c","d":10000000000000000001}}`))
	c, err3 := sorted([]byte(`{ "a":1, "b":{"c":"\u003c","d":10000000000000000002}}`))
	if err := errors.Join(err1, err2, err3); err != nil || a != b || a == c {
		t.Errorf("%s\n%s\n%s\n%v", a, b, c, err)
	}
}

func TestCompareReportsBoth(t *testing.T) {
	t.Parallel()
	systems := alternatives{compare: true}.systems(8)
	m := series{service: []float64{900, 1000, 1100}, bare: []float64{2000}, alternatives: map[string]*samples{
		"loop":      {events: 98, rate: []float64{20}, cpu: []float64{0.5}},
		"watermill": {events: 784, rate: []float64{1250}, cpu: []float64{0.25}},
	}}
	var r report
	columns := compareColumns(systems)
	got := table{name: "alternatives", columns: columns}
	m.compare(&r, &got, systems, 1, 50)
	want := [][]any{{int64(50), 1000.0, 0.5, 20.0, 0.01, 98, 0.5, 1250.0, 0.625, 784, 0.25}}
	if diff := cmp.Diff(want, got.rows); diff != "" || len(columns) != len(want[0]) {
		t.Errorf("%q\n%s", columns, diff)
	}
	wantTargets := []target{{"service over loop at 50 ms", 50, 1, true}, {"service over watermill at 50 ms", 0.8, 1, true}}
	if diff := cmp.Diff(wantTargets, r.targets, cmp.AllowUnexported(target{})); diff != "" {
		t.Error(diff)
	}
	if !r.targets[0].met() || r.targets[1].met() {
		t.Errorf("%+v", r.targets)
	}
	if text, want := m.others(0), ", loop 20/s, watermill 1250/s"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}
