package schedule

import (
	"time"

	"membersync/consumer/event"
)

const (
	// fullestOf is how many lanes are compared for the one that saves the most calls, where a limit
	// makes calls scarce: the lanes of a backlog that are taken in turn hold less than the fullest.
	fullestOf = 16
	// inTurn: of so many batches, one is of the lane that has been ready the longest, so that a lane
	// with few events, or one that has failed, waits for so many times as many batches as in turn at
	// most.
	inTurn = 8
)

// A dispatcher takes the batch that runs next out of its lane. It has no lock of its own.
type dispatcher struct {
	hasLimiter bool
	queues     *queues
	slots      *slots
	pauses     *pauses
	holder     *holder
	gathering  gathering
	ranks      ranks
	// controlKnown: the control state has been read once; before that, no call is made. stormKnown: it
	// is known whether the group is in a storm; before that, nothing is called or dead-lettered.
	controlKnown, stormKnown bool
}

// next returns what may start now; see [Schedule.Next].
func (d *dispatcher) next(now time.Time) Next {
	// First: lanes whose time has come are ready from now on, and need no further wake-up.
	until := d.holder.retry(now)
	rejected, members := d.queues.rejected.Ready(now), d.queues.members.Ready(now)
	until = earliest(until, earliest(wakeOf(d.queues.rejected), wakeOf(d.queues.members)))
	if !d.stormKnown {
		return Next{Until: until}
	}
	if rejected && d.slots.canWrite() {
		return Next{Batch: d.takeRejected(now), Until: until}
	}
	if !members || !d.slots.canCall() || !d.controlKnown {
		return Next{Until: until}
	}
	if wait := d.gathering.waitsUntil(now); !wait.IsZero() {
		return Next{Until: earliest(until, wait)}
	}
	if a := d.pauses.gate.Peek(now); !a.Open {
		return Next{Until: earliest(until, a.Until)}
	}
	if d.hasLimiter {
		ranks, wait := d.permitRanks(now)
		return Next{Ranks: ranks, Until: earliest(until, wait)}
	}
	return Next{Batch: d.takeMember(now, anyLane), Until: until}
}

// takeMember takes a lane for a call, if no pause forbids it: one that pick chooses, if there is
// any.
func (d *dispatcher) takeMember(now time.Time, pick func(*lane) bool) *event.Batch {
	if !d.queues.members.Ready(now) {
		return nil
	}
	a := d.pauses.gate.Ask(now)
	if !a.Open {
		return nil
	}
	b := d.takeReady(now, a.Probe, pick)
	if b.IsProbe = a.Probe; b.IsProbe {
		d.pauses.probes++
	}
	return b
}

// takeReady takes a lane, usually one that has not failed. Lanes whose backoff is over, many at
// once, would otherwise go first each time: the probes of a CRM that fails for some of its members
// would all meet those, and so would most of the calls after a pause.
func (d *dispatcher) takeReady(now time.Time, isProbe bool, pick func(*lane) bool) *event.Batch {
	d.ranks.turn++
	if isProbe || d.ranks.turn%inTurn != 0 {
		sample := 0
		if d.hasLimiter && !isProbe {
			sample = fullestOf
		}
		unfailed := func(l *lane) bool { return (l.State == nil || l.State.Backoff == nil) && pick(l) }
		if l, events := d.queues.members.TakeFullest(now, unfailed, sample, choose); l != nil {
			return d.slots.start(l, events)
		}
	}
	if l, events := d.queues.members.TakeIf(now, pick, choose); l != nil {
		return d.slots.start(l, events)
	}
	l, events := d.queues.members.Take(now, choose)
	return d.slots.start(l, events)
}

func anyLane(*lane) bool { return true }

// takeRejected takes a record or an event without a member. It needs no call, so no pause holds it.
func (d *dispatcher) takeRejected(now time.Time) *event.Batch {
	l, events := d.queues.rejected.Take(now, choose)
	return d.slots.start(l, events)
}

// permitRanks returns the ranks to ask for a permit now, in this order; wait is when there may be
// more. Both are asked for where lanes of both are ready: the limit keeps a share for a rank only
// while it is asked for.
func (d *dispatcher) permitRanks(now time.Time) (ranks []event.Rank, wait time.Time) {
	for _, rank := range d.ranks.ordered() {
		switch {
		case !d.hasReady(now, rank):
		case d.ranks.refused[rank].After(now):
			wait = earliest(wait, d.ranks.refused[rank])
		default:
			ranks = append(ranks, rank)
		}
	}
	return ranks, wait
}

// hasReady reports whether a lane of the rank is ready. One of some rank always is when this is
// asked, and mostly there are no redrives.
func (d *dispatcher) hasReady(now time.Time, rank event.Rank) bool {
	if d.queues.redrives == 0 {
		return rank == event.RankLive
	}
	return d.queues.members.Any(now, hasRank(rank))
}

// canStart reports whether a batch could start now, permits and slots aside.
func (d *dispatcher) canStart(now time.Time) bool {
	return d.stormKnown && (d.queues.rejected.Ready(now) || d.controlKnown && d.canCall(now))
}

// canCall reports whether a lane is ready for a call that no pause forbids.
func (d *dispatcher) canCall(now time.Time) bool {
	return d.queues.members.Ready(now) && d.pauses.gate.Peek(now).Open
}
