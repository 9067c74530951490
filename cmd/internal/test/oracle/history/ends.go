package history

import "time"

// endRules judge the state at the end, and what was committed.
type endRules struct{ *judge }

// finalState: each field of each member ends at the value of the newest event that states it and
// was not dead-lettered. If the latest effect is a dead letter's own (unacknowledged until its
// retry budget was used up), the CRM holds that value.
func (j endRules) finalState() {
	for s := range j.stating {
		accepted := j.accepted(s)
		got, has := j.State[s.member][s.field]
		effects := j.effects[s]
		if len(effects) > 0 && !j.isOfAccepted(s, effects[len(effects)-1]) {
			continue
		}
		switch {
		case len(accepted) == 0:
			if has {
				j.fault("%s has %s = %s, which no accepted event states", s.member, s.field, got)
			}
		case !has || got != accepted[len(accepted)-1].states[s.field]:
			newest := accepted[len(accepted)-1]
			for newest.mayBeLost && len(accepted) > 1 && got != newest.states[s.field] {
				accepted = accepted[:len(accepted)-1]
				newest = accepted[len(accepted)-1]
			}
			if newest.mayBeLost || has && got == newest.states[s.field] || j.waitsForLost(newest) {
				continue
			}
			if j.setBack(s, newest.states[s.field]) {
				continue
			}
			j.fault("%s ends with %s = %s, but %s, the newest accepted one, states %s", s.member, s.field, got, newest, newest.states[s.field])
		}
	}
}

// settles: all offsets are committed at the end. An event that waits for the outcome of a newer one
// can keep its offset for hours, see [judge.waitsForLost].
func (j endRules) settles() {
	waits := false
	for p, end := range j.Ends {
		if j.Committed[p] == end {
			continue
		}
		first := j.byPlace[place{len(j.Recreated), p, j.Committed[p]}]
		if first == nil || !j.waitsForLost(first) {
			j.fault("partition %d is committed up to %d of %d", p, j.Committed[p], end)
			continue
		}
		waits = true
	}
	if j.Unsettled && !waits {
		j.fault("not settled long after the last fault")
	}
}

// waitsForLost reports whether an event may wait for a newer one that never ends: the newer one's
// call went unacknowledged, and then its topic was deleted, or a broken mapping, which does not
// know the member, rejected it on redelivery.
func (j endRules) waitsForLost(e *event) bool {
	for field := range e.states {
		for _, newer := range j.stating[slot{e.member, field}] {
			if newer.order > e.order && (newer.mayBeLost || j.isUnmapped(newer)) {
				return true
			}
		}
	}
	return false
}

// isUnmapped reports whether a broken mapping rejected an event.
func (j endRules) isUnmapped(e *event) bool {
	d := j.dead[e.key()]
	return d != nil && e.refusal == "" && d.reason == "invalid_field" && j.isOfStorm(e, d.reason, d.at)
}

// isOfAccepted reports whether the effect is that of an event that was not dead-lettered.
func (j endRules) isOfAccepted(s slot, ef effect) bool {
	lives := func(e *event) bool { return j.dead[e.key()] == nil }
	return len(j.ordersOf(s, ef.value, ef.call.Arrived, lives)) > 0
}

// commits: when an offset is committed, all events below it must have ended before.
func (j endRules) commits() {
	upTo := make(map[int]int64)
	for _, c := range j.Commits {
		if len(j.Recreated) > 0 && !c.At.Before(j.Recreated[0]) {
			continue // may be of the deleted topic
		}
		for offset := upTo[c.Partition]; offset < c.Offset; offset++ {
			e := j.byPlace[place{0, c.Partition, offset}]
			if e == nil {
				j.fault("offset %d of partition %d is committed but does not exist", offset, c.Partition)
				break
			}
			if why := j.unfinished(e, c.At); why != "" {
				j.fault("%s is committed at %s, but %s", e, clock(c.At), why)
			}
		}
		upTo[c.Partition] = max(upTo[c.Partition], c.Offset)
	}
}

// unfinished returns why an event had not ended at a time. Empty if it had.
func (j endRules) unfinished(e *event, at time.Time) string {
	p := e.place()
	switch {
	case e.ignored:
		return ""
	case e.poison != "":
		if j.deadLettered[delivery{p, 0}].IsZero() {
			return "it has no dead letter"
		}
		return ""
	}
	if d := j.dead[e.key()]; d != nil && !d.at.After(at) {
		return ""
	}
	for field, value := range e.states {
		if !j.settled(j.events[e.key()][0], field, value, at) {
			return "nothing was sent for its " + field
		}
	}
	return ""
}

// settled reports whether the field had the event's value, or a newer event's, at that time.
func (j endRules) settled(e *event, field, value string, at time.Time) bool {
	s := slot{e.member, field}
	for _, ef := range j.effects[s] {
		if ef.call.Effect.After(at) {
			continue
		}
		if ef.value == value {
			return true
		}
		for _, o := range j.stating[s] {
			if o.order > e.order && o.states[field] == ef.value {
				return true
			}
		}
	}
	return false
}
