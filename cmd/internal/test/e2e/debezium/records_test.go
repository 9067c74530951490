package debezium

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/cmd/internal/test/testbed"
)

// A tally counts what a connector wrote.
type tally struct {
	records int
	ops     map[string]int // c, u, d, r (of a snapshot), and "tombstone"
	again   int            // changes that were already in the topic: a connector was killed
	during  int            // changes that were made before a snapshot's last record
	changes []time.Time    // when they were made, by the database
	read    time.Time      // when the last record of a snapshot was made
}

func (c *tally) String() string {
	var parts []string
	for _, op := range slices.Sorted(maps.Keys(c.ops)) {
		parts = append(parts, fmt.Sprintf("%s %d", op, c.ops[op]))
	}
	if c.again > 0 {
		parts = append(parts, fmt.Sprintf("again %d", c.again))
	}
	if c.during > 0 {
		parts = append(parts, fmt.Sprintf("during the snapshot %d", c.during))
	}
	return strings.Join(parts, ", ")
}

// A watcher reads the topic from step to step.
type watcher struct {
	testbed *testbed.Testbed
	topic   string
	read    map[int32]int64 // the next offset of each partition
	seen    map[string]bool // changes, by place in the log, key and operation
}

// next reads what was written since the previous call.
func (w *watcher) next(ctx context.Context, t *testing.T) *tally {
	t.Helper()
	ends, err := w.testbed.Ends(ctx, w.topic)
	if err != nil {
		t.Fatal(err)
	}
	from, left := map[int32]kgo.Offset{}, 0
	for p, extent := range ends {
		if n := int(extent.End - w.read[int32(p)]); n > 0 { //nolint:gosec // a few partitions
			from[int32(p)] = kgo.NewOffset().At(w.read[int32(p)]) //nolint:gosec // a few partitions
			left += n
		}
	}
	c := &tally{ops: map[string]int{}}
	if left == 0 {
		return c
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.testbed.Kafka().Addr()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.topic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for c.records < left {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, rec := range fetches.Records() {
			w.read[rec.Partition] = rec.Offset + 1
			w.count(t, c, rec)
		}
	}
	for _, at := range c.changes {
		if at.Before(c.read) {
			c.during++
		}
	}
	return c
}

// A change holds the parts of an enveloped record that are counted.
type change struct {
	Op     string `json:"op"`
	Millis int64  `json:"ts_ms"` // when the connector made the record
	After  struct {
		UpdatedAt time.Time `json:"updated_at"` // finer than the source's time, which in MariaDB is in seconds
	} `json:"after"`
	Source struct {
		LSN      json.RawMessage `json:"lsn"`
		File     string          `json:"file"`
		Position int64           `json:"pos"`
		Row      int             `json:"row"`
	} `json:"source"`
}

func (w *watcher) count(t *testing.T, c *tally, rec *kgo.Record) {
	t.Helper()
	c.records++
	if rec.Value == nil {
		c.ops["tombstone"]++
		return
	}
	var value struct {
		Payload *change `json:"payload"` // with a schema
		change
	}
	if err := json.Unmarshal(rec.Value, &value); err != nil {
		t.Fatal(err)
	}
	change := value.change
	if value.Payload != nil {
		change = *value.Payload
	}
	c.ops[change.Op]++
	s := change.Source
	if change.Op == "r" {
		if at := time.UnixMilli(change.Millis); at.After(c.read) {
			c.read = at
		}
		return
	}
	if change.Op == "u" {
		c.changes = append(c.changes, change.After.UpdatedAt)
	}
	place := fmt.Sprintf("%s/%s/%d/%d/%s/%s", s.LSN, s.File, s.Position, s.Row, change.Op, rec.Key)
	if w.seen[place] {
		c.again++
	}
	w.seen[place] = true
}
