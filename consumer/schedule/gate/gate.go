// Package gate decides whether calls may be made now. Each cause of a pause closes the gate. While
// it is closed, one probe goes through per interval, with whatever lane is next; the first probe
// that succeeds opens it again.
//
// It does no I/O and takes the time as an argument.
package gate

import (
	"time"

	"membersync/consumer/event"
)

// isDisproved reports whether a successful call disproves the cause.
func isDisproved(c event.Cause) bool {
	return c != event.CauseRedis && c != event.CauseOperator && c != event.CauseStateKey
}

// never is how long a pause without probes waits for its probe.
const never = 365 * 24 * time.Hour

// pace returns the first and the longest wait between probes.
func pace(c event.Cause) (first, longest time.Duration) {
	switch c {
	case event.CauseOutage:
		return time.Second, 4 * time.Second
	case event.CauseThrottled:
		return time.Second, 30 * time.Second
	case event.CauseQuota: // after a probe that says nothing of the quota; a quota response sets the time itself
		return 5 * time.Second, time.Minute
	case event.CauseRefused:
		return 5 * time.Second, time.Minute
	case event.CauseRedis:
		return 100 * time.Millisecond, 2 * time.Second
	case event.CauseOperator, event.CauseStateKey:
		return never, never
	case event.CauseStorm: // it stops reading, not calls
	}
	return time.Second, time.Minute
}

// A Gate is not safe for concurrent use. The zero value is open.
type Gate struct {
	pauses [event.NumCauses]pause
}

type pause struct {
	on    bool
	probe time.Time // no probe before
	delay time.Duration
}

// An Answer of [Gate.Ask]: go on, go on as a probe, or wait.
type Answer struct {
	Open  bool      // a lane may be taken
	Probe bool      // and its batch is a probe
	Until time.Time // if not open: when to ask again
}

// Ask reports whether one more lane may be taken now. An answer with Probe set has used up the
// probe: the next one follows after the cause's wait.
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
		g.pauses[i].spend(now, event.Cause(i))
	}
	return Answer{Open: true, Probe: true}
}

func (p *pause) spend(now time.Time, c event.Cause) {
	if !p.on {
		return
	}
	first, longest := pace(c)
	p.delay = max(first, min(2*p.delay, longest))
	p.probe = now.Add(p.delay)
}

// Close pauses calls for the cause until at least now + floor, and reports whether the pause is
// new. The first probe after a refusal goes at once: it distinguishes one member's trouble from
// everybody's.
func (g *Gate) Close(now time.Time, c event.Cause, floor time.Duration) bool {
	p := &g.pauses[c]
	fresh := !p.on
	if fresh {
		*p = pause{on: true, probe: now}
		if c != event.CauseRefused {
			p.spend(now, c)
		}
	}
	switch at := now.Add(floor); {
	case c == event.CauseQuota && floor > 0: // the caller knows when it ends, sooner or later than any pace
		p.probe = at
	case c == event.CauseRedis && !fresh && !p.probe.After(now): // noticed without a probe
		p.spend(now, c)
	case at.After(p.probe):
		p.probe = at
	}
	return fresh
}

// Unspent takes back a probe that proved nothing about the CRM, because its batch made no call.
func (g *Gate) Unspent(now time.Time) {
	for i := range g.pauses {
		p := &g.pauses[i]
		if p.on && isDisproved(event.Cause(i)) && p.probe.After(now) && p.probe.Sub(now) <= p.delay {
			p.probe = now
		}
	}
}

// Again lets the next probe for the cause go at once, at the first pace: the last one showed
// nothing new.
func (g *Gate) Again(now time.Time, c event.Cause) {
	if p := &g.pauses[c]; p.on {
		p.probe, p.delay = now, 0
	}
}

// Succeeded opens the gate for every cause that the successful call of a probe disproves, and
// returns those that it ended.
func (g *Gate) Succeeded() []event.Cause {
	var ended []event.Cause
	for _, c := range g.Causes() {
		if isDisproved(c) {
			g.pauses[c] = pause{}
			ended = append(ended, c)
		}
	}
	return ended
}

// Open ends the pause for one cause and reports whether there was one.
func (g *Gate) Open(c event.Cause) bool {
	was := g.pauses[c].on
	g.pauses[c] = pause{}
	return was
}

// Paused reports whether the cause closes the gate.
func (g *Gate) Paused(c event.Cause) bool { return g.pauses[c].on }

// Causes returns all causes that close the gate.
func (g *Gate) Causes() []event.Cause {
	var causes []event.Cause
	for i := range g.pauses {
		if g.pauses[i].on {
			causes = append(causes, event.Cause(i))
		}
	}
	return causes
}

// NextProbe returns when a probe may go through next; the zero time if the gate is open, or a pause
// has no probes.
func (g *Gate) NextProbe(now time.Time) time.Time {
	if len(g.Causes()) == 0 || g.Paused(event.CauseOperator) || g.Paused(event.CauseStateKey) {
		return time.Time{}
	}
	if until := g.Peek(now).Until; !until.IsZero() {
		return until
	}
	return now
}

// Peek is [Gate.Ask] without using up a probe.
func (g *Gate) Peek(now time.Time) Answer {
	peeked := *g
	return peeked.Ask(now)
}
