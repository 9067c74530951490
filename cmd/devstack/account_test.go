package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/mapper"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	out := newOutput()
	a := newAccount(out, nil)
	a.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	update := crmapi.Update{OpenUserID: "FSUID_TEST0001"}.With(crmapi.Position, crmapi.Text("Sample Lead"))
	event := mapper.Event{ID: "e1", EmployeeID: "E0001", OpenUserID: "FSUID_TEST0001", Update: update.With(crmapi.Email, crmapi.Text(""))}
	a.Decoded(mapper.Record{
		Partition: 2, Offset: 7, Value: []byte(`{"sequence":4,"after":{"position":"Sample Lead","email":null}}`),
		Headers: []mapper.Header{{Key: "other"}, {Key: noteHeader, Value: []byte("half of it is late")}},
	}, []mapper.Result{{Event: event}})
	a.Called(consumer.CallAttempt{Update: update, Events: 2, Err: &crmapi.Error{Class: crmapi.ClassTransient, Status: 503}})
	a.Called(consumer.CallAttempt{Update: update, Events: 2})
	a.Finished(consumer.EventResult{
		Partition: 2, Offset: 7, Event: event, Outcome: consumer.Applied,
		LeftOut: map[crmapi.Field]string{crmapi.Email: consumer.LeftOutNewer},
	})
	fault := mapper.Result{Fault: &mapper.Fault{Reason: mapper.Malformed, Whole: true, Text: "is no JSON", Offset: -1}}
	a.Decoded(mapper.Record{Partition: 1, Value: []byte("\x1b[2Jx")}, []mapper.Result{fault})
	a.Finished(consumer.EventResult{Partition: 1, Outcome: consumer.DeadLettered, Reason: "malformed"})
	want := `03:04:05  2:7    e1        arrived     E0001 seq 4 after {"position":"Sample Lead","email":null}   [half of it is late]
03:04:05                     call      {"openUserId":"FSUID_TEST0001","position":"Sample Lead"} -> failed: HTTP 503   [one call for 2 events]
03:04:05                     call      {"openUserId":"FSUID_TEST0001","position":"Sample Lead"} -> ok   [one call for 2 events]
03:04:05  2:7    e1        applied     sent position; left out email: a newer event states it
03:04:05  1:0              arrived     "\x1b[2Jx"
03:04:05  1:0              DEAD LETTER malformed: the value is no JSON
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if len(a.open) != 0 {
		t.Errorf("%d records are still open", len(a.open))
	}
	if a.count.calls != 2 || a.count.failed != 1 || a.count.saved() != 0 {
		t.Errorf("counts %+v", a.count)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"ok":                      nil,
		"failed":                  errors.New("anything"),
		"failed: HTTP 503":        &crmapi.Error{Class: crmapi.ClassTransient, Status: 503},
		"failed: no answer":       &crmapi.Error{Class: crmapi.ClassUnacknowledged},
		"failed: errorCode 14001": &crmapi.Error{Class: crmapi.ClassThrottled, Status: 200, Code: 14001, HasCode: true},
		"refused: errorCode 20012 (unknown member)":    &crmapi.Error{Class: crmapi.ClassPoison, Status: 200, Code: 20012, HasCode: true},
		"refused: errorCode 11002 (invalid parameter)": &crmapi.Error{Class: crmapi.ClassPoison, Status: 200, Code: 11002, HasCode: true},
	} {
		if _, got := answerOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'x'
	}
	for want, value := range map[string][]byte{
		"no value (a tombstone)": nil, "": {}, `{"a":1}`: []byte(`{"a":1}`), "é": []byte("é"), `"\n"`: []byte("\n"), `"\xe9"`: {0xe9},
		string(long[:100]) + "… (300 bytes)": long,
	} {
		if got := excerpt(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
