package dlq_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/dlq"
)

// found returns "id state" of what a catalog finds, with short ids.
func found(c *dlq.Catalog, q dlq.Query, skip, limit int) []string {
	lines := []string{}
	items, _ := c.Find(q, skip, limit)
	for _, i := range items {
		id, _ := dlq.ParseID(i.ID)
		lines = append(lines, id.Short().String()+" "+string(i.State))
	}
	return lines
}

func refresh(t *testing.T, c *dlq.Catalog) {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A catalog that follows the topics holds what an index of the same topics selects, at each step.
func TestCatalogFollows(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	c := f.reader.NewCatalog()
	same := func(step string) {
		t.Helper()
		refresh(t, c)
		for name, q := range map[string]dlq.Query{
			"all": {}, "open": {States: []dlq.State{dlq.StateOpen}}, "reason": {Reasons: []dlq.Reason{dlq.ReasonCRMInvalid}},
			"employee": {Employee: "E4"}, "text": {Text: "DEPARTMENT"}, "code": {Code: "100001"}, "no code": {Code: "1"},
			"since": {Since: f.start.Add(3 * time.Minute)}, "stage": {Stage: dlq.StageUpdate}, "short id": {IDs: []string{"0:1:0"}},
		} {
			want := f.list(t, q, 0)
			slices.Reverse(want)
			if d := cmp.Diff(want, found(c, q, 0, 0)); d != "" {
				t.Errorf("%s, %s (-index +catalog): %s", step, name, d)
			}
		}
		x, err := f.reader.Index(t.Context(), dlq.Query{States: []dlq.State{dlq.StateOpen}}, func(d dlq.DeadLetter) string { return d.Cause() })
		if err != nil {
			t.Fatal(err)
		}
		var groups []dlq.Group
		for _, g := range c.Open(time.Now()) {
			groups = append(groups, g.Group)
			if n := len(c.FindIDs(dlq.Query{Cause: g.Name, States: []dlq.State{dlq.StateOpen}})); n != g.Count {
				t.Errorf("%s: cause %q selects %d of %d", step, g.Name, n, g.Count)
			}
		}
		if d := cmp.Diff(x.Groups(), groups); d != "" && len(x.Groups())+len(groups) > 0 {
			t.Errorf("%s: groups (-index +catalog): %s", step, d)
		}
	}
	same("empty")
	f.write(t, f.deadLetter(0, dlq.ReasonCRMInvalid, 5, 0), f.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0), f.deadLetter(2, dlq.ReasonInvalidField, 2, 0))
	same("first")
	f.record(t, "0:2:0", dlq.ActionRedrive, 1, dlq.ResultRequested)
	f.record(t, "0:1:0", dlq.ActionDiscard, 0, dlq.ResultDone)
	same("requested")
	f.write(t, f.deadLetter(2, dlq.ReasonCRMInvalid, 9, 1), f.deadLetter(4, dlq.ReasonCRMNotFound, 4, 0))
	f.record(t, "0:2:0", dlq.ActionRedriveResult, 1, dlq.ResultDeadLettered)
	same("failed again")
	if d := cmp.Diff([]string{"0:0:0 open", "0:4:0 open"}, found(c, dlq.Query{}, 1, 2)); d != "" {
		t.Error(d)
	}
	whole, err := f.reader.History(t.Context(), "0:2:0")
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.History(t.Context(), "0:2:0")
	if d := cmp.Diff(whole, read); d != "" || err != nil {
		t.Errorf("history: %v (-reader +catalog): %s", err, d)
	}
	if n := len(c.Audit(0, func(a dlq.AuditRecord) bool { return a.Action == dlq.ActionRedrive })); n != 1 {
		t.Errorf("%d requests", n)
	}
	f.broker.DeleteRecords(t, f.topics.DLQ, 0, 1) // 0:0:0 is in partition 0
	same("after retention")
}

// A topic that is created again holds nothing of what the catalog has read.
func TestCatalogOfARecreatedTopic(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3)
	c := f.reader.NewCatalog()
	f.write(t, f.deadLetter(0, dlq.ReasonCRMInvalid, 5, 0))
	refresh(t, c)
	f.broker.Recreate(t, f.topics.DLQ, 3, nil)
	refresh(t, c)
	if got := found(c, dlq.Query{}, 0, 0); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}
