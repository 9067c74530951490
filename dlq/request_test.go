package dlq_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/dlq"
)

func valueDigest() dlq.ValueDigest { return dlq.NewValueDigest([]byte("a key made up for tests")) }

// A value digest depends on the key and on every byte of the value. Without a key there is none.
func TestValueDigest(t *testing.T) {
	t.Parallel()
	value := []byte(`{"position":"Lead"}`)
	digest := valueDigest()(value)
	for what, other := range map[string]string{
		"another key":   dlq.NewValueDigest([]byte("another key made up"))(value),
		"another value": valueDigest()(append(bytes.Clone(value), ' ')),
	} {
		if other == digest {
			t.Errorf("%s has the same digest", what)
		}
	}
	if len(digest) != 64 || digest != valueDigest()(value) || dlq.NewValueDigest(nil) != nil {
		t.Errorf("the digest is %q", digest)
	}
}

// A redrive that was written and read again agrees with its request, also with an actor and a note
// that have to be cleaned. The request has nothing of the value.
func TestARequestIsThatOfItsRedrive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	for _, edited := range []bool{false, true} {
		want := redriveOf(f.deadLetter(1, dlq.ReasonCRMInvalid, 0, 0), dlq.Place{Partition: 2, Offset: 7})
		want.By, want.Note, want.At = "sample\x1b@host", "fixed\n"+strings.Repeat("é", 900), time.Date(2026, 11, 22, 9, 0, 0, 123_456_789, time.FixedZone("", 3600))
		if want.Edited = edited; edited {
			want.DeadLetter.Value = []byte("canary")
		}
		var err error
		if want.Audit, err = f.audit.Append(t.Context(), want.Request(valueDigest())); err != nil {
			t.Fatal(err)
		}
		got, err := dlq.ParseRedrive(want.Message())
		if err != nil {
			t.Fatal(err)
		}
		request, err := f.reader.AuditRecord(t.Context(), got.Audit)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.CheckRequest(request, valueDigest()); err != nil || !got.IsRequestedBy(request) {
			t.Errorf("edited %v: %v", edited, err)
		}
		if text := fmt.Sprintf("%+v", request); strings.Contains(text, "canary") {
			t.Errorf("the request has the value: %s", text)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		want   string
		change func(*dlq.Redrive, *dlq.AuditRecord)
		edited bool
		names  bool // it is a request of this redrive, although an invalid one
	}{
		"action":    {want: "action", change: func(_ *dlq.Redrive, a *dlq.AuditRecord) { a.Action = dlq.ActionDiscard }},
		"result":    {want: "action", change: func(_ *dlq.Redrive, a *dlq.AuditRecord) { a.Result = dlq.ResultApplied }},
		"item":      {want: "dead letter", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.DeadLetter.Index++ }},
		"place":     {want: "dead letter", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.Place.Offset++ }, names: true},
		"number":    {want: "number", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.Number++ }},
		"actor":     {want: "actor", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.By = "boss@host" }, names: true},
		"time":      {want: "time", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.At = r.At.Add(time.Millisecond) }, names: true},
		"note":      {want: "note", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.Note = "canary" }, names: true},
		"edited":    {want: "header redrive.edited", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.Edited = true }, names: true},
		"value":     {want: "value", change: func(r *dlq.Redrive, _ *dlq.AuditRecord) { r.DeadLetter.Value = []byte("canary") }, edited: true, names: true},
		"no digest": {want: "value", change: func(_ *dlq.Redrive, a *dlq.AuditRecord) { a.Detail.Digest = "" }, edited: true, names: true},
	} {
		r := redriveOf(sample(), dlq.Place{})
		r.Edited = c.edited
		a := r.Request(valueDigest())
		if err := r.CheckRequest(a, valueDigest()); err != nil {
			t.Fatal(err)
		}
		c.change(&r, &a)
		err := r.CheckRequest(a, valueDigest())
		if _, ok := errors.AsType[*dlq.MismatchError](err); !ok || !strings.Contains(err.Error(), "in its "+c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", what, err)
		}
		if got := r.IsRequestedBy(a); got != c.names {
			t.Errorf("%s: is requested %v, want %v", what, got, c.names)
		}
	}
	edited := redriveOf(sample(), dlq.Place{})
	edited.Edited = true
	if err := edited.CheckRequest(edited.Request(nil), nil); err == nil || !strings.Contains(err.Error(), "MEMBERSYNC_STATE_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

// Evidence is there, never was, has expired, or is hidden by a transaction that is open: then it is
// not known, and the redrive waits.
func TestEvidenceAtAPlace(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(0, dlq.ReasonCRMInvalid, 0, 0), f.deadLetter(3, dlq.ReasonCRMInvalid, 1, 0))
	foreign := kafka.Message{Value: []byte("not ours")}
	f.broker.Produce(t, f.topics.DLQ, foreign)
	var first dlq.Place
	for n := range 3 {
		at, err := f.audit.Append(t.Context(), dlq.AuditRecord{Action: dlq.ActionRedrive, Subject: "0:3:0", Detail: dlq.Detail{Number: n}})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = at
		}
	}
	foreign.Partition = first.Partition
	f.broker.Produce(t, f.topics.Audit, foreign)
	d, err := f.reader.DeadLetter(t.Context(), dlq.Place{Offset: 1})
	if err != nil || d.ID() != f.deadLetter(3, dlq.ReasonCRMInvalid, 1, 0).ID() || string(d.Value) != string(sample().Value) {
		t.Errorf("%+v, %v", d, err)
	}
	second := dlq.Place{Partition: first.Partition, Offset: first.Offset + 1}
	if a, err := f.reader.AuditRecord(t.Context(), second); err != nil || a.Detail.Number != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, offset := range []int64{2, 3, 1 << 40} {
		if _, err := f.reader.DeadLetter(t.Context(), dlq.Place{Offset: offset}); !errors.Is(err, dlq.ErrNoDeadLetter) {
			t.Errorf("%d: %v", offset, err)
		}
	}
	_, err1 := f.reader.DeadLetter(t.Context(), dlq.Place{Partition: 9})
	_, err2 := f.reader.AuditRecord(t.Context(), dlq.Place{Partition: 9})
	notOurs := dlq.Place{Partition: first.Partition, Offset: first.Offset + 3}
	_, err3 := f.reader.AuditRecord(t.Context(), notOurs)
	if !errors.Is(err1, dlq.ErrNoDeadLetter) || !errors.Is(err2, dlq.ErrNoAuditRecord) || !errors.Is(err3, dlq.ErrNoAuditRecord) {
		t.Errorf("%v, %v, %v", err1, err2, err3)
	}
	f.broker.DeleteRecords(t, f.topics.DLQ, 0, 1)
	f.broker.DeleteRecords(t, f.topics.Audit, first.Partition, second.Offset)
	_, err1 = f.reader.DeadLetter(t.Context(), dlq.Place{})
	_, err2 = f.reader.AuditRecord(t.Context(), first)
	_, expired1 := errors.AsType[*dlq.ExpiredError](err1)
	_, expired2 := errors.AsType[*dlq.ExpiredError](err2)
	if !expired1 || !expired2 {
		t.Errorf("expired: %v, %v", err1, err2)
	}
	f.hidden(t, first.Partition)
}

// hidden wants an error, and no statement, about an audit record after an open transaction.
func (f *fixture) hidden(t *testing.T, partition int) {
	t.Helper()
	tx := f.broker.Begin(t)
	tx.Produce(t, f.topics.Audit, kafka.Message{Partition: partition, Value: []byte("not ours")})
	at, err := f.audit.Append(t.Context(), dlq.AuditRecord{Action: dlq.ActionRedrive, Subject: "0:3:0"})
	if err != nil || at.Partition != partition {
		t.Fatal(at, err)
	}
	_, err = f.reader.AuditRecord(t.Context(), at)
	if err == nil || errors.Is(err, dlq.ErrNoAuditRecord) {
		t.Errorf("while a transaction is open: %v", err)
	}
	tx.Commit(t)
	if _, err = f.reader.AuditRecord(t.Context(), at); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// A command that is killed between the request and the redrive leaves a request alone: the item is
// redriving, names the request, and the redrive topic does not hold it. Sent later, it is the same
// redrive.
func TestARequestWithoutARedrive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	f.write(t, f.deadLetter(1, dlq.ReasonCRMInvalid, 0, 0))
	item := f.item(t)
	one := redriveOf(item.DeadLetter, item.Place)
	var err error
	for range 2 { // the write was repeated
		if one.Audit, err = f.audit.Append(t.Context(), one.Request(nil)); err != nil {
			t.Fatal(err)
		}
	}
	killed := f.item(t)
	if killed.State != dlq.StateRedriving || killed.Number != 1 || killed.Request != one.Audit || !killed.RequestedAt.Equal(one.At) {
		t.Errorf("after the request: %+v, want the request %s", killed, one.Audit)
	}
	since := time.Now().Add(-time.Hour)
	if sent, err := f.reader.Sent(t.Context(), since); len(sent) > 0 || err != nil {
		t.Errorf("sent %v, %v", sent, err)
	}
	redriver := dlq.NewRedriver(f.broker.Client(t), f.topics.Redrive, dlq.WithRetry(10*time.Second))
	if err := redriver.Write(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	want := map[dlq.Sent]bool{{ID: item.ID, Number: 1}: true}
	if sent, err := f.reader.Sent(t.Context(), since); !cmp.Equal(want, sent) || err != nil {
		t.Errorf("sent %v, %v", sent, err)
	}
	f.record(t, "0:1:0", dlq.ActionRedriveResult, 1, dlq.ResultApplied)
	if got := f.item(t); got.State != dlq.StateApplied || got.Request != (dlq.Place{}) {
		t.Errorf("after the result: %+v", got)
	}
}

// item returns the only item.
func (f *fixture) item(t *testing.T) dlq.Item {
	t.Helper()
	x, err := f.reader.Index(t.Context(), dlq.Query{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var items []dlq.Item
	for item, err := range f.reader.Items(t.Context(), x, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	if len(items) != 1 {
		t.Fatalf("%d items", len(items))
	}
	return items[0]
}
