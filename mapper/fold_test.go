package mapper_test

import (
	"fmt"
	"strings"
	"testing"

	"membersync/crmapi"
	"membersync/mapper"
)

// summary writes all that a fold knows, so that two can be compared.
func summary(f mapper.Folded) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events %s", f.Events(), user(f.Update()))
	for field := range crmapi.Field(crmapi.NumFields) {
		if w, ok := f.Winner(field); ok {
			fmt.Fprintf(&b, " %s: %d %s", field, w.Index, w.Version)
		}
	}
	return b.String()
}

func event(version string, fields ...crmapi.Field) mapper.Event {
	e := mapper.Event{OpenUserID: "FSUID_TEST0001", Version: mapper.Version(version)}
	e.Update.OpenUserID = e.OpenUserID
	for _, f := range fields {
		e.Update = e.Update.With(f, crmapi.Text("of "+version))
	}
	return e
}

func TestFold(t *testing.T) {
	t.Parallel()
	ignored := event("9", crmapi.QQ)
	ignored.Ignored = "deletion"
	tests := []struct {
		name   string
		events []mapper.Event
		want   string
	}{
		{"none", nil, `0 events {"openUserId":""}`},
		{"one", []mapper.Event{event("1", crmapi.QQ)}, `1 events {"openUserId":"FSUID_TEST0001","qq":"of 1"} qq: 0 1`},
		{"newest wins, whatever the order", []mapper.Event{event("2", crmapi.QQ), event("1", crmapi.QQ)}, `2 events {"openUserId":"FSUID_TEST0001","qq":"of 2"} qq: 0 2`},
		{"field by field", []mapper.Event{event("8", crmapi.Position), event("7", crmapi.Mobile, crmapi.Position)}, `2 events {"openUserId":"FSUID_TEST0001","position":"of 8","mobile":"of 7"} position: 0 8 mobile: 1 7`},
		{"equal versions: the later", []mapper.Event{event("1", crmapi.QQ), event("1", crmapi.QQ)}, `2 events {"openUserId":"FSUID_TEST0001","qq":"of 1"} qq: 1 1`},
		{"ignored ones state nothing", []mapper.Event{event("1", crmapi.QQ), ignored}, `2 events {"openUserId":"FSUID_TEST0001","qq":"of 1"} qq: 0 1`},
		{"unchanged ones state nothing", []mapper.Event{event("1", crmapi.QQ), event("2")}, `2 events {"openUserId":"FSUID_TEST0001","qq":"of 1"} qq: 0 1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := summary(mapper.Fold(tt.events)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFoldMerge(t *testing.T) {
	t.Parallel()
	a := mapper.Fold([]mapper.Event{event("3", crmapi.QQ), event("1", crmapi.Email)})
	b := mapper.Fold([]mapper.Event{event("2", crmapi.QQ, crmapi.Email)})
	before := summary(a)
	want := `3 events {"openUserId":"FSUID_TEST0001","email":"of 2","qq":"of 3"} email: 2 2 qq: 0 3`
	if got := summary(a.Merge(b)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if summary(a) != before {
		t.Error("Merge changed its receiver")
	}
	if got := summary(mapper.Folded{}.Merge(a)); got != before {
		t.Errorf("the zero fold in front changes %s to %s", before, got)
	}
	if got := summary(a.Merge(mapper.Folded{})); got != before {
		t.Errorf("the zero fold behind changes %s to %s", before, got)
	}
}

func TestFoldWinnerOfNoField(t *testing.T) {
	t.Parallel()
	f := mapper.Fold([]mapper.Event{event("1", crmapi.QQ)})
	for _, field := range []crmapi.Field{crmapi.Email, crmapi.Field(crmapi.NumFields), 255} {
		if w, ok := f.Winner(field); ok {
			t.Errorf("field %d has the winner %+v", field, w)
		}
	}
}
