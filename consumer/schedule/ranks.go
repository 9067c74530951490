package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
)

// redrivesTurn: in every 20th turn redrives are asked for first, so that live traffic beyond what is
// called at once does not starve them in this process. It is the share that the limit keeps for them
// over all processes.
const redrivesTurn = 20

// ranks decide at which ranks a permit is drawn, and in which order.
type ranks struct {
	turn    int                       // batches of members taken so far
	refused [event.NumRanks]time.Time // no permit is asked for at this rank before
}

func (r *ranks) refuse(rank event.Rank, until time.Time) time.Time {
	r.refused[rank] = until
	return until
}

// ordered returns all ranks in the order of this turn.
func (r *ranks) ordered() []event.Rank {
	all := []event.Rank{event.RankLive, event.RankRedrive}
	if r.turn%redrivesTurn == redrivesTurn-1 {
		slices.Reverse(all)
	}
	return all
}

// RankOf returns the rank of the most urgent of the events.
func RankOf(events []*event.Event) event.Rank {
	if slices.ContainsFunc(events, func(ev *event.Event) bool { return !ev.IsRedrive() }) {
		return event.RankLive
	}
	return event.RankRedrive
}

// hasRank picks the lanes of a rank, which is that of everything that waits in them.
func hasRank(rank event.Rank) func(*lane) bool {
	return func(l *lane) bool { return RankOf(l.Waiting()) == rank }
}

// ranksLocked returns the ranks to ask for a permit now, in this order; wait is when there may be more.
// Both are asked for where lanes of both are ready: the limit keeps a share for a rank only while it is
// asked for.
func (s *Schedule) ranksLocked(now time.Time, hasPermit bool) (ranks []event.Rank, wait time.Time) {
	if wait := s.pacer.until(now); !hasPermit && !wait.IsZero() {
		return nil, wait
	}
	for _, rank := range s.ranks.ordered() {
		switch {
		case !s.hasReadyLocked(now, rank):
		case s.ranks.refused[rank].After(now):
			wait = earliest(wait, s.ranks.refused[rank])
		default:
			ranks = append(ranks, rank)
		}
	}
	return ranks, wait
}

// hasReadyLocked reports whether a lane of the rank is ready. One of some rank always is when this is
// asked, and mostly there are no redrives. A storm chooses by itself, at the rank of live traffic.
func (s *Schedule) hasReadyLocked(now time.Time, rank event.Rank) bool {
	if s.queues.redrives == 0 || s.guard.IsOn() {
		return rank == event.RankLive
	}
	return s.queues.members.Any(now, hasRank(rank))
}
