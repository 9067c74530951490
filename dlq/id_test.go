package dlq_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

func TestID(t *testing.T) {
	t.Parallel()
	source := dlq.Source{Topic: "in", Partition: 3, Offset: 1042, Timestamp: time.UnixMilli(1_795_334_400_123)}
	for want, d := range map[string]dlq.DeadLetter{
		"3:1042:0@1795334400123":       {Source: source, Reason: dlq.ReasonCRMInvalid},
		"3:1042:7@1795334400123":       {Source: source, Reason: dlq.ReasonCRMInvalid, Index: 7, Count: 9},
		"3:1042@1795334400123":         {Source: source, Reason: dlq.ReasonMalformed, Whole: true},
		"redrive:3:1042@1795334400123": {Source: source, Reason: dlq.ReasonInvalidRedrive, Whole: true},
		"0:0:0@-1":                     {Source: dlq.Source{Timestamp: time.UnixMilli(-1)}}, // Kafka's "no timestamp"
		"2147483647:9223372036854775807:2147483647@9223372036854775807": {
			Source: dlq.Source{Partition: math.MaxInt32, Offset: math.MaxInt64, Timestamp: time.UnixMilli(math.MaxInt64)},
			Index:  math.MaxInt32,
		},
	} {
		if got := d.ID(); got != want {
			t.Errorf("the id is %s, want %s", got, want)
		}
		id, err := dlq.ParseID(want)
		if err != nil || id.String() != want {
			t.Errorf("%s is restored as %s, error %v", want, id, err)
		}
		short, _, _ := strings.Cut(want, "@")
		if id.Short().String() != short || id == id.Short() {
			t.Errorf("the short form of %s is %s, want %s", id, id.Short(), short)
		}
		if again, err := dlq.ParseID(short); err != nil || again != id.Short() {
			t.Errorf("%s is restored as %s, error %v", short, again, err)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	t.Parallel()
	const parts, notDecimal = "it does not have two or three parts separated by colons", " is not a decimal number, or too large"
	for text, want := range map[string]string{
		"": parts, "1": parts, "1:2:3:4": parts, "redrive:": parts, "@1": parts, "redrive:1@2": parts,
		"x:redrive:1:2": parts, "x:1:2": "its partition" + notDecimal,
		"a:1": "its partition" + notDecimal, "2147483648:0": "its partition" + notDecimal, "01:0": "its partition" + notDecimal,
		"+1:0": "its partition" + notDecimal, "-1:0": "its partition is negative", ":1": "its partition is missing",
		"1:b": "its offset" + notDecimal, "1:-2": "its offset is negative", "1:": "its offset is missing",
		"1:9223372036854775808": "its offset" + notDecimal, " 1:2": "its partition" + notDecimal,
		"1:2:": "its index is missing", "1:2:-1": "its index is negative", "1:2:x": "its index" + notDecimal,
		"1:2:3@": "its timestamp is missing", "1:2:3@4@5": "its timestamp" + notDecimal, "1:2@-0": "its timestamp" + notDecimal,
		"1:2@2026-11-22T08:00:00Z": "its timestamp" + notDecimal, strings.Repeat("9", 1000): parts,
	} {
		_, err := dlq.ParseID(text)
		_, ok := errors.AsType[*dlq.IDError](err)
		if !ok || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 ||
			!strings.Contains(err.Error(), "want partition:offset:index@timestamp such as 3:1042:0@1795334400123") {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// An id is restored from its text, and a text from the id that it is parsed as.
func FuzzID(f *testing.F) {
	f.Add("3:1042:0@1795334400123", int32(3), int64(1042), int32(0), int64(1_795_334_400_123), false, false)
	f.Add("redrive:3:1042", int32(0), int64(0), int32(9), int64(-1), true, true)
	f.Add("1:2:3@-0", int32(math.MaxInt32), int64(math.MaxInt64), int32(math.MaxInt32), int64(math.MinInt64), true, false)
	f.Fuzz(func(t *testing.T, text string, partition int32, offset int64, index int32, timestamp int64, whole, redrive bool) {
		if id, err := dlq.ParseID(text); err == nil && id.String() != text {
			t.Errorf("%q is formatted as %q", text, id)
		}
		d := dlq.DeadLetter{
			Source: dlq.Source{
				Partition: int(partition & math.MaxInt32), Offset: offset & math.MaxInt64, Timestamp: time.UnixMilli(timestamp),
			},
			Index: int(index & math.MaxInt32), Whole: whole,
		}
		if redrive {
			d.Reason = dlq.ReasonInvalidRedrive
		}
		id, err := dlq.ParseID(d.ID())
		if err != nil || id.String() != d.ID() {
			t.Errorf("%s is restored as %s, error %v", d.ID(), id, err)
		}
		if short, err := dlq.ParseID(id.Short().String()); err != nil || short != id.Short() || short == id {
			t.Errorf("the short form of %s is restored as %s, error %v", id, short, err)
		}
	})
}

// The source topic was deleted and created again: the new one uses the coordinates of the former
// one again. Their dead letters are items of their own.
func TestItemsOfARecreatedTopic(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, kafkatest.StartFake(t), 3)
	former := f.deadLetter(1, dlq.ReasonCRMInvalid, 1, 0)
	recreated := f.deadLetter(1, dlq.ReasonCRMNotFound, 9, 0)
	recreated.Source.Timestamp = former.Source.Timestamp.Add(time.Hour)
	whole := recreated
	whole.Reason, whole.Whole = dlq.ReasonMalformed, true
	whole.FailedAt = whole.FailedAt.Add(time.Minute)
	f.write(t, recreated, former, recreated, f.deadLetter(2, dlq.ReasonCRMInvalid, 2, 0), whole)
	f.record(t, "0:1:0", dlq.ActionDiscard, 0, dlq.ResultDone)

	all := []string{former.ID() + " discarded", "0:2:0 open", recreated.ID() + " open", "0:1 open"}
	for name, c := range map[string]struct {
		query dlq.Query
		want  []string
	}{
		"all":          {dlq.Query{}, all},
		"open":         {dlq.Query{States: []dlq.State{dlq.StateOpen}}, all[1:]},
		"discarded":    {dlq.Query{States: []dlq.State{dlq.StateDiscarded}}, all[:1]},
		"the former":   {dlq.Query{IDs: []string{former.ID()}}, all[:1]},
		"the new":      {dlq.Query{IDs: []string{recreated.ID()}}, all[2:3]},
		"both":         {dlq.Query{IDs: []string{recreated.ID(), former.ID()}}, []string{all[0], all[2]}},
		"short, whole": {dlq.Query{IDs: []string{"0:1", "0:2:0"}}, []string{all[1], all[3]}},
	} {
		if diff := cmp.Diff(c.want, f.list(t, c.query, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	ambiguous := &dlq.AmbiguousIDError{Short: "0:1:0", IDs: []string{former.ID(), recreated.ID()}}
	_, err := f.reader.Index(t.Context(), dlq.Query{IDs: []string{"0:2:0", "0:1:0"}, States: []dlq.State{dlq.StateOpen}}, nil)
	if got, _ := errors.AsType[*dlq.AmbiguousIDError](err); !cmp.Equal(got, ambiguous) {
		t.Errorf("the index of a short id: %v", err)
	}
	_, err = f.reader.History(t.Context(), "0:1:0")
	if got, _ := errors.AsType[*dlq.AmbiguousIDError](err); !cmp.Equal(got, ambiguous) {
		t.Errorf("the history of a short id: %v", err)
	}
	h, err := f.reader.History(t.Context(), recreated.ID())
	if err != nil || h.Item.ID != recreated.ID() || h.Item.State != dlq.StateOpen || len(h.Occurrences) != 2 || len(h.Audit) != 0 {
		t.Errorf("the history of the new item: %+v, error %v", h, err)
	}
	h, err = f.reader.History(t.Context(), former.ID())
	if err != nil || h.Item.State != dlq.StateDiscarded || len(h.Occurrences) != 1 || len(h.Audit) != 1 {
		t.Errorf("the history of the former item: %+v, error %v", h, err)
	}
	f.wantDeliveries(t, former, recreated)
}

// wantDeliveries looks up both by their deliveries, as a replay and a rebuild do.
func (f *fixture) wantDeliveries(t *testing.T, former, recreated dlq.DeadLetter) {
	t.Helper()
	x, err := f.reader.Index(t.Context(), dlq.Query{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := recreated.Source
	other.Timestamp = other.Timestamp.Add(time.Millisecond)
	for _, c := range []struct {
		source dlq.Source
		index  int
		want   string
	}{
		{former.Source, 0, "discarded true"},
		{recreated.Source, 0, "open true"},
		{recreated.Source, 5, "open true"}, // by the whole record
		{former.Source, 5, " false"},
		{other, 0, " false"},
		{other, -1, " false"},
	} {
		v, ok := x.StateOf(dlq.Delivery{Source: c.source, Index: c.index})
		if got := fmt.Sprint(v.State, " ", ok); got != c.want {
			t.Errorf("%d:%d:%d of %v is %s, want %s", c.source.Partition, c.source.Offset, c.index, c.source.Timestamp, got, c.want)
		}
	}
}

func TestIndexNamesInvalidAndMissingIDs(t *testing.T) {
	t.Parallel()
	f := newFixtureOn(t, kafkatest.StartFake(t), 3)
	f.write(t, f.deadLetter(1, dlq.ReasonCRMInvalid, 1, 0))
	_, err := f.reader.Index(t.Context(), dlq.Query{IDs: []string{"0:1:0", "nonsense"}}, nil)
	if _, ok := errors.AsType[*dlq.IDError](err); !ok {
		t.Errorf("the index of an invalid id: %v", err)
	}
	if _, err := f.reader.History(t.Context(), "nonsense"); err == nil || errors.Is(err, dlq.ErrNoItem) {
		t.Errorf("the history of an invalid id: %v", err)
	}
	x, err := f.reader.Index(t.Context(), dlq.Query{IDs: []string{"0:1:0", "7:7:7", fullID("0:1:0"), "0:1:0@5", "0:1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"7:7:7", "0:1:0@5", "0:1"}, x.Missing()); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	for id, want := range map[string]string{
		fullID("0:1:0"): "0:1:0", "0:1:0": "0:1:0", "0:1:0@5": "0:1:0@5", "9:9@9": "9:9@9", "nonsense": "nonsense",
	} {
		if got := x.ShortID(id); got != want {
			t.Errorf("%s is shown as %s, want %s", id, got, want)
		}
	}
}
