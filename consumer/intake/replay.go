package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// A Range is a part of a partition to run again: from the first offset up to, not including, the
// end.
type Range struct {
	Topic      string // the source topic or the redrive topic
	Partition  int
	First, End int64
}

// A ReplayProgress is how far a replay is, in offsets.
type ReplayProgress struct {
	Done, Total int64
}

// errReplayed is the cause that ends a replay's own context.
var errReplayed = errors.New("intake: the replay is over")

// Replay reads ranges of the topics, as a process of its own: it joins no group, and keeps its
// offsets under Config.Group, from which it continues if they are there. It returns nil at the end
// of all ranges, and the context's cause if that ends first, after a drain and a last commit. It
// waits for an unavailable Kafka. Progress is reported about every second.
func (in *Intake) Replay(ctx context.Context, ranges []Range, progress func(ReplayProgress)) error {
	g, err := in.openRanges(ctx, ranges)
	if err != nil {
		return err
	}
	in.status.assigned(g)
	readCtx, stopReading := context.WithCancelCause(ctx)
	defer stopReading(errReplayed)
	var readers sync.WaitGroup
	for _, p := range g.partitions {
		readers.Go(func() { (&reader{Intake: in, part: p}).replay(readCtx) })
	}
	err = in.replayUntil(ctx, g, progress)
	stopReading(errReplayed)
	readers.Wait()
	in.release(context.WithoutCancel(ctx), g)
	return err
}

// openRanges opens the accounts of all ranges, where an earlier run of this replay has stopped.
func (in *Intake) openRanges(ctx context.Context, ranges []Range) (*generation, error) {
	g := in.newGeneration(source.Member{Group: in.cfg.Group, Generation: -1})
	for _, r := range ranges {
		stored, err := in.offsets.Committed(ctx, in.cfg.Group, r.Topic, []int{r.Partition})
		if errors.Is(err, kafka.GroupIdNotFound) { // it has stored nothing yet
			stored, err = map[int]source.Committed{r.Partition: {Offset: -1, Stamp: watermark.Stamp{Offset: -1}}}, nil
		}
		if err != nil {
			return nil, err
		}
		first := max(r.First, min(stored[r.Partition].Offset, r.End))
		p := &partition{topic: r.Topic, id: r.Partition, gen: g, target: -1, replayed: r}
		(&reader{Intake: in, part: p}).open(first, r.End, source.Committed{Offset: -1, Stamp: stored[r.Partition].Stamp})
		g.partitions = append(g.partitions, p)
	}
	return g, nil
}

// replayUntil commits and reports the progress until all is done or the context ends.
func (in *Intake) replayUntil(ctx context.Context, g *generation, progress func(ReplayProgress)) error {
	ticker := time.NewTicker(commitEvery / 5)
	defer ticker.Stop()
	for n := 1; ; n++ {
		at := in.accounts.replayed(g)
		if at.Done >= at.Total {
			progress(at)
			return nil
		}
		if n%5 == 0 {
			in.commits.commit(ctx, g, false)
			progress(at)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (a *accounts) replayed(g *generation) (at ReplayProgress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range g.partitions {
		at.Total += p.replayed.End - p.replayed.First
		at.Done += min(p.mark.Committable(), p.replayed.End) - p.replayed.First
	}
	return at
}

func (a *accounts) committable(p *partition) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return p.mark.Committable()
}

// replay hands the records of a range to the handler.
func (r *reader) replay(ctx context.Context) {
	r.readUntil(ctx, r.accounts.committable(r.part), r.part.replayed.End)
}
