package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"membersync/consumer"
	"membersync/dlq"
)

func replayKinds() []string {
	return []string{"replay", "replay of a part", "reapply", "crm restored", "replay stopped", "replay resumed"}
}

// A job is a replay. It has its own offsets, from which it continues after a crash or a stop.
type job struct {
	n       int
	reapply bool
	ranges  []consumer.Range
	index   *dlq.Index // which events are left out
	began   time.Time
	stops   time.Duration // after this time it is stopped once and resumed; 0: never
	stopped atomic.Bool
}

func (j *job) group() string { return fmt.Sprintf("%s.replay.%d", group, j.n) }

// replays makes the operator replay the topics, and restore the CRM from a backup before some
// replays with --reapply.
func (p *planner) replays(r *rand.Rand) {
	for n := range 1 + r.IntN(2) {
		at := between(r, 20*time.Second, p.w.horizon+20*time.Second)
		j := &job{n: n + 1, reapply: r.IntN(2) == 0}
		if r.IntN(3) == 0 {
			j.stops = between(r, time.Second, 10*time.Second)
		}
		part := !j.reapply && r.IntN(2) == 0
		share := r.Float64()
		if j.reapply && r.IntN(3) > 0 {
			var backup map[string]map[string]json.RawMessage
			p.at(between(r, 0, at-10*time.Second), func() { backup = p.w.crmProxy.crm.Snapshot() })
			p.at(at, func() {
				p.w.fired("crm restored", 0)
				p.w.crmProxy.crm.Restore(backup)
			})
		}
		p.operate(at+between(r, time.Second, 10*time.Second), "replay", func(ctx context.Context, o *operator) error {
			return o.replay(ctx, j, part, share)
		})
	}
}

var errLost = errors.New("simulation: the state is lost")

// replay starts a replay as membersync replay does.
func (o *operator) replay(ctx context.Context, j *job, part bool, share float64) error {
	state, err := o.store.Control(ctx, group)
	if err != nil {
		return err
	}
	if !state.Marker.Exists() {
		return errLost
	}
	if j.reapply {
		if err := o.store.InvalidateDigests(ctx); err != nil {
			return err
		}
		time.Sleep(consumer.DigestTrust)
	}
	for _, topic := range []string{source, redrives} {
		for p, end := range o.w.kafka.ends(topic) { //nolint:contextcheck // the world has no deadline
			first := int64(0)
			if part && topic == source {
				first = int64(share * float64(end))
			}
			if first < end {
				j.ranges = append(j.ranges, consumer.Range{Topic: topic, Partition: p, First: first, End: end})
			}
		}
	}
	switch {
	case j.reapply:
		o.w.fired("reapply", 0)
	case part:
		o.w.fired("replay of a part", 0)
	default:
		o.w.fired("replay", 0)
	}
	if j.index, err = o.reader.Index(ctx, dlq.Query{}, nil); err != nil {
		j.ranges = nil
		return err
	}
	j.began = time.Now()
	o.w.busy.Add(1) // until the replay has ended
	o.w.instances.launch(-1, j)
	return nil
}

// replay runs the job. Another process continues it if this one does not finish it.
func (l *process) replay(service *consumer.Service) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	if l.job.stops > 0 && !l.job.stopped.Swap(true) {
		l.w.running.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(l.job.stops):
				l.w.fired("replay stopped", l.n)
				cancel()
			}
		})
	}
	err := service.Replay(ctx, l.job.ranges, func(consumer.ReplayProgress) {})
	switch {
	case err == nil && !l.isDead():
		l.w.log("replay is over", "instance", l.n)
		l.w.busy.Add(-1)
	case !l.w.over.Load():
		l.w.running.Go(func() {
			time.Sleep(between(l.random(), time.Second, 5*time.Second))
			if !l.w.over.Load() {
				l.w.fired("replay resumed", l.n)
				l.w.instances.launch(-1, l.job)
			}
		})
	}
}
