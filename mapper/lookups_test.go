package mapper_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

func TestParseCSV(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, key, value, want string }{
		{"the first two columns", "a,b\n1, x \n2,y\n", "", "", "1=x 2=y"},
		{"named columns", "x,crm,hr\n0,c1,h1\n0,c2,h2\n", "hr", "crm", "h1=c1 h2=c2"},
		{"a byte order mark, quotes and CRLF", "\xef\xbb\xbfa,b\r\n\"1\",\"x,y\"\r\n", "a", "b", "1=x,y"},
		{"the same twice", "a,b\n1,x\n1,x\n", "", "", "1=x"},
		{"only a header", "a,b\n", "", "", ""},
		{"nothing", "", "", "", "line 1 lacks the header"},
		{"unknown column", "a,b\n", "c", "", `line 1 has no column "c"`},
		{"unknown result", "a,b\n", "", "c", `line 1 has no column "c"`},
		{"one column", "a\n", "", "", "line 1 has one column only"},
		{"a second value", "a,b\n1,x\n1,y\n", "", "", "line 3 gives a key a second value"},
		{"an empty key", "a,b\n,x\n", "", "", "line 2 has an empty key"},
		{"an empty value", "a,b\n1, \n", "", "", "line 2 has an empty value"},
		{"a short line", "a,b\n1,x\n2\n", "", "", "line 3 has another number of columns than the header"},
		{"a stray quote", "a,b\n1,x\"y\n", "", "", "line 2 has a quotation mark in the wrong place"},
		{"GBK", "a,b\n1,\xd6\xd0\n", "", "", "line 2 is not valid UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table, err := mapper.ParseCSV([]byte(tt.text), tt.key, tt.value)
			if err != nil {
				if err.Error() != tt.want {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				return
			}
			entries := strings.Fields(tt.want)
			if table.Len() != len(entries) {
				t.Errorf("%d entries, want %d", table.Len(), len(entries))
			}
			for _, e := range entries {
				key, value, _ := strings.Cut(e, "=")
				if got, ok := table.Lookup(key); !ok || got != value {
					t.Errorf("%s is %q, %v, want %q", key, got, ok, value)
				}
			}
			if _, ok := table.Lookup("absent"); ok {
				t.Error("finds what is not there")
			}
		})
	}
}

const lookingUp = `
version: 1
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: {from: $event.emp, lookup: members}}
order: {kind: sequence, from: $event.seq}
states: {after: $event.new, before: $event.old}
lookups: {members: {redis: "crm:members"}, units: {file: units.csv, key: hr, value: crm}}
fields: {leaderId: {from: boss, lookup: members}, attachingDepartmentIds: {from: units, lookup: units}}
`

func mustParse(tb testing.TB, text string) *mapper.Mapping {
	tb.Helper()
	m, err := parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestLookups(t *testing.T) {
	t.Parallel()
	m := mustParse(t, lookingUp)
	want := []mapper.Lookup{
		{Name: "members", Redis: "crm:members", Line: 6, Column: 11},
		{Name: "units", File: "units.csv", Key: "hr", Value: "crm", Line: 6, Column: 44},
	}
	if diff := cmp.Diff(want, m.Lookups()); diff != "" {
		t.Error(diff)
	}
	if _, err := m.WithTables(map[string]mapper.Table{"unit": tableOf{}}); err == nil || !strings.Contains(err.Error(), `"unit"`) {
		t.Errorf("error %v, want one that names the unknown lookup", err)
	}
	if got := builtin(t, "canonical", options()).Lookups(); got != nil {
		t.Errorf("canonical has lookups: %v", got)
	}
}

// TestReferences: what the record refers to is told once each, new and old, and answers make the
// update.
func TestReferences(t *testing.T) {
	t.Parallel()
	m, err := mustParse(t, lookingUp).WithTables(map[string]mapper.Table{"units": tableOf{"u1": "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	rec := record(`{"id":"1","emp":"E1","seq":1,"old":{"boss":"E3"},"new":{"boss":"E2","units":["u1"]}}`)
	refs := m.References(rec)
	if diff := cmp.Diff([]mapper.Reference{{"members", "E1"}, {"members", "E2"}, {"members", "E3"}}, refs); diff != "" {
		t.Fatalf("references (-want +got):\n%s", diff)
	}
	found := map[mapper.Reference]string{refs[0]: "FSUID_TEST0001", refs[1]: "FSUID_TEST0002"}
	if got := told(m.MapWith(rec, found)[0]); got != `update {"attachingDepartmentIds":[1000],"leaderId":"FSUID_TEST0002","openUserId":"FSUID_TEST0001"}` {
		t.Error(got)
	}
	delete(found, refs[1])
	if got := told(m.MapWith(rec, found)[0]); got != "rejected unresolved_reference new.boss" {
		t.Error(got)
	}
	if got := told(m.Map(rec)[0]); got != "rejected unresolved_reference emp" {
		t.Error(got)
	}
}

// TestReferencesToOneMember: two ids of the HR system that are one in the CRM are no change.
func TestReferencesToOneMember(t *testing.T) {
	t.Parallel()
	m := mustParse(t, lookingUp)
	rec := record(`{"id":"1","emp":"E1","seq":1,"old":{"boss":"E3"},"new":{"boss":"E2"}}`)
	found := map[mapper.Reference]string{}
	for _, ref := range m.References(rec) {
		found[ref] = "FSUID_TEST0001"
	}
	if got := told(m.MapWith(rec, found)[0]); got != "unchanged" {
		t.Error(got)
	}
}

// TestMissNamesTheLookup: the fault of a miss names the lookup and not the key.
func TestMissNamesTheLookup(t *testing.T) {
	t.Parallel()
	m := mustParse(t, lookingUp)
	fault := m.Map(record(`{"id":"1","emp":"` + canary + `","seq":1,"new":{}}`))[0].Fault
	if want := "unresolved_reference: emp is not in lookup members (byte 16)"; fault == nil || fault.Error() != want || fault.Stage() != "map" {
		t.Errorf("fault %v, want %s", fault, want)
	}
}

// TestNoReferences: nothing is asked for of records that cannot be mapped, or by mappings without
// such lookups.
func TestNoReferences(t *testing.T) {
	t.Parallel()
	m := mustParse(t, lookingUp)
	for _, value := range []string{``, `[]`, `{"id":"1"}`, `{"emp":{}}`} {
		if refs := m.References(record(value)); len(refs) != 0 {
			t.Errorf("%s refers to %v", value, refs)
		}
	}
	if refs := builtin(t, "canonical", options()).References(record(typical())); refs != nil {
		t.Errorf("canonical refers to %v", refs)
	}
	small, err := mapper.Parse("m", []byte(lookingUp), mapper.Options{MaxRecordBytes: 4})
	if err != nil {
		t.Fatal(err)
	}
	if refs := small.References(record(`{"emp":"E1"}`)); refs != nil {
		t.Errorf("an oversized record refers to %v", refs)
	}
}

// TestLookupThatIsNotLoaded: a file that has not been read is not the same as an entry that it
// lacks.
func TestLookupThatIsNotLoaded(t *testing.T) {
	t.Parallel()
	m := mustParse(t, lookingUp)
	rec := record(`{"id":"1","emp":"E1","seq":1,"new":{"units":["u1"]}}`)
	refs := m.References(rec)
	if diff := cmp.Diff([]mapper.Reference{{"members", "E1"}}, refs); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	fault := m.MapWith(rec, map[mapper.Reference]string{refs[0]: "FSUID_TEST0001"})[0].Fault
	if want := "unresolved_reference: new.units entry 0 needs lookup units, which is not loaded"; fault == nil || !strings.Contains(fault.Error(), want) {
		t.Errorf("fault %v, want %s", fault, want)
	}
}
