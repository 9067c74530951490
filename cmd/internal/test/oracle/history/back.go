package history

import (
	"slices"
	"time"
)

// nothingGoesBack follows each field through the effects of calls. A value is traced to the events that state it;
// where several do, the oldest that is not older than what was there before is given the benefit of the doubt.
func (j *judge) nothingGoesBack() {
	for s, all := range j.effects {
		var before []standing
		for _, ef := range all {
			candidates := j.ordersOf(s, ef.value, ef.call.Arrived, j.mayBeApplied)
			if len(candidates) == 0 {
				continue // of a dead letter: it takes no part in the order
			}
			floor, by := floorOf(j.binding(before, ef))
			order := ""
			for _, o := range candidates {
				if o >= floor {
					order = o
					break
				}
			}
			if order == "" {
				j.wentBack(s, ef, by)
				continue
			}
			before = append(before, standing{ef, order})
		}
	}
}

// binding are the standings that a call must not fall behind.
func (j *judge) binding(before []standing, now effect) []standing {
	return slices.DeleteFunc(slices.Clone(before), func(b standing) bool { return j.parted(b.call, now.call) })
}

func (j *judge) wentBack(s slot, now effect, by standing) {
	how := ""
	if by.call.Lost {
		how = ", which had gone unanswered,"
	}
	j.fault("%s %s went back: call %d at %s set %s, after call %d%s had set %s at %s", s.member, s.field,
		now.call.N, clock(now.call.Effect), now.value, by.call.N, how, by.value, clock(by.call.Effect))
}

// A standing is an effect, and the order value of the event that it is taken for.
type standing struct {
	effect
	order string
}

// ordersOf are the order values of the events that count, state this value and were there by then,
// in rising order.
func (j *judge) ordersOf(s slot, value string, by time.Time, counts func(*event) bool) []string {
	var orders []string
	for _, e := range j.stating[s] {
		if e.states[s.field] == value && !e.from.After(by) && counts(e) {
			orders = append(orders, e.order)
		}
	}
	return orders
}

// mayBeApplied reports whether an event was not dead-lettered, or has a second delivery that a
// storm need not have struck. A broken mapping does not say whose the event is, so its dead letter
// leaves no mark.
func (j *judge) mayBeApplied(e *event) bool {
	d := j.dead[e.key()]
	return d == nil || len(j.events[e.key()]) > 1 && j.isOfStorm(e, d.reason, d.at)
}

// floorOf is the newest that a call must not fall behind.
func floorOf(before []standing) (string, standing) {
	floor, by := "", standing{}
	for _, b := range before {
		if b.order > floor {
			floor, by = b.order, b
		}
	}
	return floor, by
}
