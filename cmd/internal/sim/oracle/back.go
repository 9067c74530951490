package oracle

import "time"

// nothingGoesBack follows each field through the effects of calls. A value is traced to the events that state it;
// where several do, the oldest that is not older than what was there before is given the benefit of the doubt.
//
// The one exception: an instance that dies between a call and its completion leaves no version behind, so after its
// death, and only then, an older value may come in. Such a call, and no other, does not count from then on; if the
// event that it was for comes to an end later, its own effect counts.
func (j *judge) nothingGoesBack() {
	for s, all := range j.effects {
		var before []standing
		for _, ef := range all {
			candidates := j.ordersOf(s, ef.value, ef.call.Arrived)
			if len(candidates) == 0 {
				continue // of a dead letter: it takes no part in the order
			}
			floor, by := j.floor(before, ef.call)
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

// ordersOf are the order values of the events that state this value, were there by then and were not dead-lettered,
// in rising order.
func (j *judge) ordersOf(s slot, value string, by time.Time) []string {
	var orders []string
	for _, e := range j.alive(s) {
		if e.states[s.field] == value && !e.rec.Time.After(by) {
			orders = append(orders, e.order)
		}
	}
	return orders
}

// floor is the newest that a call must not fall behind.
func (j *judge) floor(before []standing, now *Call) (string, standing) {
	floor, by := "", standing{}
	for _, b := range before {
		fades := j.World.LostCallsFade && b.call.Lost || j.diedIncomplete(b.call, now)
		if b.order > floor && !fades {
			floor, by = b.order, b
		}
	}
	return floor, by
}

// diedIncomplete reports whether the instance of a call died before the other call came, with this call, its last for
// the member, not completed.
func (j *judge) diedIncomplete(c, now *Call) bool {
	for _, crash := range j.Crashes {
		if crash.Instance == c.Instance && crash.Open[c.Member] && !crash.At.After(now.Arrived) {
			return j.isLastOf(c)
		}
	}
	return false
}

func (j *judge) isLastOf(c *Call) bool {
	for i := range j.Calls {
		o := &j.Calls[i]
		// Repetitions of the very same update are one call as far as its completion goes.
		if o.Instance == c.Instance && o.Member == c.Member && o.N > c.N && string(o.User) != string(c.User) {
			return false
		}
	}
	return true
}
