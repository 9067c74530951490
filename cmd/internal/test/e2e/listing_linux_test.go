package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// With a hundred thousand dead letters of all reasons and sizes, a fifth of them redriven or
// discarded, the list of the latest ones takes little time and memory.
func TestListingOfManyDeadLetters(t *testing.T) { //nolint:paralleltest // it measures
	if os.Getenv("MEMBERSYNC_TEST_FULL") == "" {
		t.Skip("takes half a minute and half a gigabyte; MEMBERSYNC_TEST_FULL=1 runs it")
	}
	const count, limit = 100_000, 50
	r := newRig(t, setup{partitions: 6, crm: crmapitest.Options{Tokens: []string{token}}})
	topics := dlq.Topics{Source: r.Topic, DLQ: r.Topic + ".dlq", Redrive: r.Topic + ".redrive", Audit: r.Topic + ".audit"}
	spec := dlq.TopicSpec{Topics: topics, Retention: time.Hour, Create: true}
	if err := dlq.EnsureTopics(t.Context(), r.Broker.Client(t), spec); err != nil {
		t.Fatal(err)
	}
	recorded := time.Now().Add(-time.Hour)
	total := writeMany(r, count, recorded)
	settleMany(r, count, recorded)

	began := time.Now()
	p := r.cli.begin("dlq", "list", "--limit", strconv.Itoa(limit), "-o", "json")
	status := p.Status()
	took := time.Since(began)
	usage, _ := p.State().SysUsage().(*syscall.Rusage)
	peak := usage.Maxrss << 10
	t.Logf("real Kafka %t; %d dead letters, %d MB: dlq list --limit %d took %.2f s, peak RSS %.0f MiB",
		r.Broker.Real(), count, total/1e6, limit, took.Seconds(), float64(peak)/(1<<20))
	if listed := objects(t, p.Out.String()); status != 0 || len(listed) != limit {
		t.Errorf("status %d, %d listed: %s", status, len(listed), &p.Err)
	}
	if !raced && (took > 5*time.Second || peak > 128<<20) {
		t.Errorf("it took %v and %d bytes, want 5 s and 128 MiB at most", took, peak)
	}
}

// writeMany writes dead letters of 1 KiB to 900 KiB, whose records all have one time, and returns
// their total size in bytes.
func writeMany(r *rig, n int, at time.Time) (total int) {
	r.t.Helper()
	var batch []kafka.Message
	size := 0
	for i := range n {
		l := dlq.DeadLetter{
			Key: fmt.Appendf(nil, "E%05d", i), Value: bytes.Repeat([]byte("sample "), deadLetterBytes(i)/7),
			Source: dlq.Source{Topic: r.Topic, Partition: i % 6, Offset: int64(i), Timestamp: at},
			Reason: dlq.Reasons()[i%len(dlq.Reasons())], Error: "what was wrong", EventID: fmt.Sprintf("ev-%d", i),
			EmployeeID: fmt.Sprintf("E%05d", i), Count: 1, Attempts: 1, Group: r.Group, Version: version,
			FirstFailedAt: at.Add(time.Duration(i) * time.Millisecond), FailedAt: at.Add(time.Duration(i) * time.Millisecond),
		}
		m := l.Message()
		m.Partition = i % 6
		if size += len(m.Value) + 1000; size > 960<<10 { // the limit of one batch
			r.Broker.Produce(r.t, r.Topic+".dlq", batch...)
			batch, size = nil, len(m.Value)+1000
		}
		batch = append(batch, m)
		total += len(m.Value)
	}
	r.Broker.Produce(r.t, r.Topic+".dlq", batch...)
	return total
}

// deadLetterBytes spreads the sizes: most are small.
func deadLetterBytes(i int) int {
	switch {
	case i%1000 == 0:
		return 900 << 10
	case i%100 == 1:
		return 64 << 10
	case i%10 == 2:
		return 10 << 10
	}
	return 1<<10 + i%1000
}

// settleMany redrives every fifth with a result, or discards it.
func settleMany(r *rig, n int, at time.Time) {
	r.t.Helper()
	var records []kafka.Message
	for i := 0; i < n; i += 5 {
		id := fmt.Sprintf("%d:%d:0@%d", i%6, i, at.UnixMilli())
		if i%len(dlq.Reasons()) == len(dlq.Reasons())-1 {
			id = "redrive:" + id
		}
		if i%10 == 0 {
			records = append(records, auditMessage(i, map[string]any{"action": "discard", "subject": id, "result": "done"}))
			continue
		}
		number := map[string]any{"number": 1}
		records = append(records, auditMessage(i, map[string]any{"action": "redrive", "subject": id, "result": "requested", "detail": number}),
			auditMessage(i, map[string]any{"action": "redrive_result", "subject": id, "result": "applied", "detail": number}))
	}
	for chunk := range slices.Chunk(records, 5000) {
		r.Broker.Produce(r.t, r.Topic+".audit", chunk...)
	}
}

func auditMessage(i int, record map[string]any) kafka.Message {
	record["at"], record["actor"] = time.Now().UTC().Format(time.RFC3339), "sample@host"
	value, _ := json.Marshal(record) //nolint:errchkjson // texts and numbers
	return kafka.Message{Partition: i % 6, Key: []byte("sample"), Value: value}
}
