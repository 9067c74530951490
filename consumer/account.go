package consumer

import (
	"time"

	"membersync/consumer/source"
	"membersync/consumer/watermark"
)

// A partition is one partition of the topic while this process owns it. The
// engine's lock guards its account.
type partition struct {
	topic string
	id    int
	gen   *generation

	mark      *watermark.Watermark
	revoked   bool // taken away: what is not running is dropped
	closed    bool // the last commit is out: the account is over
	epoch     int  // raised when the account begins anew, because offsets are used again
	committed int64
	end       int64 // the log's end as of the latest fetch
	target    int64 // the log's end at the assignment; -1 until it is known
}

// A generation is this process's share of the topic between two rebalances.
type generation struct {
	member     source.Member
	partitions []*partition
	buffer     *buffer
	commitNow  chan struct{} // the group had nothing stored: commit where we begin
	revoked    bool
	pending    int           // events in lanes
	drained    chan struct{} // closed when it is revoked and no event is pending
}

// finish takes an event off the account for good. The engine's lock is held.
func (ev *event) finish() {
	ev.rec.open--
	if ev.rec.open == 0 {
		ev.rec.close()
	}
	ev.rec.part.gen.eventGone()
}

// drop takes an event off the account that somebody else will process. Its record
// never counts as finished here.
func (ev *event) drop() {
	ev.rec.dropped = true
	ev.finish()
}

// close is the one place where an offset becomes committable: every event of the
// record has its outcome, and none was dropped.
func (r *record) close() {
	if !r.dropped && !r.part.closed && r.epoch == r.part.epoch {
		r.part.mark.Done(r.src.Offset)
	}
	r.giveWay()
}

// giveWay gives the record's place in the buffer to another.
func (r *record) giveWay() {
	if !r.extra {
		r.extra = true
		r.part.gen.buffer.release(r.size)
	}
}

func (g *generation) eventGone() {
	g.pending--
	g.checkDrained()
}

func (g *generation) checkDrained() {
	if g.pending > 0 || !g.revoked {
		return
	}
	select {
	case <-g.drained:
	default:
		close(g.drained)
	}
}

// positions are the offsets of a topic that have moved since the last commit.
func (g *generation) positions(topic string) []source.Position {
	var ps []source.Position
	for _, p := range g.partitions {
		if p.mark == nil || p.closed || p.topic != topic {
			continue
		}
		if offset := p.mark.Committable(); offset != p.committed {
			stamp, _ := p.mark.Stamp()
			ps = append(ps, source.Position{Partition: p.id, Offset: offset, Stamp: stamp})
		}
	}
	return ps
}

func (g *generation) committed(topic string, ps []source.Position) {
	for _, pos := range ps {
		for _, p := range g.partitions {
			if p.id == pos.Partition && p.topic == topic {
				p.committed = pos.Offset
			}
		}
	}
}

// lag of the partition: records from the committable offset to the log's end, and the
// age of the oldest record in flight.
func (p *partition) lag(now time.Time) (records int64, age time.Duration) {
	if p.mark == nil {
		return 0, 0
	}
	if oldest, ok := p.mark.Oldest(); ok {
		age = max(now.Sub(oldest), 0)
	}
	return max(p.end-p.mark.Committable(), 0), age
}

func (g *generation) commitSoon() {
	select {
	case g.commitNow <- struct{}{}:
	default:
	}
}
