package crmapi_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
)

// published returns the error table of the API's page, with a row for each code.
func published() map[int]crmapi.Row {
	rows := map[int]crmapi.Row{
		0:     {Class: crmapi.ClassSuccess},
		-1:    {Class: crmapi.ClassTransient},
		-2:    {Class: crmapi.ClassTransient},
		50009: {Class: crmapi.ClassTransient, OutcomeUnknown: true},
		14001: {Class: crmapi.ClassThrottled},
		30004: {Class: crmapi.ClassThrottled},
		30002: {Class: crmapi.ClassQuota},
	}
	for _, code := range []int{20016, 20005} {
		rows[code] = crmapi.Row{Class: crmapi.ClassToken}
	}
	for _, code := range []int{30003, 20006, 20015, 20017, 10006, 15003, 20014, 20020, 20021, 20022, 20023} {
		rows[code] = crmapi.Row{Class: crmapi.ClassRefused}
	}
	for _, code := range []int{20012, 30027, 30007} {
		rows[code] = crmapi.Row{Class: crmapi.ClassPoison, Reason: crmapi.ReasonNotFound}
	}
	for _, code := range []int{
		10001, 10002, 10003, 10004, 10005, 10007, 10008, 10009, 10010, 10011, 10012, 10013, 10014, 10015,
		11001, 11002, 11003, 11004, 11005, 11006, 11007, 11008, 11009, 11010, 11011, 11012, 11013, 11014, 11015, 11016,
		11017, 11018, 12004, 15002, 32000,
	} {
		rows[code] = crmapi.Row{Class: crmapi.ClassPoison, Reason: crmapi.ReasonInvalid}
	}
	return rows
}

func TestPublishedTable(t *testing.T) {
	t.Parallel()
	got := make(map[int]crmapi.Row)
	for code := -100; code <= 60000; code++ {
		if row, ok := crmapi.Table(nil).Lookup(code); ok {
			got[code] = row
		}
	}
	if diff := cmp.Diff(published(), got); diff != "" {
		t.Error(diff)
	}
	codes := crmapi.Table(nil).Codes()
	if len(codes) != len(got) || !slices.IsSorted(codes) {
		t.Errorf("Codes() = %v", codes)
	}
}

func TestParseTable(t *testing.T) {
	t.Parallel()
	got, err := crmapi.ParseTable(" 201112011:poison:crm_invalid, 7:poison,-9:throttled,30003:quota,8:refused,9:token,50009:transient")
	if err != nil {
		t.Fatal(err)
	}
	want := crmapi.Table{
		201112011: {Class: crmapi.ClassPoison, Reason: crmapi.ReasonInvalid},
		7:         {Class: crmapi.ClassPoison, Reason: crmapi.ReasonRejected},
		-9:        {Class: crmapi.ClassThrottled},
		30003:     {Class: crmapi.ClassQuota},
		8:         {Class: crmapi.ClassRefused},
		9:         {Class: crmapi.ClassToken},
		50009:     {Class: crmapi.ClassTransient},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if row, ok := got.Lookup(30003); !ok || row.Class != crmapi.ClassQuota {
		t.Errorf("a row does not replace the published one: %v", row)
	}
	if row, _ := got.Lookup(50009); !row.OutcomeUnknown {
		t.Error("a row turns an unknown outcome into a known one")
	}
	if row, ok := got.Lookup(10001); !ok || row.Reason != crmapi.ReasonInvalid {
		t.Errorf("the published rows are missing: %v", row)
	}
	if codes := got.Codes(); !slices.Contains(codes, 201112011) || !slices.IsSorted(codes) {
		t.Errorf("Codes() = %v", codes)
	}
}

func TestParseTableEmpty(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "  "} {
		if got, err := crmapi.ParseTable(text); got != nil || err != nil {
			t.Errorf("ParseTable(%q) = %v, %v", text, got, err)
		}
	}
}

func TestParseTableReportsAllFaults(t *testing.T) {
	t.Parallel()
	const text = "x:poison,1:poison:crm_gone,2:success,3:unacknowledged,4,5:poison:crm_invalid:more," +
		"6:transient:crm_invalid,0:poison,7:quota,7:quota,,8:nothing"
	table, err := crmapi.ParseTable(text)
	if table != nil || err == nil {
		t.Fatalf("ParseTable = %v, %v", table, err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is not a list of errors", err)
	}
	var rows []int
	for _, fault := range joined.Unwrap() {
		row, ok := errors.AsType[*crmapi.RowError](fault)
		if !ok || row.Problem == "" || row.Error() == "" {
			t.Fatalf("fault %v", fault)
		}
		rows = append(rows, row.Row)
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12}, rows); diff != "" {
		t.Error(diff)
	}
}
