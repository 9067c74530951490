package dlq

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
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
	c.starts, c.single, c.others, c.leftOut = map[int]int64{}, nil, nil, 0
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

// State returns when the topics were last read to their ends (zero: they were not yet), and how
// many items are left out because of the bound.
func (c *Catalog) State() (readAt time.Time, items, leftOut int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, len(c.index.entries), c.leftOut
}

// deadLetter returns the latest failure of an item, without key, value and headers.
func (e *entry) deadLetter() DeadLetter {
	f := e.facts
	d := DeadLetter{
		Source: Source{Topic: f.topic, Partition: int(e.id.partition), Offset: e.id.offset, Timestamp: fromMillis(e.id.timestamp)},
		Reason: f.reason, Stage: f.reason.Stage(), Error: f.text, CRMCode: f.code, EventID: f.event, EmployeeID: f.employee,
		Attempts: int(f.attempts), Index: int(e.id.index), Count: int(f.count), Whole: e.id.index == wholeRecord, FailedAt: fromMillis(e.failedAt),
		Redrives: int(e.failure), Edited: int(e.edited),
	}
	if e.firstFailed != math.MaxInt64 {
		d.FirstFailedAt = fromMillis(e.firstFailed)
	}
	if d.Whole {
		d.Index = 0
	}
	return d
}

// Find returns the items that a query selects, the latest failure first, without keys, values and
// headers: so many after the first skip of them (limit 0: all). Total counts all that are selected.
// The ids of the query are in full form.
func (c *Catalog) Find(q Query, skip, limit int) (items []Item, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	selected := c.selectLocked(&q)
	slices.SortFunc(selected, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.failedAt, a.failedAt), cmp.Compare(b.at.Partition, a.at.Partition), cmp.Compare(b.at.Offset, a.at.Offset))
	})
	total = len(selected)
	selected = selected[min(skip, total):]
	if limit > 0 && len(selected) > limit {
		selected = selected[:limit]
	}
	items = make([]Item, 0, len(selected))
	for _, e := range selected {
		items = append(items, e.item(e.deadLetter()))
	}
	return items, total
}

// FindIDs returns the full ids of the items that a query selects, the oldest failure first.
func (c *Catalog) FindIDs(q Query) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	selected := c.selectLocked(&q)
	slices.SortFunc(selected, func(a, b *entry) int { return cmp.Compare(a.failedAt, b.failedAt) })
	ids := make([]string, len(selected))
	for i, e := range selected {
		ids[i] = e.id.String()
	}
	return ids
}

func (c *Catalog) selectLocked(q *Query) (selected []*entry) {
	if len(q.IDs) > 0 {
		for _, text := range q.IDs {
			if id, err := ParseID(text); err == nil {
				for e := range c.index.having(id) {
					if (id.short || e.id == id) && c.matches(q, e) {
						selected = append(selected, e)
					}
				}
			}
		}
		return selected
	}
	for i := range c.index.entries {
		if e := &c.index.entries[i]; c.matches(q, e) {
			selected = append(selected, e)
		}
	}
	return selected
}

func (c *Catalog) matches(q *Query, e *entry) bool {
	switch {
	case q.Cause != "" && q.Cause != e.group,
		len(q.States) > 0 && !slices.Contains(q.States, e.audit.state(e.failure)),
		len(q.Reasons) > 0 && !slices.Contains(q.Reasons, e.facts.reason):
		return false
	case q.Stage == "" && q.Code == "" && q.Employee == "" && q.Text == "" && q.Since.IsZero() && q.Until.IsZero():
		return true
	}
	plain := *q
	plain.Cause = "" // compared above
	return plain.matches(e.deadLetter())
}

// Open returns the groups of open items by cause, the largest first.
func (c *Catalog) Open(now time.Time) []CatalogGroup {
	c.mu.Lock()
	defer c.mu.Unlock()
	hour := now.Unix() / secondsPerHour
	if c.groups != nil && c.grouped.version == c.version && c.grouped.hour == hour {
		return c.groups
	}
	byName := map[string]*CatalogGroup{}
	counted := map[string]*countedGroup{}
	for i := range c.index.entries {
		e := &c.index.entries[i]
		if e.audit.state(e.failure) != StateOpen {
			continue
		}
		g := byName[e.group]
		if g == nil {
			g = &CatalogGroup{First: e.deadLetter()}
			byName[e.group], counted[e.group] = g, &countedGroup{Group: Group{Name: e.group}, employees: map[uint64]struct{}{}}
		}
		counted[e.group].add(e)
		if ago := hour - e.failedAt/millisPerHour; ago >= 0 && ago < int64(len(g.Hours)) {
			g.Hours[len(g.Hours)-1-int(ago)]++
		}
	}
	groups := make([]CatalogGroup, 0, len(byName))
	for name, g := range byName {
		g.Group = counted[name].Group
		g.Employees = len(counted[name].employees)
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b CatalogGroup) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	c.groups, c.grouped.version, c.grouped.hour = groups, c.version, hour
	return groups
}

const (
	secondsPerHour = 3600
	millisPerHour  = 1000 * secondsPerHour
)

// Count returns the number of items in a state.
func (c *Catalog) Count(s State) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index.Count(s)
}

// Audit returns the latest audit records that show selects, by time, at most limit of them (0:
// all).
func (c *Catalog) Audit(limit int, selects func(AuditRecord) bool) []AuditRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	var records []AuditRecord
	for _, list := range [][]AuditRecord{c.single, c.others} {
		for _, a := range list {
			if selects(a) {
				records = append(records, a)
			}
		}
	}
	slices.SortStableFunc(records, func(a, b AuditRecord) int { return a.At.Compare(b.At) })
	if limit > 0 && len(records) > limit {
		records = records[len(records)-limit:]
	}
	return records
}

// History reads everything about one item, as [Reader.History] does, from the places that the
// catalog knows.
func (c *Catalog) History(ctx context.Context, id string) (History, error) {
	h, occurrences, audits, err := c.known(id)
	if err != nil {
		return h, err
	}
	for _, at := range occurrences {
		d, err := c.reader.DeadLetter(ctx, at)
		if _, expired := errors.AsType[*ExpiredError](err); expired {
			continue
		}
		if err != nil {
			return h, err
		}
		if at == h.Item.Place {
			h.Item.DeadLetter = d
		}
		d.Value = nil
		h.Occurrences = append(h.Occurrences, Occurrence{at, d})
	}
	if len(h.Occurrences) == 0 {
		return h, ErrNoItem
	}
	for _, at := range audits {
		a, err := c.reader.AuditRecord(ctx, at)
		if _, expired := errors.AsType[*ExpiredError](err); expired {
			continue
		}
		if err != nil {
			return h, err
		}
		h.Audit = append(h.Audit, a)
	}
	h.sort()
	return h, nil
}

// known returns what the catalog knows of one item.
func (c *Catalog) known(text string) (h History, occurrences, audits []Place, err error) {
	id, err := ParseID(text)
	if err != nil {
		return h, nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *entry
	for e := range c.index.having(id) {
		if found != nil && id.short {
			return h, nil, nil, &AmbiguousIDError{Short: text, IDs: c.index.idsLike(id)}
		}
		if id.short || e.id == id {
			found = e
		}
	}
	if found == nil {
		return h, nil, nil, ErrNoItem
	}
	h.Item = found.item(found.deadLetter())
	return h, slices.Clone(found.facts.occurrences), slices.Clone(found.facts.audits), nil
}
