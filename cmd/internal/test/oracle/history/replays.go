package history

import (
	"slices"
	"time"
)

// replayRules judge what replays leave out.
type replayRules struct{ *judge }

// A Replay describes an instance that is a replay.
type Replay struct {
	Began   time.Time // when its range was fixed
	Reapply bool
}

// replaysLeaveOut: a replay sends no value of an event that was dead-lettered before it began.
// Unless it reapplies, it sends no value of an event that was done by then either.
func (j replayRules) replaysLeaveOut() {
	for i := range j.Calls {
		c := &j.Calls[i]
		r, ok := j.Replays[c.Instance]
		if !ok {
			continue
		}
		fields, _ := userOf(c.User)
		for field, value := range fields {
			if why := j.leftOut(slot{c.Member, field}, value, c, r); why != "" {
				j.fault("call %d of a replay sends %s %s = %s, %s before the replay began at %s",
					c.N, c.Member, field, value, why, clock(r.Began))
			}
		}
	}
}

// leftOut returns why no event allows a replay to send a value. Empty: one does.
func (j replayRules) leftOut(s slot, value string, c *Call, r Replay) (why string) {
	for _, e := range j.stating[s] {
		if e.states[s.field] != value || e.from.After(c.Arrived) {
			continue
		}
		began := r.Began.Truncate(time.Millisecond) // the precision of record timestamps
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

// hasCopy reports whether an event has another delivery, at another place in the log, that had no
// dead letter at that time.
func (j replayRules) hasCopy(e *event, by time.Time) bool {
	return e.number == 0 && slices.ContainsFunc(j.events[e.key()], func(other *event) bool {
		at := j.deadLettered[delivery{other.place(), 0}]
		return at.IsZero() || !at.Before(by)
	})
}

// committedBy reports whether the offset of an event's record was committed at that time.
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
