package intake

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/dlq/partlog"
)

// A Config is the settings of an [Intake]. Every field is required unless it says what zero means.
type Config struct {
	Topic       string   // the source topic
	Redrives    string   // the redrive topic; empty: none
	Group       string   // the consumer group; of a replay, the group that stores its offsets
	Brokers     []string // host:port, for the connection to the group's coordinator
	StartLatest bool     // where a group without any offset begins: at the end of the source topic, not its start

	BufferRecords int   // records in memory at most
	BufferBytes   int64 // and the bytes of records and fetches; a larger record is admitted alone
	// MaxRecordBytes bounds the bytes of a record of the source topic, headers included. A larger
	// one is not read, and its delivery has a rejection.
	MaxRecordBytes int64
	DrainLimit     time.Duration // for batches that run, on shutdown and when partitions are taken away
	DoneTTL        time.Duration // of done marks: a warning if the topic retains records for longer; 0: none
	Session        Session       // zero values: the defaults
}

// topics are those that the group consumes.
func (c *Config) topics() []string {
	if c.Redrives == "" {
		return []string{c.Topic}
	}
	return []string{c.Topic, c.Redrives}
}

// A Session is the timing of the group membership.
type Session struct {
	Heartbeat time.Duration // default 1 s; a member learns of a rebalance by its next heartbeat
	Timeout   time.Duration // default 10 s
	Rebalance time.Duration // default 60 s
	Backoff   time.Duration // between failed joins; default 1 s
	Watch     time.Duration // between looks for new partitions; default 5 s
}

func (s Session) withDefaults() Session {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&s.Heartbeat, time.Second)
	or(&s.Timeout, 10*time.Second)
	or(&s.Rebalance, 60*time.Second)
	or(&s.Backoff, time.Second)
	or(&s.Watch, 5*time.Second)
	return s
}

// A Handler takes the records. Its methods are called without any lock of the intake.
type Handler interface {
	// Await returns when records of the topic may be taken in, or with the context's cause. It is
	// called before a record costs memory.
	Await(ctx context.Context, topic string) error
	// Handle takes one record. It may block: the partition waits. It keeps nothing of a record of the
	// source topic but what it copies. After an error, the tickets that it has issued are the
	// handler's to drop.
	Handle(ctx context.Context, d Delivery) error
	// Revoked is called after tickets were marked as revoked or closed. It drops those of events that
	// have not begun.
	Revoked()
	// Initialize is called before the first record of a generation is read, and so before its first
	// commit. GroupIsNew: the group has no offset for any partition of the source topic.
	Initialize(ctx context.Context, groupIsNew bool) error
}

// A Backlog is notified of what is in memory. Its methods must not block.
type Backlog interface {
	Assigned() // a generation begins
	Complete() // everything that the logs held at the assignment has been handled
	Full()     // a record has to wait for memory
}

// Metrics counts what happens here.
type Metrics interface {
	Rebalanced()
	Gap(records int64)
	Committed(result string)   // ok, failed or fenced
	KafkaPaused(isPaused bool) // whether Kafka fails for any partition, or for the join
}

// Parts is what an [Intake] works with.
type Parts struct {
	Kafka   *kafka.Client // with its own transport
	Dialer  *kafka.Dialer // for the connection to the group's coordinator
	Handler Handler
	Backlog Backlog
	Metrics Metrics
	Logger  *slog.Logger
	// Pace lets the records of a replay through, one at a time; nil: as fast as they come.
	Pace func(context.Context) error
	// RedrivesMissing is called, without blocking, when the redrive topic does not exist.
	RedrivesMissing func()
}

// An Intake reads the topics of one group. [Intake.Run] or [Intake.Replay] is called once; the
// other methods are safe for concurrent use.
type Intake struct {
	cfg     Config
	parts   Parts
	logger  *slog.Logger
	logs    logs
	offsets *source.Offsets
	buffers buffers
	status  *status
	// accounts has the one lock of this package that guards state across partitions.
	accounts   *accounts
	commits    *committer
	hadOffsets atomic.Bool // the group had an offset on the source topic
	session    atomic.Pointer[session]
}

// fetchWait is how long the broker may wait for data; adminTimeout bounds a request about offsets.
const (
	fetchWait    = 500 * time.Millisecond
	adminTimeout = 10 * time.Second
)

// New returns an intake that has not started.
func New(cfg Config, parts Parts) *Intake {
	cfg.Session = cfg.Session.withDefaults()
	all := newBuffers(&cfg, parts.Backlog.Full)
	in := &Intake{
		cfg: cfg, parts: parts, logger: parts.Logger,
		offsets:  source.NewOffsets(parts.Kafka, adminTimeout),
		logs:     newLogs(&cfg, parts.Kafka, all),
		buffers:  all,
		status:   newStatus(parts.Metrics, parts.Logger),
		accounts: newAccounts(),
	}
	in.commits = &committer{
		topics: cfg.topics(), offsets: in.offsets, accounts: in.accounts, metrics: parts.Metrics, log: parts.Logger,
		stored: func(topic string) {
			if topic == cfg.Topic {
				in.hadOffsets.Store(true)
			}
		},
	}
	return in
}

var errStopped = errors.New("intake: stopped")

// Run takes part in the group until the context ends. Then it drains, commits and leaves the group.
// It returns an error only if the group cannot be set up; it waits for an unavailable Kafka.
func (in *Intake) Run(ctx context.Context) error {
	watch, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	retention := retentionWatcher{cfg: &in.cfg, offsets: in.offsets, accounts: in.accounts, log: in.logger}
	var watchers sync.WaitGroup
	for _, topic := range in.cfg.topics() {
		watchers.Go(func() { retention.watch(watch, topic) })
	}
	var err error
	for topics := in.cfg.topics(); err == nil && ctx.Err() == nil; {
		topics, err = in.takePart(ctx, topics)
	}
	stop(errStopped)
	watchers.Wait()
	return err
}

// takePart takes part in the group, for the topics given, until the context or the session ends.
// Then it drains, commits and leaves the group. It returns the topics of the next session.
func (in *Intake) takePart(ctx context.Context, topics []string) (next []string, err error) {
	group, err := kafka.NewConsumerGroup(in.groupConfig(topics))
	if err != nil {
		return nil, err
	}
	s := &session{Intake: in, topics: topics, group: group, retry: newBackoff(), served: make(chan struct{})}
	close(s.served)
	membership, end := context.WithCancelCause(ctx)
	s.end = end
	in.session.Store(s)
	var watcher sync.WaitGroup
	watcher.Go(func() { s.watchRedrives(membership) })
	s.generations(membership)
	if ctx.Err() != nil {
		in.status.drain()
		in.logger.LogAttrs(ctx, slog.LevelInfo, "stopping: draining in-flight calls", slog.Duration("limit", in.cfg.DrainLimit))
	}
	err = group.Close() // ends the generation, waits for its drain, leaves the group
	<-s.served
	end(errStopped)
	watcher.Wait()
	if errors.Is(context.Cause(membership), errDeliverAgain) {
		return topics, err
	}
	return in.otherTopics(topics), err
}

var errDeliverAgain = errors.New("intake: what is not committed is delivered again")

// DeliverAgain ends the present session, if there is one, and begins another. What is not committed
// is delivered again, also records that were finished above an unfinished one.
func (in *Intake) DeliverAgain() {
	if s := in.session.Load(); s != nil {
		s.end(errDeliverAgain)
	}
}

// A session is one membership of the group: the topics that it reads do not change.
type session struct {
	*Intake
	topics []string
	group  *kafka.ConsumerGroup
	end    context.CancelCauseFunc     // ends the session
	retry  *backoff.ExponentialBackOff // between generations; only the one that is served uses it
	served chan struct{}               // closed when the latest generation has been served
}

// generations takes part in one generation after the other until the context ends.
func (s *session) generations(ctx context.Context) {
	unassigned := unassignedWatcher{
		group: s.cfg.Group, topics: s.topics, every: s.cfg.Session.Watch, offsets: s.offsets, log: s.logger,
	}
	for ctx.Err() == nil {
		gen, err := s.group.Next(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil: // a condition, not the end: the group joins again by itself
			s.joinFailed(ctx, err)
		default:
			s.parts.Metrics.Rebalanced()
			s.logger.LogAttrs(ctx, slog.LevelInfo, "joined the group", slog.Int("generation", int(gen.ID)),
				slog.Any("partitions", partitionIDs(gen.Assignments[s.cfg.Topic])))
			s.served = make(chan struct{})
			gen.Start(func(genCtx context.Context) {
				defer close(s.served)
				began := time.Now()
				s.serve(genCtx, gen)
				s.awaitTopics(ctx, time.Since(began))
			})
			gen.Start(func(ctx context.Context) { unassigned.watch(ctx, int(gen.ID)) })
			// kafka-go does not wait for functions of a generation that had ended before they started.
			select {
			case <-s.served:
			case <-ctx.Done():
			}
		}
	}
}

// joinFailed reports why the group cannot be joined. If that is because of the redrive topic alone,
// the session ends, and the next one reads the source topic without it.
func (s *session) joinFailed(ctx context.Context, err error) {
	err = partlog.OnGroup("Read", s.cfg.Group, err)
	if errors.Is(err, kafka.TopicAuthorizationFailed) { // kafka-go does not say of which topic
		if denied := s.ask(ctx, s.cfg.Topic); denied != nil {
			err = denied
		} else if denied = s.ask(ctx, s.cfg.Redrives); s.readsRedrives() && denied != nil {
			s.leaveRedrives(ctx, denied)
			return
		}
	}
	if s.status.setFailing(joinKey(), true) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "cannot join the consumer group; trying again", errAttr(err))
	}
}

func (in *Intake) groupConfig(topics []string) kafka.ConsumerGroupConfig {
	t := in.cfg.Session
	return kafka.ConsumerGroupConfig{
		ID: in.cfg.Group, Brokers: in.cfg.Brokers, Dialer: in.parts.Dialer, Topics: topics,
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

// newBackoff waits up to 200 ms at first and up to 5 s in the end, with full jitter. With a
// randomization factor of 1 the library draws from 0 to twice its interval, so it gets half of
// each.
func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(2500*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0), // never gives up
	)
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
