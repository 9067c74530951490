package history

import "time"

// A Pause is a period for which the operator stopped all calls.
type Pause struct{ From, To time.Time }

// stopsWithin is how long after the operator's request a call may still arrive. An instance reads
// the control state every 2 s, waits at most 4 s for Redis, and has up to 5 s for the call.
const stopsWithin = 11 * time.Second

// pausesHold: no call arrives during a pause. A loss of Redis loses the pause too.
func (j *judge) pausesHold() {
	for _, p := range j.Pauses {
		for i := range j.Calls {
			c := &j.Calls[i]
			late := c.Arrived.After(p.From.Add(stopsWithin)) && c.Arrived.Before(p.To)
			if late && !j.emptiedWithin(p.From, c.Arrived) {
				j.fault("call %d arrives at %s, while calls are paused from %s to %s", c.N, clock(c.Arrived), clock(p.From), clock(p.To))
			}
		}
	}
}
