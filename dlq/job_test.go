package dlq_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// jobItems are those of a plan: open ones, and every tenth in another state.
func jobItems(n int) (items []dlq.JobItem) {
	for i := range n {
		item := dlq.JobItem{ID: fmt.Sprintf("%d:%d:0@1795334400123", i%12, 1<<40+i), Number: i % 3, State: dlq.StateOpen}
		if i%10 == 0 {
			item.State = dlq.StateRedriving
		}
		items = append(items, item)
	}
	return items
}

// jobTopics are the topics of one test, with what reads and writes them.
func jobTopics(t *testing.T) (*kafkatest.Broker, dlq.Topics, *dlq.Reader, *dlq.Auditor) {
	t.Helper()
	broker := kafkatest.Start(t)
	client := broker.Client(t)
	source := broker.Topic(t, 3, nil)
	topics := dlq.Topics{Source: source, DLQ: source + ".dlq", Redrive: source + ".redrive", Audit: source + ".audit"}
	if err := dlq.EnsureTopics(t.Context(), client, dlq.TopicSpec{Topics: topics, Retention: time.Hour, Create: true}); err != nil {
		t.Fatal(err)
	}
	return broker, topics, dlq.NewReader(client, topics), dlq.NewAuditor(client, topics.Audit)
}

func write(t *testing.T, auditor *dlq.Auditor, records ...dlq.AuditRecord) {
	t.Helper()
	for _, r := range records {
		if err := auditor.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func catalogJob(ctx context.Context, t *testing.T, c *dlq.Catalog) dlq.Job {
	t.Helper()
	if err := c.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	jobs := c.Jobs()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs, want 1", len(jobs))
	}
	return jobs[0]
}

// 100,000 items fit into records that every audit topic takes, and are read back as they were.
func TestJobItems(t *testing.T) {
	t.Parallel()
	broker, topics, reader, auditor := jobTopics(t)
	items := jobItems(100_000)
	job := dlq.Job{ID: "sample", Action: dlq.ActionDiscard, Actor: "sample", Note: "n", At: time.Now(), Run: 1, Runner: "r1"}
	records := job.Records(items)
	catalog := reader.NewCatalog()
	write(t, auditor, records[:len(records)-1]...)
	if j := catalogJob(t.Context(), t, catalog); j.IsComplete() {
		t.Error("complete without the last part")
	}
	write(t, auditor, records[len(records)-1])
	j := catalogJob(t.Context(), t, catalog)
	if !j.IsComplete() || j.Total != len(items) || j.Action != dlq.ActionDiscard || j.Note != "n" || j.Runner != "r1" {
		t.Errorf("got %+v", j)
	}
	got, err := reader.JobItems(t.Context(), j)
	if err != nil || !slices.Equal(got, items) {
		t.Errorf("%d items, %v", len(got), err)
	}
	most := 0
	for _, m := range broker.ReadAll(t, topics.Audit) {
		most = max(most, len(m.Value)+len(m.Key))
	}
	if most > 60<<10 {
		t.Errorf("a record has %d bytes", most)
	}
	if n := len(catalog.Audit(0, func(dlq.AuditRecord) bool { return true })); n != 1 {
		t.Errorf("%d records are shown of a job, want 1", n)
	}
}

// The first record of a run counts. Ends of earlier runs, and runs after the end, do not.
func TestJobRuns(t *testing.T) {
	t.Parallel()
	_, _, reader, auditor := jobTopics(t)
	catalog := reader.NewCatalog()
	job := dlq.Job{ID: "sample", Action: dlq.ActionRedrive, At: time.Now(), Run: 1, Runner: "r1"}
	write(t, auditor, job.Records(jobItems(3))...)
	first := catalogJob(t.Context(), t, catalog)
	write(t, auditor, first.ResumeRecord("r2", "one", ""), first.ResumeRecord("r3", "other", ""), first.EndRecord(dlq.ResultDone, "", "", ""))
	second := catalogJob(t.Context(), t, catalog)
	if second.Run != 2 || second.Runner != "r2" || second.RunBy != "one" || second.Ended != "" {
		t.Errorf("got %+v", second)
	}
	write(t, auditor, second.EndRecord(dlq.ResultFailed, "canceled", "one", ""), second.ResumeRecord("r4", "other", ""))
	ended := catalogJob(t.Context(), t, catalog)
	if ended.Run != 2 || ended.Ended != dlq.ResultFailed || ended.Reason != "canceled" {
		t.Errorf("got %+v", ended)
	}
	if again := catalogJob(t.Context(), t, reader.NewCatalog()); again.Run != 2 || again.Ended != ended.Ended || !again.IsComplete() {
		t.Errorf("another process reads %+v", again)
	}
}
