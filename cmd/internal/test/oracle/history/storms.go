package history

import "time"

// stormRules judge what the storm guard holds.
type stormRules struct{ endRules }

// A Storm is a period in which the events of most members are rejected, though the events are good.
type Storm struct {
	From, To  time.Time
	Reason    string // the reason of their dead letters
	Members   map[string]bool
	Released  []time.Time // when the operator released held events to the dead-letter topic
	Instances int         // that started before the heartbeats reported the storm
	// Promptly is the time within which the events of other members are applied. Zero: other faults
	// are active, so unbounded.
	Promptly time.Duration
}

const (
	// fewEnough is how many events an instance dead-letters at most before it detects a storm: more
	// than half of the last 200.
	fewEnough = 101
	// stormEcho is how long after a storm one of its rejections can become a dead letter.
	stormEcho = time.Minute
)

// isOfStorm reports whether a storm caused a dead letter.
func (j *judge) isOfStorm(e *event, reason string, at time.Time) bool {
	for _, s := range j.World.Storms {
		if s.Members[e.member] && reason == s.Reason && at.After(s.From) && at.Before(s.To.Add(stormEcho)) {
			return true
		}
	}
	return false
}

// stormsHold: during a storm only as many events are dead-lettered as it takes to detect it, unless
// the operator releases held ones. The events of other members are applied as usual.
func (j stormRules) stormsHold() {
	for _, s := range j.World.Storms {
		n := 0
		for _, all := range j.events {
			e := all[0]
			if d := j.dead[e.key()]; d != nil && e.number == 0 && e.refusal == "" && s.Members[e.member] && d.reason == s.Reason {
				n++
			}
			if s.Promptly > 0 {
				j.applied(e, s)
			}
		}
		if most := fewEnough * s.Instances; n > most && len(s.Released) == 0 {
			j.fault("%d events are dead-lettered in a storm, want at most %d", n, most)
		}
	}
}

// noOtherStorms: nothing is held unless most events are rejected.
func (j stormRules) noOtherStorms() {
	if len(j.World.Storms) == 0 && len(j.Storming) > 0 {
		j.fault("events are held, %s at first, though most are not rejected", clock(j.Storming[0]))
	}
}

// applied: an event that the storm does not affect is applied promptly.
func (j stormRules) applied(e *event, s Storm) {
	if s.Members[e.member] || e.refusal != "" || j.dead[e.key()] != nil {
		return
	}
	for field, value := range e.states {
		if !j.settled(e, field, value, e.from.Add(s.Promptly)) {
			j.fault("%s is not applied within %v, in a storm that does not affect it", e, s.Promptly)
			return
		}
	}
}
