package history

import "time"

// A Storm is a time in which the events of most members are rejected, though nothing is wrong with
// them.
type Storm struct {
	From, To  time.Time
	Reason    string // of their dead letters
	Members   map[string]bool
	Released  []time.Time // when the operator has let held events be dead-lettered
	Instances int         // that started before the storm was known to those that start
	// Promptly is within how long the events of other members are applied; zero: other faults strike,
	// so it cannot be said.
	Promptly time.Duration
}

const (
	// fewEnough is how many events an instance dead-letters at most before it detects a storm: more
	// than half of the latest 200.
	fewEnough = 101
	// stormEcho is how long after a storm a rejection that it has caused can become a dead letter.
	stormEcho = time.Minute
)

// isOfStorm reports whether a dead letter is that of a storm.
func (j *judge) isOfStorm(e *event, reason string, at time.Time) bool {
	for _, s := range j.World.Storms {
		if s.Members[e.member] && reason == s.Reason && at.After(s.From) && at.Before(s.To.Add(stormEcho)) {
			return true
		}
	}
	return false
}

// stormsHold: in a storm only so many events are dead-lettered as it takes to detect it, unless the
// operator releases those held, and the events of other members are applied as ever.
func (j *judge) stormsHold() {
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
func (j *judge) noOtherStorms() {
	if len(j.World.Storms) == 0 && len(j.Storming) > 0 {
		j.fault("events are held, %s at first, though most are not rejected", clock(j.Storming[0]))
	}
}

// applied: an event that the storm does not strike is applied promptly.
func (j *judge) applied(e *event, s Storm) {
	if s.Members[e.member] || e.refusal != "" || j.dead[e.key()] != nil {
		return
	}
	for field, value := range e.states {
		if !j.settled(e, field, value, e.from.Add(s.Promptly)) {
			j.fault("%s is not applied %v after it came, in a storm that does not strike it", e, s.Promptly)
			return
		}
	}
}
