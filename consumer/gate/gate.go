// Package gate decides whether calls may go out now. Each cause of a pause
// closes it; while it is closed, one probe at a time interval goes through, each with
// whatever lane is next, and the first probe that succeeds opens it again.
//
// It does no I/O and takes the time as an argument.
package gate

import "time"

// A Cause is why calling is paused. Its name is the metric label.
type Cause uint8

// The causes.
const (
	Outage    Cause = iota // most members' calls fail
	Throttled              // the CRM says: too many calls
	Quota                  // the CRM's daily quota is used up
	Operator               // the CRM refuses us: somebody has to act
	Redis                  // Redis does not answer
	Storm                  // most events would be dead-lettered
	Pause                  // the operator says so
	NumCauses = int(iota)
)

// String returns the cause as the metrics, logs and readiness name it.
func (c Cause) String() string {
	switch c {
	case Outage:
		return "crm_outage"
	case Throttled:
		return "crm_throttled"
	case Quota:
		return "crm_quota"
	case Operator:
		return "crm_refused"
	case Redis:
		return "redis"
	case Storm:
		return "storm"
	case Pause:
		return "operator"
	}
	return "unknown"
}

// ofCRM reports whether a call that succeeds disproves the cause.
func (c Cause) ofCRM() bool { return c != Redis && c != Storm && c != Pause }

// never is how long a pause that is not probed waits for its probe.
const never = 365 * 24 * time.Hour

// pace returns the first and the longest wait between probes.
func (c Cause) pace() (first, longest time.Duration) {
	switch c {
	case Outage:
		return time.Second, 4 * time.Second
	case Throttled:
		return time.Second, 30 * time.Second
	case Quota: // after a probe that said nothing of the quota: an answer that does sets the time itself
		return 5 * time.Second, time.Minute
	case Operator:
		return 5 * time.Second, time.Minute
	case Redis:
		return 100 * time.Millisecond, 2 * time.Second
	case Storm:
		return 30 * time.Second, 30 * time.Second
	case Pause:
		return never, never
	}
	return time.Second, time.Minute
}

// A Gate is not safe for concurrent use. The zero value is open.
type Gate struct {
	pauses [NumCauses]pause
}

type pause struct {
	on    bool
	probe time.Time // not before
	delay time.Duration
}

// An Answer of [Gate.Ask]: go on, go on as a probe, or wait.
type Answer struct {
	Open  bool      // a lane may be taken
	Probe bool      // and its run is a probe
	Until time.Time // if not open: when to ask again
}

// Ask says whether one more lane may be taken now. An answer with Probe set has
// spent the probe: the next one comes after the cause's wait.
func (g *Gate) Ask(now time.Time) Answer {
	until, paused := time.Time{}, false
	for i := range g.pauses {
		if p := &g.pauses[i]; p.on {
			paused = true
			if p.probe.After(until) {
				until = p.probe
			}
		}
	}
	switch {
	case !paused:
		return Answer{Open: true}
	case until.After(now):
		return Answer{Until: until}
	}
	for i := range g.pauses {
		g.pauses[i].spend(now, Cause(i))
	}
	return Answer{Open: true, Probe: true}
}

func (p *pause) spend(now time.Time, c Cause) {
	if !p.on {
		return
	}
	first, longest := c.pace()
	p.delay = max(first, min(2*p.delay, longest))
	p.probe = now.Add(p.delay)
}

// Close pauses calling for the cause until at least now + floor, and reports whether
// that is new. The first probe after an operator's error comes at once: it tells
// one member's trouble from everybody's.
func (g *Gate) Close(now time.Time, c Cause, floor time.Duration) bool {
	p := &g.pauses[c]
	fresh := !p.on
	if fresh {
		*p = pause{on: true, probe: now}
		if c != Operator {
			p.spend(now, c)
		}
	}
	switch at := now.Add(floor); {
	case c == Quota && floor > 0: // the caller knows when it ends, sooner or later than any pace
		p.probe = at
	case c == Redis && !fresh && !p.probe.After(now): // found out without a probe
		p.spend(now, c)
	case at.After(p.probe):
		p.probe = at
	}
	return fresh
}

// Unspent takes back a probe that proved nothing of the CRM, because its lane came to no call.
func (g *Gate) Unspent(now time.Time) {
	for i := range g.pauses {
		if p := &g.pauses[i]; p.on && Cause(i).ofCRM() && p.probe.After(now) && p.probe.Sub(now) <= p.delay {
			p.probe = now
		}
	}
}

// Again lets the next probe for the cause go at once, at the first pace: the last one
// showed nothing new.
func (g *Gate) Again(now time.Time, c Cause) {
	if p := &g.pauses[c]; p.on {
		p.probe, p.delay = now, 0
	}
}

// Succeeded opens the gate for every cause that a successful call of a probe
// disproves, and returns those that it ended.
func (g *Gate) Succeeded() []Cause {
	var ended []Cause
	for i := range g.pauses {
		if c := Cause(i); g.pauses[i].on && c.ofCRM() {
			g.pauses[i] = pause{}
			ended = append(ended, c)
		}
	}
	return ended
}

// Open ends the pause for one cause and reports whether there was one.
func (g *Gate) Open(c Cause) bool {
	was := g.pauses[c].on
	g.pauses[c] = pause{}
	return was
}

// Paused reports whether the cause closes the gate.
func (g *Gate) Paused(c Cause) bool { return g.pauses[c].on }

// Causes returns all causes that close the gate.
func (g *Gate) Causes() []Cause {
	var causes []Cause
	for i := range g.pauses {
		if g.pauses[i].on {
			causes = append(causes, Cause(i))
		}
	}
	return causes
}

// Peek is [Gate.Ask] without spending a probe.
func (g *Gate) Peek(now time.Time) Answer {
	peeked := *g
	return peeked.Ask(now)
}
