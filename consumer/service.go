package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/source"
)

// A Service is one instance of membersync's consumer. [New] makes one, Run runs it once.
type Service struct {
	cfg     Config
	parts   Parts
	logger  *slog.Logger
	buffer  *buffer
	engine  *engine
	log     *source.Log
	offsets *source.Offsets
	status  *status

	rejoined int // how often in a row partitions were nobody's; of the generations' own goroutine
}

// fetchBytes is what one fetch of one partition asks for; fetchWait is how long the broker may wait for data.
const (
	fetchBytes   = 512 << 10
	fetchWait    = 500 * time.Millisecond
	adminTimeout = 10 * time.Second
)

// New returns a service that has not started.
func New(cfg Config, parts Parts) *Service {
	cfg.Session = cfg.Session.withDefaults()
	if parts.Observer == nil {
		parts.Observer = nobody{}
	}
	if cfg.Replay {
		parts.Audit = silent{}
	}
	timed(&parts)
	s := &Service{
		cfg: cfg, parts: parts, logger: parts.Logger,
		log:     source.NewLog(parts.Kafka, fetchBytes, fetchWait),
		offsets: source.NewOffsets(parts.Kafka, adminTimeout),
		status:  newStatus(),
	}
	s.engine = newEngine(&s.cfg, &s.parts)
	s.engine.oversight.known = parts.Control == nil
	s.buffer = newBuffer(cfg.BufferRecords, cfg.BufferBytes, s.engine.gathered)
	s.parts.Metrics.watch(s)
	return s
}

var errStopped = errors.New("consumer: stopped")

// Run consumes until the context ends, then lets running calls end within the drain
// limit, commits and leaves the group. It returns an error only if the group cannot be set up;
// an unreachable Kafka, Redis or CRM is waited for. It must be called once.
func (s *Service) Run(ctx context.Context) error {
	group, err := kafka.NewConsumerGroup(s.groupConfig())
	if err != nil {
		return err
	}
	// The runs outlive ctx: they are shielded from the shutdown until the drain is over.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var engine sync.WaitGroup
	engine.Go(func() { s.engine.loop(work) })
	for _, topic := range s.cfg.topics() {
		engine.Go(func() { s.watchRetention(work, topic) })
	}
	if s.parts.Control != nil {
		engine.Go(func() { s.oversee(work) })
	}

	s.generations(ctx, group)
	s.status.drain()
	s.logger.LogAttrs(ctx, slog.LevelInfo, "stopping: running calls are let end", slog.Duration("limit", s.cfg.DrainLimit))
	err = group.Close() // ends the generation, waits for its drain, leaves the group
	stop(errStopped)
	engine.Wait()
	return err
}

// generations takes part in one generation after the other until the context ends.
func (s *Service) generations(ctx context.Context, group *kafka.ConsumerGroup) {
	for ctx.Err() == nil {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil: // news, not the end: the group joins again by itself
			s.joinFailed(ctx, err)
		default:
			s.parts.Metrics.rebalanced()
			s.logger.LogAttrs(ctx, slog.LevelInfo, "joined the group", slog.Int("generation", int(gen.ID)),
				slog.Any("partitions", partitionIDs(gen.Assignments[s.cfg.Topic])))
			gen.Start(func(ctx context.Context) { s.serve(ctx, gen) })
			gen.Start(func(ctx context.Context) { s.watchAssignment(ctx, gen) })
		}
	}
}

func (s *Service) groupConfig() kafka.ConsumerGroupConfig {
	t := s.cfg.Session
	return kafka.ConsumerGroupConfig{
		ID: s.cfg.Group, Brokers: s.cfg.Brokers, Dialer: s.parts.Dialer, Topics: s.cfg.topics(),
		GroupBalancers:    []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}},
		HeartbeatInterval: t.Heartbeat, SessionTimeout: t.Timeout, RebalanceTimeout: t.Rebalance,
		JoinGroupBackoff: t.Backoff, WatchPartitionChanges: true, PartitionWatchInterval: t.Watch,
		StartOffset: kafka.FirstOffset, // not used: startOffset decides
	}
}

func partitionIDs(as []kafka.PartitionAssignment) []int {
	ids := make([]int, 0, len(as))
	for _, a := range as {
		ids = append(ids, a.ID)
	}
	return ids
}
