package history

import (
	"slices"
	"time"
)

// A Replay is what an instance does that is not the live service.
type Replay struct {
	Began   time.Time // when its range was fixed
	Reapply bool
}

// replaysLeaveOut: a replay sends nothing of an event that was dead-lettered before it began, and
// nothing of one that was done by then unless it is to reapply.
func (j *judge) replaysLeaveOut() {
	for i := range j.Calls {
		c := &j.Calls[i]
		r, ok := j.Replays[c.Instance]
		if !ok {
			continue
		}
		fields, _ := userOf(c.User)
		for field, value := range fields {
			if why := j.leftOut(slot{c.Member, field}, value, c, r); why != "" {
				j.fault("call %d of a replay sends %s %s = %s, which %s before it began at %s",
					c.N, c.Member, field, value, why, clock(r.Began))
			}
		}
	}
}

// leftOut says why no event lets a replay send a value; empty: one does.
func (j *judge) leftOut(s slot, value string, c *Call, r Replay) (why string) {
	for _, e := range j.stating[s] {
		if e.states[s.field] != value || e.from.After(c.Arrived) {
			continue
		}
		began := r.Began.Truncate(time.Millisecond) // as the times of records are
		switch d := j.dead[e.key()]; {
		case d != nil && d.at.Before(began) && !j.hasCopy(e, began):
			why = "was dead-lettered"
		case !r.Reapply && e.number == 0 && len(j.Losses) == 0 && j.committedBy(e, r.Began):
			why = "was done"
		default:
			return ""
		}
	}
	return why
}

// hasCopy reports whether an event has another delivery, which had no dead letter by then: that is
// known by its place.
func (j *judge) hasCopy(e *event, by time.Time) bool {
	return e.number == 0 && slices.ContainsFunc(j.events[e.key()], func(other *event) bool {
		at := j.deadLettered[delivery{other.place(), 0}]
		return at.IsZero() || !at.Before(by)
	})
}

// committedBy reports whether the offset of an event's record was committed.
func (j *judge) committedBy(e *event, at time.Time) bool {
	if len(j.Recreated) > 0 {
		return false
	}
	for _, c := range j.Commits {
		if c.At.Before(at) && c.Partition == e.rec.Partition && c.Offset > e.rec.Offset {
			return true
		}
	}
	return false
}
