package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/consumer"
	"membersync/crmapi"
	"membersync/mapper"
)

// A verbose account has each step of an event, and another one its outcome alone.
func TestAccount(t *testing.T) {
	t.Parallel()
	for verbose, want := range map[bool]string{
		true: `03:04:05  2:7     E0001     arrived        e1 sequence 4 after {"position":"Sample Lead","email":null}   [half of it is late]
03:04:05                      call         {"openUserId":"FSUID_TEST0001","position":"Sample Lead"} -> failed: HTTP 503
03:04:05                      call         {"openUserId":"FSUID_TEST0001","position":"Sample Lead"} -> ok
03:04:05  2:7     E0001     applied        sent position (one call for 2 events, repeated after HTTP 503); left out email: a newer event states it   [half of it is late]
03:04:05  1:0               arrived        "\x1b[2Jx"
03:04:05  1:0               dead lettered  malformed: the value is not JSON
`,
		false: `03:04:05  2:7     E0001     applied        sent position (one call for 2 events, repeated after HTTP 503); left out email: a newer event states it   [half of it is late]
03:04:05  1:0               dead lettered  malformed: the value is not JSON
`,
	} {
		a, out := played(verbose)
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("verbose %t: %s", verbose, diff)
		}
		if len(a.open) != 0 {
			t.Errorf("%d records are still open", len(a.open))
		}
		if a.count.calls != 2 || a.count.failed != 1 || a.count.saved() != 0 {
			t.Errorf("counts %+v", a.count)
		}
	}
}

// played is an account of an event whose call was repeated, and of a record that is not an event.
func played(verbose bool) (*account, string) {
	out := &servicetest.Output{}
	a := newAccount(out, nil, verbose)
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
	fault := mapper.Result{Fault: &mapper.Fault{Reason: mapper.Malformed, Whole: true, Text: "is not JSON", Offset: -1}}
	a.Decoded(mapper.Record{Partition: 1, Value: []byte("\x1b[2Jx")}, []mapper.Result{fault})
	a.Finished(consumer.EventResult{Partition: 1, Outcome: consumer.DeadLettered, Reason: "malformed"})
	return a, out.String()
}

// The summary is printed again only when something has ended since.
func TestSummaryIsNotRepeated(t *testing.T) {
	t.Parallel()
	out := &servicetest.Output{}
	a := newAccount(out, nil, false)
	for range 2 {
		a.Finished(consumer.EventResult{Outcome: consumer.Duplicate})
		a.summary()
		a.summary()
	}
	if n := strings.Count(out.String(), "Summary"); n != 2 {
		t.Errorf("%d summaries, want 2: %s", n, out)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err     error
		want    string
		isFinal bool
	}{
		{nil, "", false},
		{errors.New("anything"), "not sent", false},
		{&crmapi.Error{Class: crmapi.ClassTransient, Status: 503}, "HTTP 503", false},
		{&crmapi.Error{Class: crmapi.ClassUnacknowledged}, "no response", false},
		{&crmapi.Error{Class: crmapi.ClassThrottled, Status: 200, Code: 14001, HasCode: true}, "errorCode 14001", false},
		{&crmapi.Error{Class: crmapi.ClassPoison, Status: 200, Code: 20012, HasCode: true}, "errorCode 20012 (unknown member)", true},
		{&crmapi.Error{Class: crmapi.ClassPoison, Status: 200, Code: 11002, HasCode: true}, "errorCode 11002 (invalid parameter)", true},
	} {
		if got, isFinal := answerOf(tt.err); got != tt.want || isFinal != tt.isFinal {
			t.Errorf("%v: %q, %t, want %q, %t", tt.err, got, isFinal, tt.want, tt.isFinal)
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
