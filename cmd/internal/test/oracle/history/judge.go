package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check returns a text for each breach of the promises.
func Check(h History) []string {
	j := &judge{History: h}
	j.read()
	redriveRules{j}.readRedrives()
	deadLetterRules{j}.readDeadLetters()
	redriveRules{j}.redriveResults()
	redriveRules{j}.forgeries()
	deadLetterRules{j}.requireDeadLetters()
	j.readCalls()
	orderRules{j}.nothingGoesBack()
	j.noTwoCallsAtOnce()
	j.quietAfterLostCalls()
	j.withinTheLimit()
	endRules{j}.finalState()
	endRules{j}.settles()
	endRules{j}.commits()
	j.outcomes()
	j.pausesHold()
	redriveRules{j}.redrivesWait()
	stormRules{endRules{j}}.stormsHold()
	stormRules{endRules{j}}.noOtherStorms()
	j.fetchesAreReserved()
	replayRules{j}.replaysLeaveOut()
	slices.Sort(j.faults)
	return slices.Compact(j.faults)
}

type judge struct {
	History
	faults []string

	byPlace      map[place]*event
	events       map[string][]*event // deliveries of each event by key; without poison that has no key
	stating      map[slot][]*event   // one delivery of each event, in rising order
	dead         map[string]*failure // by event key
	redriven     map[delivery]*event
	results      map[redrive][]string
	deadLettered map[delivery]time.Time // when the first dead letter was written
	effects      map[slot][]effect      // in the order of effects
}

type place struct {
	generation int // of the topic
	partition  int
	offset     int64
}

// A slot is a field of a member.
type slot struct{ member, field string }

type failure struct {
	reason string
	at     time.Time // of the first dead letter
}

type effect struct {
	call  *Call
	value string
}

func (j *judge) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

func (p place) String() string { return fmt.Sprintf("%d:%d", p.partition, p.offset) }

func (e *event) String() string {
	redrive := ""
	if e.number > 0 {
		redrive = fmt.Sprintf(", redrive %d", e.number)
	}
	return fmt.Sprintf("event %s at %s (sequence %s%s)", e.id, e.place(),
		strings.TrimLeft(e.order[:orderWidth], "0"), redrive)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func (j *judge) read() {
	j.byPlace = make(map[place]*event)
	j.events = make(map[string][]*event)
	j.stating = make(map[slot][]*event)
	inOrder := slices.Clone(j.Source)
	slices.SortStableFunc(inOrder, func(a, b Record) int { return a.Time.Compare(b.Time) })
	for _, r := range inOrder {
		e := j.World.read(r)
		j.byPlace[e.place()] = e
		e.mayBeLost = r.Lost
		j.add(e)
	}
}

// add records an event that states a field.
func (j *judge) add(e *event) {
	if e.poison != "" || e.ignored {
		return
	}
	if j.events[e.key()] == nil {
		for field := range e.states {
			s := slot{e.member, field}
			j.stating[s] = append(j.stating[s], e)
			slices.SortStableFunc(j.stating[s], func(a, b *event) int { return strings.Compare(a.order, b.order) })
		}
	}
	j.events[e.key()] = append(j.events[e.key()], e)
}

// accepted returns the events that state a field and were not dead-lettered, in rising order.
func (j *judge) accepted(s slot) []*event {
	return slices.DeleteFunc(slices.Clone(j.stating[s]), func(e *event) bool { return j.dead[e.key()] != nil })
}

// readCalls checks that events state all values that were sent, and sorts the effects.
func (j *judge) readCalls() {
	j.effects = make(map[slot][]effect)
	for i := range j.Calls {
		c := &j.Calls[i]
		fields, ok := userOf(c.User)
		if !ok || len(fields) == 0 {
			j.fault("call %d is not an update", c.N)
		}
		for field, value := range fields {
			s := slot{c.Member, field}
			if !slices.ContainsFunc(j.stating[s], func(e *event) bool { return e.states[field] == value }) {
				j.fault("call %d sends %s %s = %s, which no event states", c.N, c.Member, field, value)
			}
			if !c.Effect.IsZero() {
				j.effects[s] = append(j.effects[s], effect{c, value})
			}
		}
	}
	for _, all := range j.effects {
		slices.SortFunc(all, func(a, b effect) int { return a.call.Turn - b.call.Turn })
	}
}

// withinTheLimit counts arrivals in every sliding window. A window in which Redis lost the sent
// calls may hold more.
func (j *judge) withinTheLimit() {
	for i := j.World.Limit; i < len(j.Calls); i++ {
		first, last := j.Calls[i-j.World.Limit].Arrived, j.Calls[i].Arrived
		if last.Sub(first) < j.World.Window && !j.emptiedWithin(first.Add(-j.World.Lease), last) {
			j.fault("%d calls within %v, until %s", j.World.Limit+1, last.Sub(first), clock(last))
		}
	}
}

// noTwoCallsAtOnce: a call is open from its arrival until it is acknowledged or its client is gone.
// A client that gave up or crashed must not block the next call. Its update may still take effect;
// quietAfterLostCalls and nothingGoesBack check that.
func (j *judge) noTwoCallsAtOnce() {
	open := make(map[string]*Call)
	for i := range j.Calls {
		c := &j.Calls[i]
		if last := open[c.Member]; last != nil && c.Arrived.Before(last.Left) && !j.parted(last, c) {
			j.fault("calls %d and %d for %s overlap: %s to %s, and %s", last.N, c.N, c.Member,
				clock(last.Arrived), clock(last.Left), clock(c.Arrived))
		}
		if last := open[c.Member]; last == nil || c.Left.After(last.Left) {
			open[c.Member] = c
		}
	}
}

// quietAfterLostCalls: until the lease of an unacknowledged call has expired, only the same update
// may arrive.
func (j *judge) quietAfterLostCalls() {
	lost := make(map[string][]*Call)
	for i := range j.Calls {
		c := &j.Calls[i]
		for _, l := range lost[c.Member] {
			if c.Arrived.Sub(l.Arrived) < j.World.Quiet && string(c.User) != string(l.User) && !j.parted(l, c) {
				j.fault("call %d for %s at %s sends another update than call %d, which went unacknowledged at %s",
					c.N, c.Member, clock(c.Arrived), l.N, clock(l.Left))
			}
		}
		if c.Lost {
			lost[c.Member] = append(lost[c.Member], c)
		}
	}
}

// outcomes: an event that an instance receives ends there at most once, and each record's event
// ends somewhere.
func (j *judge) outcomes() {
	ended := make(map[place]bool)
	for _, d := range j.Deliveries {
		p := place{0, d.Partition, d.Offset} // whatever its generation
		if d.Ended > d.Arrived {
			j.fault("instance %d ended the event at %s %d times, but received it %d times", d.Instance, p, d.Ended, d.Arrived)
		}
		ended[p] = ended[p] || d.Ended > 0
	}
	for p, e := range j.byPlace {
		if p.generation = 0; !ended[p] && !e.mayBeLost && !(endRules{j}).waitsForLost(e) {
			j.fault("%s has no outcome", e)
		}
	}
}
