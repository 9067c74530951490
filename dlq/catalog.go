package dlq

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"membersync/dlq/partlog"
)

// Bounds of a catalog.
const (
	// catalogItems is how many items a catalog holds: of more, the oldest are left out.
	catalogItems = 300_000
	// catalogRecords is how many audit records it holds, of the actions about single dead letters
	// and of all others.
	catalogRecords = 10_000
	// catalogPlaces is how many records of one item it remembers, in each of the topics.
	catalogPlaces = 100
)

// catalogFacts are what a catalog keeps of the latest failure of an item, besides its entry.
type catalogFacts struct {
	reason              Reason
	text, code          string
	employee, event     string
	topic               string
	attempts            int32
	count               int32
	occurrences, audits []Place
}

// A Catalog holds the facts of all items, without their payloads, and follows the DLQ and audit
// topics: each [Catalog.Refresh] reads what was appended since the last one. It takes about 600
// bytes for each item, and is bounded: of more than 300,000 items the oldest are left out. It is
// safe for concurrent use.
type Catalog struct {
	reader *Reader
	slot   chan struct{} // holds a value while a refresh runs

	mu      sync.Mutex
	index   *Index
	starts  map[int]int64 // the first offset of each partition of the DLQ at the last refresh
	version int           // changes with the content
	at      time.Time     // of the last complete refresh; zero: none
	leftOut int
	single  []AuditRecord // the latest records about single dead letters, in the order of reading
	others  []AuditRecord // the latest of all others
	jobs    []*Job        // the latest, the latest last
	groups  []CatalogGroup
	grouped struct { // what groups was made from
		version int
		hour    int64
	}
}

// A CatalogGroup is a group of open items that have the same cause.
type CatalogGroup struct {
	Group
	First DeadLetter // one of them, without key, value and headers
	Hours [24]int    // failures by hour, the current hour last
}

// NewCatalog returns an empty catalog.
func (r *Reader) NewCatalog() *Catalog {
	c := &Catalog{reader: r, slot: make(chan struct{}, 1)}
	c.resetLocked()
	return c
}

// resetLocked forgets everything.
func (c *Catalog) resetLocked() {
	// Without ids in the query, newIndex has no error.
	c.index, _ = newIndex(Query{}, func(d DeadLetter) string { return d.Cause() })
	c.starts, c.single, c.others, c.jobs, c.leftOut = map[int]int64{}, nil, nil, nil, 0
	c.version++
}

// Refresh reads what was appended to the topics since the last refresh. One refresh runs at a time;
// another one waits. A DLQ that does not exist has no items. The error is one that [IsUnavailable]
// recognizes while Kafka is unavailable; what was read before stays.
func (c *Catalog) Refresh(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
		defer func() { <-c.slot }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The ends of the audit topic are looked up first: each dead letter that a record below them
	// names is below the ends of the DLQ.
	audits, err := c.reader.ranges(ctx, c.reader.topics.Audit)
	if _, missing := errors.AsType[*MissingTopicError](err); err != nil && !missing {
		return err
	}
	deadLetters, err := c.reader.ranges(ctx, c.reader.topics.DLQ)
	if _, missing := errors.AsType[*MissingTopicError](err); err != nil && !missing {
		return err
	}
	c.prepare(deadLetters, audits)
	if err := c.scan(ctx, c.reader.topics.DLQ, deadLetters, &c.index.ends, c.addDeadLetter); err != nil {
		return err
	}
	if err := c.scan(ctx, c.reader.topics.Audit, audits, &c.index.audited, c.addAudit); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trimLocked()
	c.at = time.Now()
	return nil
}

// prepare drops what retention has removed, and everything if a topic was created again.
func (c *Catalog) prepare(deadLetters, audits map[int]partlog.Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isRecreated(c.index.ends, deadLetters) || isRecreated(c.index.audited, audits) {
		c.resetLocked()
	}
	expired := false
	for partition, within := range deadLetters {
		before, known := c.starts[partition]
		expired = expired || known && within.First > before
		c.starts[partition] = within.First
	}
	if expired {
		c.keepLocked(func(e *entry) bool { return e.at.Offset >= c.starts[e.at.Partition] })
	}
}

// isRecreated reports whether a topic no longer holds what was read from it.
func isRecreated(read map[int]int64, now map[int]partlog.Range) bool {
	for partition, end := range read {
		if within, ok := now[partition]; !ok || within.End < end {
			return true
		}
	}
	return false
}

// scan visits the ranges from where the last scan stopped, and stores where this one did. A record
// is visited again after an error only if it was not visited before.
func (c *Catalog) scan(
	ctx context.Context, topic string, ranges map[int]partlog.Range, stopped *map[int]int64, add func(*partlog.Record) error,
) error {
	c.mu.Lock()
	next := maps.Clone(*stopped)
	c.mu.Unlock()
	for partition, within := range ranges {
		within.First = max(within.First, next[partition])
		if within.First >= within.End {
			delete(ranges, partition)
			continue
		}
		ranges[partition] = within
	}
	if next == nil {
		next = map[int]int64{}
	}
	_, _, err := c.reader.scanRanges(ctx, topic, ranges, func(rec *partlog.Record) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := add(rec); err != nil {
			return err
		}
		next[rec.Partition] = rec.Offset + 1
		c.version++
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		for partition, within := range ranges {
			next[partition] = within.End
		}
	}
	*stopped = next
	return err
}

func (c *Catalog) addDeadLetter(rec *partlog.Record) error {
	d, err := parseRecord(rec)
	if err != nil {
		c.index.Loss.Unreadable++
		return nil //nolint:nilerr // not written by this service
	}
	at := Place{rec.Partition, rec.Offset}
	e, isNew := c.index.addDeadLetter(d, at)
	if e.facts == nil {
		e.facts = &catalogFacts{}
	}
	if f := e.facts; isNew {
		f.reason, f.text, f.code, f.attempts = d.Reason, c.index.intern(d.Error), c.index.intern(d.CRMCode), int32(d.Attempts) //nolint:gosec // Parse bounds it
		f.employee, f.event, f.topic, f.count = d.EmployeeID, d.EventID, c.index.intern(d.Source.Topic), int32(d.Count)        //nolint:gosec // likewise
	}
	if f := e.facts; len(f.occurrences) < catalogPlaces {
		f.occurrences = append(f.occurrences, at)
	}
	return nil
}

func (c *Catalog) addAudit(rec *partlog.Record) error {
	value, err := rec.Value()
	if err != nil {
		return err
	}
	a, err := ParseAudit(value)
	if err != nil {
		c.index.Loss.Foreign++
		return nil //nolint:nilerr // not written by this service
	}
	at := Place{rec.Partition, rec.Offset}
	c.index.addAudit(a, at)
	if a.Detail.Job != nil {
		c.addJobLocked(a, at)
		if a.Detail.Job.Part > 1 {
			return nil
		}
		a.Detail.Job.Items = nil // they can be many
	}
	list := &c.others
	if id, err := ParseID(a.Subject); err == nil {
		if e := c.index.find(id); e != nil && len(e.facts.audits) < catalogPlaces {
			e.facts.audits = append(e.facts.audits, at)
		}
		list = &c.single
	}
	if *list = append(*list, a); len(*list) > 2*catalogRecords {
		*list = append((*list)[:0], (*list)[len(*list)-catalogRecords:]...)
	}
	return nil
}

// trimLocked leaves out the oldest items beyond the bound.
func (c *Catalog) trimLocked() {
	over := len(c.index.entries) - catalogItems
	if over <= 0 {
		return
	}
	times := make([]int64, len(c.index.entries))
	for i := range c.index.entries {
		times[i] = c.index.entries[i].failedAt
	}
	slices.Sort(times)
	oldest := times[over-1]
	c.keepLocked(func(e *entry) bool { return e.failedAt > oldest })
	c.leftOut += over
}

// keepLocked keeps some of the items.
func (c *Catalog) keepLocked(keep func(*entry) bool) {
	old := c.index.entries
	c.index.items, c.index.entries = map[ID]int32{}, nil
	for i := range old {
		if e := &old[i]; keep(e) {
			added := c.index.addEntry(e.id)
			next := added.next
			*added = *e
			added.next = next
		}
	}
	c.version++
}
