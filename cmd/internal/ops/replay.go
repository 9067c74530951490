package ops

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/dedupe"
	"membersync/dlq"
)

// A ReplayRequest says what is to be replayed, and how.
type ReplayRequest struct {
	From, To Position // To not given: what the topic holds now
	Employee string   // only this one's events; empty: all
	Reapply  bool     // run what is marked done, too
	Rate     int      // records a second; 0: no limit of its own
	Diffs    int      // of a preview: for how many members the differences are shown
	Who      Who
	Version  string // of the program, for the headers of dead letters

	// DigestWait is how long a reapply waits until no instance leaves a value out that the CRM held
	// before. 0: [consumer.DigestTrust].
	DigestWait time.Duration
}

// A Replay is one replay. Create it with [Replayer.NewReplay] or [Replayer.ResumeReplay], then call
// Preview or Run, once.
type Replay struct {
	ReplayRequest
	ID      string
	replays *Replayer
	ranges  []consumer.Range // that were requested
	reads   []consumer.Range // that are read: the redrive topic as a whole, for the redrives of the ranges' events
	index   *dlq.Index       // nil: there is no dead-letter topic
	known   bool             // its record is in the audit topic already
	tail    *dlq.Tail        // of the audit topic, from before the plan: for a cancel
	tally   replayTally
}

// A ReplayResult is the result of a replay as JSON shows it.
type ReplayResult struct {
	ID       string         `json:"id"`
	Result   string         `json:"result"`  // done, stopped or canceled
	Records  int64          `json:"records"` // offsets of all ranges
	Done     int64          `json:"done"`    // of these, processed so far
	Outcomes map[string]int `json:"outcomes"`
	Expired  int            `json:"expired"` // redrives whose dead letter or request retention has removed: skipped
}

// Errors of a replay to resume.
var (
	ErrNoReplay   = &RefusedError{"unknown replay: the audit topic has none of this id; membersync replay list shows them"}
	ErrReplayOver = &RefusedError{"this replay is done or was canceled; membersync replay list shows which"}
	ErrReplayRuns = &RefusedError{"this replay is running; if its process was killed, try again in 30 s"}
)

// NewReplay plans a replay. The ends of its ranges are fixed now. Nothing is written yet. A range
// that does not end after its beginning is a [*RangeError].
func (s *Replayer) NewReplay(ctx context.Context, request ReplayRequest) (*Replay, error) {
	r, err := s.newReplay(ctx, request, strings.ToLower(rand.Text()[:10]))
	if err != nil {
		return nil, err
	}
	if r.ranges, err = s.replayRanges(ctx, request); err != nil {
		return nil, err
	}
	return r, r.prepare(ctx)
}

// ResumeReplay finds a replay in the audit topic by its id. The request's who, rate and version
// count, except an empty note; the rest is what was requested then. It fails with [ErrNoReplay],
// [ErrReplayOver] or [ErrReplayRuns].
func (s *Replayer) ResumeReplay(ctx context.Context, id string, request ReplayRequest) (*Replay, error) {
	r, err := s.newReplay(ctx, request, id)
	if err != nil {
		return nil, err
	}
	if err := r.recall(ctx); err != nil {
		return nil, err
	}
	running, err := s.isReplayed(ctx, id)
	if err != nil {
		return nil, err
	}
	if running {
		return nil, ErrReplayRuns
	}
	return r, r.prepare(ctx)
}

func (s *Replayer) newReplay(ctx context.Context, request ReplayRequest, id string) (*Replay, error) {
	if err := s.stateRefusal(ctx); err != nil {
		return nil, err
	}
	if err := memberTTLRefusal(ctx, s.cfg, s.parts.Kafka); err != nil {
		return nil, err
	}
	tail, err := s.reader.Tail(ctx)
	if err != nil && !isMissingTopic(err) {
		return nil, err
	}
	return &Replay{
		ReplayRequest: request, ID: id, replays: s, tail: tail,
		tally: replayTally{result: ReplayResult{ID: id, Outcomes: map[string]int{}}},
	}, nil
}

// replayRanges returns the requested ranges. A range by time is of the redrive topic too.
func (s *Replayer) replayRanges(ctx context.Context, o ReplayRequest) ([]consumer.Range, error) {
	if err := CheckRange(o.From, o.To); err != nil {
		return nil, err
	}
	topics := []string{s.cfg.Kafka.Topic}
	if o.From.Offsets == nil && o.To.Offsets == nil {
		topics = append(topics, wiring.Topics(s.cfg).Redrive)
	}
	if !o.To.IsGiven() {
		o.To.Latest = true
	}
	var all []consumer.Range
	for _, topic := range topics {
		first, held, err := s.resolve(ctx, topic, o.From)
		if err != nil {
			return nil, err
		}
		end, _, err := s.resolve(ctx, topic, o.To)
		if err != nil {
			return nil, err
		}
		for p := range len(held) {
			from, ok := first[p]
			to, bounded := end[p]
			if !bounded {
				to = held[p].End
			}
			if ok && from > to { // one is a time, the other one an offset
				return nil, emptyRange(o.From.in(p, from), o.To.in(p, to))
			}
			if ok && from < to {
				all = append(all, consumer.Range{Topic: topic, Partition: p, First: from, End: to})
			}
		}
	}
	return all, nil
}

func (r *Replay) group() string { return r.replays.replayPrefix() + r.ID }

// prepare finds out what is to be read, and which events have dead letters. It comes after the ends
// of the ranges are fixed.
func (r *Replay) prepare(ctx context.Context) (err error) {
	if r.reads, err = r.replays.reads(ctx, r.ranges); err != nil {
		return err
	}
	r.index, err = r.replays.Index(ctx, dlq.Query{}, nil)
	if isMissingTopic(err) {
		return nil
	}
	return err
}

// reads returns what is read for ranges: the redrive topic as a whole, as of now.
func (s *Replayer) reads(ctx context.Context, ranges []consumer.Range) ([]consumer.Range, error) {
	redrives := wiring.Topics(s.cfg).Redrive
	reads := slices.DeleteFunc(slices.Clone(ranges), func(r consumer.Range) bool { return r.Topic == redrives })
	held, err := s.ranges(ctx, redrives)
	if err != nil && !isMissingTopic(err) {
		return nil, err
	}
	for p := range len(held) {
		if h := held[p]; h.First < h.End {
			reads = append(reads, consumer.Range{Topic: redrives, Partition: p, First: h.First, End: h.End})
		}
	}
	return reads, nil
}

// Loss returns what could not be read of dead letters and audit records.
func (r *Replay) Loss() dlq.Loss {
	if r.index == nil {
		return dlq.Loss{}
	}
	return r.index.Loss
}

// Partitions returns the number of partitions that were requested.
func (r *Replay) Partitions() int { return len(r.ranges) }

// Total returns the number of offsets that are read.
func (r *Replay) Total() int64 { return offsetsIn(r.reads) }

// recall finds in the audit topic what a replay was requested with.
func (r *Replay) recall(ctx context.Context) error {
	over := false
	err := r.replays.reader.Audit(ctx, func(a dlq.AuditRecord) {
		if a.Action != dlq.ActionReplay && a.Action != dlq.ActionReplayCancel || a.Subject != r.group() {
			return
		}
		over = over || a.Result == dlq.ResultDone // a cancel, too, has this result
		if a.Result != dlq.ResultRequested || r.known {
			return
		}
		r.known, r.Employee, r.Reapply = true, a.Detail.Employee, a.Detail.Reapply
		r.Who.Note = cmp.Or(r.Who.Note, a.Note)
		r.ranges = rangesOf(a.Detail)
	})
	switch {
	case err != nil:
		return err
	case over:
		return ErrReplayOver
	case !r.known:
		return ErrNoReplay
	}
	return nil
}

func (r *Replay) record(result string) dlq.AuditRecord {
	a := dlq.AuditRecord{
		Actor: r.Who.Actor, Action: dlq.ActionReplay, Subject: r.group(), Note: r.Who.Note, Result: result,
		Detail: dlq.Detail{Employee: r.Employee, Reapply: r.Reapply, Records: r.Total()},
	}
	for _, one := range r.ranges {
		a.Detail.Offsets = append(a.Detail.Offsets, dlq.OffsetChange{Topic: one.Topic, Partition: one.Partition, From: one.First, To: one.End})
	}
	return a
}

// Run carries out the replay until its end or that of the context, and reports its progress in
// offsets. A replay that was stopped can be resumed. The result counts also with an error; that of
// the audit record of the end is an [*UnrecordedError].
func (r *Replay) Run(ctx context.Context, progress func(done, total int64)) (ReplayResult, error) {
	r.tally.progress = progress
	if err := r.replays.ensureMarker(ctx); err != nil {
		return r.tally.now(), err
	}
	if err := r.begin(ctx); err != nil {
		return r.tally.now(), err
	}
	result, err := r.runAttended(ctx)
	recordErr := r.replays.audit.Write(context.WithoutCancel(ctx), r.record(result))
	if result != dlq.ResultDone {
		r.countCommitted(ctx)
	}
	counted := r.tally.now()
	counted.Result = result
	switch {
	case err != nil:
		return counted, err
	case recordErr != nil:
		return counted, &UnrecordedError{recordErr}
	}
	if result == dlq.ResultDone { // of one that was canceled, the offsets say how far it came
		r.replays.dropGroup(ctx, r.group())
	}
	return counted, nil
}

// ensureMarker marks the state of a group that has not begun, because the replay relies on a
// marker. Of a group that has, the marker was there when the replay was planned. If it is gone,
// Redis was emptied since then, and a new one would hide that.
func (s *Replayer) ensureMarker(ctx context.Context) error {
	if known, err := s.hasOffsets(ctx); err != nil || known {
		return errors.Join(err, s.stateRefusal(ctx))
	}
	return s.parts.Store.MarkInitialized(ctx, s.cfg.Kafka.Group)
}

var errReplayCanceled = errors.New("the replay was canceled")

// runAttended runs the consumer, reports in the meantime that the replay is running, and stops it
// when it is canceled. It returns the result, with an error only if the replay was stopped
// otherwise.
func (r *Replay) runAttended(ctx context.Context) (result string, err error) {
	run, cancel := context.WithCancelCause(ctx)
	var attendants sync.WaitGroup
	attendants.Go(func() { r.beat(run) })
	attendants.Go(func() { r.awaitCancel(run, cancel) })
	err = consumer.New(r.config(), r.consumerParts()).Replay(run, r.reads, r.tally.follow)
	canceled := errors.Is(context.Cause(run), errReplayCanceled)
	cancel(context.Canceled)
	attendants.Wait()
	r.endBeat(ctx)
	switch {
	case err == nil:
		return dlq.ResultDone, nil
	case canceled:
		return ReplayCanceled, nil
	}
	return ReplayStopped, err
}

const (
	beatEvery   = 5 * time.Second
	followRetry = time.Second
)

// beat writes heartbeats under the replay's group, by which others see that it is running.
func (r *Replay) beat(ctx context.Context) {
	b := dedupe.Heartbeat{ID: r.ID, Host: r.config().Host, Version: r.Version, Since: time.Now().UTC()}
	for ctx.Err() == nil {
		if err := r.replays.parts.Store.Beat(ctx, r.group(), b); err != nil {
			r.replays.parts.Logger.LogAttrs(ctx, slog.LevelDebug, "heartbeat not written", slog.String("error", err.Error()))
		}
		sleep(ctx, beatEvery)
	}
}

// endBeat removes the heartbeat, also after the context has ended, so that a replay that is stopped
// is not shown as running. If that fails, the heartbeat ends by itself in 30 s.
func (r *Replay) endBeat(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), beatEvery, errDropTimeout)
	defer cancel()
	_ = r.replays.parts.Store.EndBeat(ctx, r.group(), r.ID)
}

// countCommitted counts the offsets of a replay that ended early as they are committed. The last
// progress is up to a second old, and from before the drain.
func (r *Replay) countCommitted(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), dropTimeout, errDropTimeout)
	defer cancel()
	if done, err := r.replays.committedBy(ctx, r.ID, r.reads); err == nil {
		r.tally.setCommitted(r.Total(), done)
	}
}

// awaitCancel cancels the run when the audit topic says that the replay is canceled.
func (r *Replay) awaitCancel(ctx context.Context, cancel context.CancelCauseFunc) {
	for r.tail != nil && ctx.Err() == nil {
		_ = r.tail.Follow(ctx, func(a dlq.AuditRecord) error {
			if a.Action == dlq.ActionReplayCancel && a.Subject == r.group() {
				cancel(errReplayCanceled)
			}
			return nil
		})
		sleep(ctx, followRetry) // Kafka is unavailable
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// begin records a replay that is new.
func (r *Replay) begin(ctx context.Context) error {
	if r.known {
		return nil
	}
	if r.Reapply {
		if err := r.invalidateDigests(ctx); err != nil {
			return err
		}
	}
	if err := r.prepare(ctx); err != nil { // again: it may be long since the plan was shown
		return err
	}
	return r.replays.audit.Write(ctx, r.record(dlq.ResultRequested))
}

// DigestDelay returns how long Run waits before a reapply begins; 0: it does not.
func (r *Replay) DigestDelay() time.Duration {
	if !r.Reapply || r.known {
		return 0
	}
	return cmp.Or(r.DigestWait, consumer.DigestTrust)
}

// invalidateDigests sees to it that no event is left out for what the CRM held before it was
// restored. What was left out before the instances know of the new generation of digests is in the
// range, since that ends only now; what comes later, they send.
func (r *Replay) invalidateDigests(ctx context.Context) error {
	if err := r.replays.parts.Store.InvalidateDigests(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(r.DigestDelay())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	var err error
	r.ranges, err = r.replays.replayRanges(ctx, r.ReplayRequest)
	return err
}

func (r *Replay) config() consumer.Config {
	cfg := wiring.ConsumerConfig(r.replays.cfg, r.Version)
	cfg.Group, cfg.Replay, cfg.Reapply, cfg.Employee, cfg.StormShare = r.group(), true, r.Reapply, r.Employee, 0
	cfg.LiveGroup = r.replays.cfg.Kafka.Group
	cfg.Covers = append([]consumer.Range{}, r.ranges...) // never nil: of an empty range, nothing is run
	return cfg
}

func (r *Replay) consumerParts() consumer.Parts {
	p := r.replays.parts
	parts := consumer.Parts{
		Kafka: p.Kafka, Dialer: p.Dialer, Mapper: p.Mapping, Store: p.Store, Marks: p.Store, CRM: p.CRM, DeadLetters: p.DeadLetters,
		Archive: p.Archive, Control: p.Store, Observer: &r.tally, Tracer: p.Traces.Tracer(),
		Metrics: consumer.NewMetrics(prometheus.NewRegistry(), r.replays.cfg.CRM.ErrorCodes),
		Logger:  slog.New(warnings{p.Logger.Handler()}), EditDigest: p.EditDigest, Expired: r.tally.skipExpired,
	}
	if p.Hashes != nil {
		parts.Lookups = p.Hashes
	}
	if r.index != nil {
		parts.Items = r.index
	}
	if limiter, ok := wiring.NewLimiter(r.replays.cfg, p.Store); ok {
		parts.Limiter = limiter.ForReplay()
	}
	if r.Rate > 0 {
		var mu sync.Mutex
		pace := newPace(r.Rate)
		parts.Pace = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return pace.wait(ctx)
		}
	}
	return parts
}

// warnings lets only warnings through: the progress says the rest.
type warnings struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
