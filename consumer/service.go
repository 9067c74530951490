package consumer

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"membersync/consumer/decode"
	"membersync/consumer/deliver"
	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/consumer/schedule"
	"membersync/consumer/tracing"
	"membersync/dlq"
)

// A Service is one instance of membersync's consumer. [New] makes one; [Service.Run] or
// [Service.Replay] is called once. Ready and Live are safe for concurrent use.
type Service struct {
	intake   *intake.Intake
	schedule *schedule.Schedule
	pipeline *pipeline
	control  *controlWatcher
	beats    *heart
	report   *reporter
	topics   *topicKeeper
}

// New returns a service that has not started.
func New(cfg Config, parts Parts) *Service {
	if parts.Observer == nil {
		parts.Observer = noObserver{}
	}
	if cfg.Replay {
		parts.Audit = noAudit{}
	}
	timed(&parts)
	topics := newTopicKeeper(&parts)
	report := &reporter{metrics: parts.Metrics, observer: parts.Observer, log: parts.Logger, replay: cfg.Replay}
	plan := schedule.New(schedule.Config{
		Concurrency: cfg.Concurrency, HasLimiter: parts.Limiter != nil, StormShare: cfg.StormShare,
		HeldRetry:   cfg.HeldRetry,
		RetryBudget: cfg.RetryBudget, GatherFor: cfg.GatherFor, OnPause: report.paused,
		OnStorm: report.storm,
	})
	redis := &redisGuard{schedule: plan, log: parts.Logger}
	control := &controlWatcher{
		group: cmp.Or(cfg.LiveGroup, cfg.Group), control: parts.Control, schedule: plan, report: report, redis: redis, log: parts.Logger,
		mayJoin: make(chan struct{}),
	}
	control.state.hasOffsets = cfg.Replay // the command has seen to it that there is a marker
	if parts.Control == nil {
		control.state.known = true
		plan.SetControlKnown()
		control.letJoin()
	}
	beats := newHeart(&cfg, &parts, plan)
	report.beat = beats.wake
	tracer := tracing.New(parts.Tracer, cfg.Topic, cfg.Group)
	p := &pipeline{
		cfg: &cfg, log: parts.Logger, schedule: plan, control: control, beats: beats, report: report, tracer: tracer,
		deliver: newDeliverer(&cfg, &parts, tracer), ahead: newLookahead(decode.NewRecognizer(parts.Marks, cfg.Reapply)),
		permits: &permits{limiter: parts.Limiter, schedule: plan, redis: redis, log: parts.Logger},
		runners: runners{next: make(chan *event.Batch)},
	}
	in := newIntake(&cfg, &parts, p, topics)
	control.restored = in.DeliverAgain
	p.decoder = newDecoder(&cfg, &parts, &outages{redis: redis, intake: in, report: report}, originals{in})
	s := &Service{
		intake: in, schedule: plan, pipeline: p, control: control, beats: beats, report: report, topics: topics,
	}
	parts.Metrics.watch(s)
	return s
}

const defaultRecordBytes = 1 << 20

func newIntake(cfg *Config, parts *Parts, p *pipeline, topics *topicKeeper) *intake.Intake {
	return intake.New(intake.Config{
		Topic: cfg.Topic, Redrives: cfg.Redrives, Group: cfg.Group, Brokers: cfg.Brokers, StartLatest: cfg.StartLatest,
		BufferRecords: cfg.BufferRecords, BufferBytes: cfg.BufferBytes, DrainLimit: cfg.DrainLimit, DoneTTL: cfg.DoneTTL,
		MaxRecordBytes: cmp.Or(cfg.MaxRecordBytes, defaultRecordBytes), Session: cfg.Session,
	}, intake.Parts{
		Kafka: parts.Kafka, Dialer: parts.Dialer, Handler: p, Backlog: orderedBacklog{backlog{p.schedule}, p.ahead}, Metrics: parts.Metrics,
		Logger: parts.Logger, Pace: parts.Pace, RedrivesMissing: topics.reportMissing,
	})
}

func newDecoder(cfg *Config, parts *Parts, outages decode.Outages, originals decode.Originals) *decode.Decoder {
	return decode.New(decode.Config{
		Topic: cfg.Topic, BaseURL: cfg.BaseURL, CorpID: cfg.CorpID, Employee: cfg.Employee,
		Covers: cfg.covers(), SkipExpired: cfg.Replay,
	}, decode.Parts{
		Mapper: parts.Mapper, Lookups: parts.Lookups, Archive: parts.Archive, Items: parts.Items, Originals: originals, Outages: outages,
		Decoded: parts.Observer.Decoded, Digest: parts.EditDigest, Expired: parts.Expired, Logger: parts.Logger,
	})
}

func newDeliverer(cfg *Config, parts *Parts, tracer *tracing.Tracer) *deliver.Deliverer {
	return deliver.New(deliver.Config{
		Topic: cfg.Topic, Group: cfg.Group, Version: cfg.Version, Concurrency: cfg.Concurrency,
		CallTimeout: cfg.CallTimeout, Lease: cfg.Lease, QuotaReset: cfg.QuotaReset, Reapply: cfg.Reapply,
	}, deliver.Parts{
		Store: parts.Store, CRM: parts.CRM, DeadLetters: parts.DeadLetters, Audit: parts.Audit, Metrics: parts.Metrics,
		Tracer: tracer,
	})
}

// noAudit is the auditor of a replay: the results of its redrives were recorded when they first
// ran.
type noAudit struct{}

func (noAudit) Write(context.Context, dlq.AuditRecord) error { return nil }

var errStopped = errors.New("consumer: stopped")

// Run consumes until the context ends, then drains in-flight calls within the drain limit, commits
// and leaves the group. It joins the group only when it may call (invariant 15). It returns an
// error only if the group cannot be set up; it waits for an unavailable Kafka, Redis or CRM.
func (s *Service) Run(ctx context.Context) error {
	defer s.start(ctx)()
	select {
	case <-s.control.mayJoin:
		return s.intake.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// Replay runs ranges of the topics again, as a process of its own alongside the live service: it
// joins no group, and keeps its offsets under Config.Group, from which it continues if they are
// there. It returns nil at the end of all ranges, and the context's cause if that ends first, after
// a drain. It waits for an outage. Progress is reported about every second.
func (s *Service) Replay(ctx context.Context, ranges []Range, progress func(ReplayProgress)) error {
	defer s.start(ctx)()
	return s.intake.Replay(ctx, ranges, progress)
}

// start starts what outlives ctx: batches are shielded from the shutdown until the drain is over.
// The returned function ends it and waits.
func (s *Service) start(ctx context.Context) (stop func()) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { s.pipeline.dispatch(work) })
	running.Go(func() { s.topics.watch(work) })
	if s.control.control != nil {
		running.Go(func() { s.control.watch(work) })
		running.Go(func() { s.beats.run(work, s.heartbeat) })
	}
	running.Go(func() { s.releaseExpiring(work) })
	return func() {
		cancel(errStopped)
		running.Wait()
	}
}

// Ready reports whether the service takes part in its group, and what it waits for: the reason if
// it is not ready, the causes of a pause if it is.
func (s *Service) Ready() (ok bool, cause string) {
	status, control := s.intake.Status(), s.control.snapshot()
	switch {
	case status.Draining:
		return false, "draining"
	case !control.joins && control.otherKey:
		return false, event.CauseStateKey.String()
	case !control.joins:
		return false, causeControl
	case !status.Joined:
		return false, "not joined the consumer group yet"
	}
	return true, strings.Join(s.causes(status), ", ")
}

// causes names all causes of pauses as the metrics do.
func (s *Service) causes(status intake.Status) []string {
	var names []string
	for _, c := range s.schedule.Stats(time.Now()).Causes {
		names = append(names, c.String())
	}
	if s.report.areTopicsFailing() {
		names = append(names, causeDLQ)
	}
	if status.KafkaFailing {
		names = append(names, causeKafka)
	}
	if s.control.snapshot().unreadable {
		names = append(names, causeControl)
	}
	return names
}

// stuckAfter is far longer than any batch may take: its call, its lease and Redis are all bounded.
const stuckAfter = 5 * time.Minute

// Live reports whether a restart would not help. It would if batches run or could run, and none has
// ended for minutes.
func (s *Service) Live() (ok bool, why string) {
	if stuck := s.schedule.Stats(time.Now()).StuckFor; stuck > stuckAfter {
		return false, "no batch has ended for " + stuck.Round(time.Second).String()
	}
	return true, ""
}
