package mapper_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"membersync/crmapi"
	"membersync/mapper"
)

// drawState draws what is known of a member, from few values, so that equal ones occur.
func drawState(t *rapid.T, label string) crmapi.Update {
	u := crmapi.Update{OpenUserID: "FSUID_TEST0001"}
	for f := range crmapi.Field(crmapi.NumFields) {
		if rapid.Bool().Draw(t, label+f.String()) {
			u = u.With(f, drawValue(t, f, label))
		}
	}
	return u
}

func drawValue(t *rapid.T, f crmapi.Field, label string) crmapi.Value {
	label += "value"
	switch f.Kind() {
	case crmapi.KindInt:
		return crmapi.Int(rapid.Int64Range(0, 2).Draw(t, label))
	case crmapi.KindInts:
		return crmapi.Ints(rapid.SliceOfN(rapid.Int64Range(0, 1), 0, 2).Draw(t, label))
	case crmapi.KindText:
		return crmapi.Text(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, label))
	}
	panic("a new kind")
}

func TestDiffOfEqualStatesIsEmpty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := drawState(t, "x")
		if d := mapper.Diff(x, x); d.Len() != 0 || d.OpenUserID != x.OpenUserID {
			t.Fatalf("Diff(x, x) = %v", d)
		}
	})
}

// TestApplyUndoesDiff: Apply(a, Diff(a, b)) = b where b knows every field that a knows.
// A field that b does not know is unchanged, so it stays as it is in a.
func TestApplyUndoesDiff(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawState(t, "a"), drawState(t, "b")
		full := mapper.Apply(a, b)
		if got := mapper.Apply(a, mapper.Diff(a, full)); !got.Equal(full) {
			t.Fatalf("a %s, b %s: got %s", user(a), user(full), user(got))
		}
		if got := mapper.Apply(a, mapper.Diff(a, b)); !got.Equal(full) {
			t.Fatalf("a %s, b %s of any fields: got %s", user(a), user(b), user(got))
		}
	})
}

// TestDiffIsSmallest: whatever is left out of it is missed.
func TestDiffIsSmallest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawState(t, "a"), drawState(t, "b")
		want := mapper.Apply(a, b)
		diff := mapper.Diff(a, b)
		for f := range diff.All() {
			if mapper.Apply(a, diff.Without(f)).Equal(want) {
				t.Fatalf("%s is not needed to get from %s to %s", f, user(a), user(b))
			}
		}
	})
}

func TestDiffAndApplyTakeTheMember(t *testing.T) {
	t.Parallel()
	empty, known := crmapi.Update{}, crmapi.Update{OpenUserID: "FSUID_TEST0001"}
	if got := mapper.Diff(empty, known); got.OpenUserID != known.OpenUserID {
		t.Errorf("Diff is of %q", got.OpenUserID)
	}
	if got := mapper.Apply(known, empty); got.OpenUserID != known.OpenUserID {
		t.Errorf("Apply of a diff of an empty update is of %q", got.OpenUserID)
	}
}

// drawEvents draws events of one member, of few versions, so that equal ones occur.
func drawEvents(t *rapid.T) []mapper.Event {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mapper.Event {
		e := mapper.Event{
			OpenUserID: "FSUID_TEST0001",
			Version:    mapper.Version(rapid.StringMatching(`[0-4]`).Draw(t, "version")),
			Update:     drawState(t, ""),
		}
		if rapid.IntRange(0, 9).Draw(t, "ignored") == 0 {
			e.Ignored = "deletion"
		}
		return e
	}), 0, 12).Draw(t, "events")
}

// TestFoldEqualsApplyingInOrder: the fold of events is what comes out when they are
// applied one by one from the oldest to the newest, equal versions as they stand.
func TestFoldEqualsApplyingInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events, start := drawEvents(t), drawState(t, "start")
		got := mapper.Apply(start, mapper.Fold(events).Update())
		ordered := slices.Clone(events)
		slices.SortStableFunc(ordered, func(a, b mapper.Event) int {
			return strings.Compare(string(a.Version), string(b.Version))
		})
		want := start
		for _, e := range ordered {
			if e.Ignored == "" {
				want = mapper.Apply(want, e.Update)
			}
		}
		if !got.Equal(want) {
			t.Fatalf("got %s, want %s", user(got), user(want))
		}
	})
}

// TestFoldInAnyGrouping: merging the folds of the parts gives the fold of the whole, winners
// included.
func TestFoldInAnyGrouping(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		if got, want := foldInGroups(t, events), mapper.Fold(events); got != summary(want) {
			t.Fatalf("got %s, want %s", got, summary(want))
		}
	})
}

// foldInGroups cuts events up at random, and the parts again, and merges what comes back.
func foldInGroups(t *rapid.T, events []mapper.Event) string {
	var fold func(part []mapper.Event) mapper.Folded
	fold = func(part []mapper.Event) mapper.Folded {
		cut := rapid.IntRange(-1, len(part)).Draw(t, "cut")
		if cut <= 0 || cut == len(part) {
			return mapper.Fold(part)
		}
		return fold(part[:cut]).Merge(fold(part[cut:]))
	}
	return summary(fold(events))
}
