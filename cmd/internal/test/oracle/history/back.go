package history

import (
	"slices"
	"time"
)

// orderRules judge that no field goes back.
type orderRules struct{ *judge }

// nothingGoesBack follows each field through the effects of the calls. A value is traced to the
// events that state it. Where several do, it counts as the oldest one that is not older than the
// previous value.
func (j orderRules) nothingGoesBack() {
	for s, all := range j.effects {
		var before []orderedEffect
		for _, ef := range all {
			candidates := j.ordersOf(s, ef.value, ef.call.Arrived, j.mayBeApplied)
			if len(candidates) == 0 {
				continue // a dead letter's effect takes no part in the order
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
			before = append(before, orderedEffect{ef, order})
		}
	}
}

// binding returns the earlier effects that a call must not be older than.
func (j orderRules) binding(before []orderedEffect, now effect) []orderedEffect {
	return slices.DeleteFunc(slices.Clone(before), func(b orderedEffect) bool { return j.parted(b.call, now.call) })
}

func (j orderRules) wentBack(s slot, now effect, by orderedEffect) {
	how := ""
	if by.call.Lost {
		how = ", which had gone unacknowledged,"
	}
	j.fault("%s %s went back: call %d at %s set %s, after call %d%s had set %s at %s", s.member, s.field,
		now.call.N, clock(now.call.Effect), now.value, by.call.N, how, by.value, clock(by.call.Effect))
}

// An orderedEffect is an effect and the order value of its event.
type orderedEffect struct {
	effect
	order string
}

// ordersOf returns, in rising order, the order values of the counted events that state this value
// and existed at that time.
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
// storm may have missed. A broken mapping does not know the member, so its dead letter leaves no
// done mark.
func (j orderRules) mayBeApplied(e *event) bool {
	d := j.dead[e.key()]
	return d == nil || len(j.events[e.key()]) > 1 && j.isOfStorm(e, d.reason, d.at)
}

// floorOf returns the newest effect that a call must not be older than.
func floorOf(before []orderedEffect) (string, orderedEffect) {
	floor, by := "", orderedEffect{}
	for _, b := range before {
		if b.order > floor {
			floor, by = b.order, b
		}
	}
	return floor, by
}
