package intake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/consumer/wait"
)

// A generation is this process's share of the topics between two rebalances; a replay has one of
// its own.
type generation struct {
	member     source.Member
	accounts   *accounts
	partitions []*partition
	buffers    buffers
	commitNow  chan struct{} // the group had no offset: commit where we begin
	drained    chan struct{} // closed when it is revoked and no ticket is open
	revoked    atomic.Bool   // what has not begun is dropped
	closed     atomic.Bool   // the last commit has been sent

	// Guarded by the accounts' lock.
	pending  int  // open tickets
	complete bool // everything that the logs held at the assignment has been read
}

func (in *Intake) newGeneration(member source.Member) *generation {
	return &generation{
		member: member, accounts: in.accounts, buffers: in.buffers, drained: make(chan struct{}), commitNow: make(chan struct{}, 1),
	}
}

// has reports whether a partition of the topic is assigned.
func (g *generation) has(topic string) bool {
	return g.partitionsOf(topic) > 0
}

// partitionsOf is the number of this process's partitions of a topic.
func (g *generation) partitionsOf(topic string) (n int) {
	for _, p := range g.partitions {
		if p.topic == topic {
			n++
		}
	}
	return n
}

// ticketSpentLocked is called under the accounts' lock.
func (g *generation) ticketSpentLocked() {
	g.pending--
	g.checkDrainedLocked()
}

// checkDrainedLocked is called under the accounts' lock.
func (g *generation) checkDrainedLocked() {
	if g.pending > 0 || !g.revoked.Load() {
		return
	}
	select {
	case <-g.drained:
	default:
		close(g.drained)
	}
}

// becomesCompleteLocked reports, once, that all that the logs held at the assignment is with the
// handler. A record that has only begun may still be decoded, while another partition ends. It is
// called under the accounts' lock.
func (g *generation) becomesCompleteLocked() bool {
	if g.complete {
		return false
	}
	for _, p := range g.partitions {
		if p.target < 0 || p.handed < p.target {
			return false
		}
	}
	g.complete = true
	return true
}

func (g *generation) commitSoon() {
	select {
	case g.commitNow <- struct{}{}:
	default:
	}
}

var errRevoked = errors.New("intake: the partitions were taken away")

// serve runs one generation: it reads the partitions until they are taken away, drains, commits,
// and returns. kafka-go joins the next generation only then.
func (in *Intake) serve(ctx context.Context, gen *kafka.Generation) {
	g := in.newGeneration(source.Member{Group: gen.GroupID, Generation: int(gen.ID), ID: gen.MemberID})
	for _, topic := range in.cfg.topics() {
		for _, a := range gen.Assignments[topic] {
			g.partitions = append(g.partitions, &partition{topic: topic, id: a.ID, gen: g, target: -1})
		}
	}
	// The generation's context ends with an error that is neither Canceled nor DeadlineExceeded, and
	// only when the generation ends: bridge it to one with a cause, so that no error of ours is
	// mistaken for an API failure.
	workCtx := context.WithoutCancel(ctx)
	readCtx, stop := context.WithCancelCause(workCtx)
	defer context.AfterFunc(ctx, func() { stop(errRevoked) })()
	var readers sync.WaitGroup
	in.status.assigned(g)
	in.parts.Backlog.Assigned()
	if len(g.partitions) == 0 {
		in.parts.Backlog.Complete()
	}
	in.status.worked(ctx, joinKey())
	readers.Go(func() { in.readAll(readCtx, g) })
	in.commits.until(workCtx, g, ctx.Done(), false)

	stop(errRevoked)
	readers.Wait()
	in.release(workCtx, g)
	in.status.unassigned(g)
}

// release gives a generation's partitions up, after their readers have ended. The order matters.
// The tickets are marked before the handler drops what has not begun, so an event that goes back
// into its lane in between is dropped, too. After the last commit the accounts are closed, so an
// event that ends later counts for nothing: its partition may belong to another member.
func (in *Intake) release(ctx context.Context, g *generation) {
	in.accounts.revoke(g)
	in.parts.Handler.Revoked()
	in.commits.drain(ctx, g, in.cfg.DrainLimit)
	in.accounts.close(g)
	in.parts.Handler.Revoked()
}

// readAll reads all partitions, once it is known what the group has stored for them.
func (in *Intake) readAll(ctx context.Context, g *generation) {
	if len(g.partitions) == 0 {
		return
	}
	stored, groupIsNew, err := in.stored(ctx, g)
	if err != nil || in.parts.Handler.Initialize(ctx, groupIsNew) != nil {
		return // the generation is over
	}
	var readers sync.WaitGroup
	for _, p := range g.partitions {
		readers.Go(func() { (&reader{Intake: in, part: p}).read(ctx, stored[p.topic][p.id], groupIsNew) })
	}
	readers.Wait()
}

// stored asks until Kafka answers: reading from a guess would lose or repeat records.
func (in *Intake) stored(ctx context.Context, g *generation) (map[string]map[int]source.Committed, bool, error) {
	retry := newBackoff()
	for {
		stored, groupIsNew, err := in.askStored(ctx, g)
		if err == nil {
			return stored, groupIsNew, nil
		}
		in.status.failed(ctx, g.partitions[0].key(), err)
		if err := wait.For(ctx, retry.NextBackOff()); err != nil {
			return nil, false, err
		}
	}
}

// askStored also returns whether the group has no offset on any partition of the source topic, and
// never had one that this process knows of: Kafka deletes a topic's offsets with the topic, and
// with `latest` the first records of a recreated one would be stepped over.
func (in *Intake) askStored(ctx context.Context, g *generation) (map[string]map[int]source.Committed, bool, error) {
	stored := make(map[string]map[int]source.Committed)
	for _, topic := range in.cfg.topics() {
		if topic != in.cfg.Topic && !g.has(topic) { // it may not exist
			continue
		}
		all, err := in.offsets.Partitions(ctx, topic)
		if err != nil {
			return nil, false, err
		}
		for _, p := range g.partitions { // it may be newer than the metadata
			if p.topic == topic && p.id >= len(all) {
				all = append(all, p.id)
			}
		}
		if stored[topic], err = in.offsets.Committed(ctx, in.cfg.Group, topic, all); err != nil {
			return nil, false, err
		}
	}
	for _, c := range stored[in.cfg.Topic] {
		if c.Offset >= 0 {
			in.hadOffsets.Store(true)
		}
	}
	return stored, !in.hadOffsets.Load(), nil
}
