package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
)

// redrivesTurn: in every 20th turn redrives are asked for first, so that live traffic beyond what
// is called at once does not starve them in this process. It is the share that the limit keeps for
// them over all processes.
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
