package history

import (
	"slices"
	"time"
)

// A loss of Redis suspends two promises until its state is rebuilt: no field goes back, and one
// call at a time per member. Exempt is a breach between two calls of which one was granted before
// Redis was emptied, and the other after that and before the state was rebuilt. Everything else
// holds: between all other calls, and for what is lost, committed, dead-lettered or ended.
//
// A rebuild does not know what was finished above the committed offset. That is delivered again in
// the order of the log, so a field can go back on its way to the newest value.

// parted reports whether a field may go back, or two calls may overlap, from one call to another:
// the state was lost between their grants, and what the first did was not restored when the other
// was granted.
func (j *judge) parted(a, b *Call) bool {
	return j.suspended(a, b, func(l Loss) bool { return j.isForgotten(a, l) })
}

// suspended reports whether Redis was emptied between the grants of two calls and, at the later
// one, the state was not yet rebuilt or is exempt.
func (j *judge) suspended(a, b *Call, exempt func(Loss) bool) bool {
	from, to := a.Arrived, b.Arrived
	if to.Before(from) {
		from, to = to, from
	}
	return slices.ContainsFunc(j.Losses, func(l Loss) bool {
		granted := to.Add(-j.World.Lease)
		return l.within(from.Add(-j.World.Lease), to) && (l.Rebuilt.IsZero() || !granted.After(l.Rebuilt) || exempt(l))
	})
}

// isForgotten reports whether a rebuild could not know of a call's events, since their offsets were
// not committed.
func (j *judge) isForgotten(c *Call, l Loss) bool {
	fields, _ := userOf(c.User)
	for field, value := range fields {
		for _, e := range j.stating[slot{c.Member, field}] {
			if e.states[field] == value && !j.committedBy(e, l.Rebuilt) {
				return true
			}
		}
	}
	return false
}

func (l Loss) within(from, to time.Time) bool { return !l.At.Before(from) && !l.At.After(to) }

func (j *judge) emptiedWithin(from, to time.Time) bool {
	return slices.ContainsFunc(j.Losses, func(l Loss) bool { return l.within(from, to) })
}

// setBack reports whether the last effect on a field may have replaced its newest value because
// Redis was emptied between the two.
func (j *judge) setBack(s slot, newest string) bool {
	effects := j.effects[s]
	if len(effects) == 0 {
		return false
	}
	last := effects[len(effects)-1]
	never := func(Loss) bool { return false }
	return slices.ContainsFunc(effects, func(ef effect) bool {
		return ef.value == newest && j.suspended(ef.call, last.call, never)
	})
}
