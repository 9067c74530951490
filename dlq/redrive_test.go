package dlq_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/dlq"
)

func redriveOf(d dlq.DeadLetter, at dlq.Place) dlq.Redrive {
	return dlq.Redrive{
		DeadLetter: d, Place: at, Number: d.Redrives + 1, By: "sample@host", Note: "fixed",
		At: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
	}
}

func TestRedriveMessage(t *testing.T) {
	t.Parallel()
	d := sample()
	d.Headers = append(d.Headers, dlq.Header{Key: "redrive.number", Value: []byte("99")}) // the source's own
	want := redriveOf(d, dlq.Place{Partition: 2, Offset: 7})
	want.Edited, want.Audit = true, dlq.Place{Partition: 1, Offset: 5}
	m := want.Message()
	own := pairs(m)[len(pairs(d.Message())):]
	headers := [][2]string{
		{"redrive.dead_letter", "2:7"},
		{"redrive.number", "2"},
		{"redrive.by", "sample@host"},
		{"redrive.at", "2026-11-22T09:00:00.000Z"},
		{"redrive.note", "fixed"},
		{"redrive.edited", "true"},
		{"redrive.audit", "1:5"},
	}
	if diff := cmp.Diff(headers, own); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	got, err := dlq.ParseRedrive(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
}

// Every header of a redrive is required, once.
func TestParseRedriveRefuses(t *testing.T) {
	t.Parallel()
	const missing, twice = "", "twice"
	for header, bad := range map[string][]string{
		"redrive.dead_letter": {missing, twice, "7", "a:1", "1:-1"}, "redrive.number": {missing, twice, "0", "-1", "x"},
		"redrive.at": {missing, twice, "noon"}, "dlq.reason": {missing}, "redrive.audit": {missing, twice, "", "7", "1:-1"},
		"redrive.by": {missing, twice}, "redrive.note": {missing, twice}, "redrive.edited": {missing, twice, "yes"},
	} {
		for _, value := range bad {
			m := redriveOf(sample(), dlq.Place{}).Message()
			own := slices.IndexFunc(m.Headers, func(h kafka.Header) bool { return h.Key == header })
			switch value {
			case missing:
				m.Headers = slices.Delete(m.Headers, own, own+1)
			case twice:
				m.Headers = append(m.Headers, m.Headers[own])
			default:
				m.Headers[own].Value = []byte(value)
			}
			_, err := dlq.ParseRedrive(m)
			if format, ok := errors.AsType[*dlq.FormatError](err); !ok || format.Header != header || value != "" && strings.Contains(err.Error(), value+" ") {
				t.Errorf("%s %q: %v", header, value, err)
			}
		}
	}
}

func TestRedriveCheck(t *testing.T) {
	t.Parallel()
	named := sample()
	for what, change := range map[string]func(*dlq.Redrive){
		"source coordinates": func(r *dlq.Redrive) { r.DeadLetter.Index++ },
		"source coordinates, of another time": func(r *dlq.Redrive) {
			r.DeadLetter.Source.Timestamp = r.DeadLetter.Source.Timestamp.Add(time.Millisecond)
		},
		"key":    func(r *dlq.Redrive) { r.DeadLetter.Key = nil },
		"value":  func(r *dlq.Redrive) { r.DeadLetter.Value = []byte("canary") },
		"number": func(r *dlq.Redrive) { r.Number = named.Redrives },
	} {
		r := redriveOf(sample(), dlq.Place{})
		change(&r)
		err := r.Check(named)
		what, _, _ = strings.Cut(what, ",")
		if _, ok := errors.AsType[*dlq.MismatchError](err); !ok || !strings.Contains(err.Error(), "in its "+what) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", what, err)
		}
	}
	edited := redriveOf(sample(), dlq.Place{})
	edited.DeadLetter.Value, edited.Edited = []byte("other"), true
	if err := errors.Join(edited.Check(named), redriveOf(sample(), dlq.Place{}).Check(named)); err != nil {
		t.Error(err)
	}
}

func TestSentAndTail(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2)
	f.record(t, "0:1:0", dlq.ActionRedrive, 1, dlq.ResultRequested) // before the tail
	tail, err := f.reader.Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	redriver := dlq.NewRedriver(f.broker.Client(t), f.topics.Redrive, dlq.WithRetry(10*time.Second))
	for _, offset := range []int64{1, 2} {
		if err := redriver.Write(t.Context(), redriveOf(f.deadLetter(offset, dlq.ReasonCRMInvalid, 0, 0), dlq.Place{})); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.reader.Sent(t.Context(), time.Now().Add(-time.Minute))
	want := map[dlq.Sent]bool{{ID: fullID("0:1:0"), Number: 1}: true, {ID: fullID("0:2:0"), Number: 1}: true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := f.reader.Sent(t.Context(), time.Now().Add(time.Hour)); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	received, done := make(chan string, 9), make(chan error, 1)
	go func() {
		done <- tail.Follow(ctx, func(a dlq.AuditRecord) error { received <- a.Subject + " " + a.Result; return nil })
	}()
	f.record(t, "0:2:0", dlq.ActionRedriveResult, 1, dlq.ResultApplied)
	if got := <-received; got != fullID("0:2:0")+" applied" {
		t.Errorf("received %s", got)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A header of the source record never counts as one of the redrive, and is restored unchanged, also
// when it has the name of one.
func TestSourceHeadersAreNoHeadersOfARedrive(t *testing.T) {
	t.Parallel()
	d := sample()
	d.Headers = append(d.Headers, dlq.Header{Key: "redrive.edited", Value: []byte("true")}, dlq.Header{Key: "redrive.note", Value: []byte("source")})
	got, err := dlq.ParseRedrive(dlq.Redrive{DeadLetter: d, Number: d.Redrives + 1}.Message())
	if err != nil || got.Edited || got.Note != "" || !got.At.IsZero() {
		t.Errorf("edited %v, note %q, at %v, error %v", got.Edited, got.Note, got.At, err)
	}
	if diff := cmp.Diff(d, got.DeadLetter); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
}

// A version has four digits for the number of an edit.
func TestRedriveNumbersAreBounded(t *testing.T) {
	t.Parallel()
	for number, ok := range map[int]bool{dlq.MaxRedrives: true, dlq.MaxRedrives + 1: false} {
		_, err := dlq.ParseRedrive(dlq.Redrive{DeadLetter: sample(), Number: number}.Message())
		if (err == nil) != ok {
			t.Errorf("number %d: error %v", number, err)
		}
	}
}
