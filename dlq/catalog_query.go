package dlq

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

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
