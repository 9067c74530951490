package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/dlq"
	"membersync/mapper"
)

// replaying is what replay is asked for.
type replaying struct {
	order
	from, to target
	employee string
	reapply  bool
	rate     int
	resume   string
}

// The json form of replay.
type replayedJSON struct {
	ID       string         `json:"id"`
	Result   string         `json:"result"`  // done, or stopped
	Records  int64          `json:"records"` // offsets of all ranges
	Done     int64          `json:"done"`    // of these, run so far
	Outcomes map[string]int `json:"outcomes"`
	Expired  int            `json:"expired"` // redrives whose dead letter or request retention has removed: skipped
}

func (in *invocation) replay(ctx context.Context, d *desk, o replaying) int {
	if o.resume == "" && !o.from.given && len(in.faults) == 0 {
		in.fault("--from", "is required, or --resume")
	}
	if o.resume != "" && (o.from.given || o.to.given || o.employee != "" || o.reapply) {
		in.fault("--resume", "goes on with what was asked for then: it takes no range, --employee or --reapply")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	err := d.stateRefusal(ctx)
	if err == nil && !o.dryRun { // a group that has not begun may have no marker yet, and the replay relies on one
		err = d.parts.Store.MarkInitialized(ctx, d.cfg.Kafka.Group)
	}
	if err != nil {
		return in.failed(ctx, err)
	}
	job := &replayJob{in: in, desk: d, replaying: o, id: o.resume, tally: map[string]int{}}
	if o.resume == "" {
		job.id = strings.ToLower(rand.Text()[:10])
		job.ranges, err = d.ranges(ctx, o)
	} else {
		err = job.recall(ctx)
	}
	if err != nil {
		return in.failed(ctx, err)
	}
	if o.dryRun {
		return job.plan(ctx)
	}
	if err := job.prepare(ctx); err != nil {
		return in.failed(ctx, err)
	}
	plan := fmt.Sprintf("replay %s: %d offsets of %s%s; done events are %s", job.id, job.total(), plural(len(job.ranges), "partition"),
		map[bool]string{true: ", of one employee alone"}[job.employee != ""], map[bool]string{true: "run again", false: "skipped"}[job.reapply])
	if !in.plan(o.order, plan, "Replay?") {
		return exitFailed
	}
	return job.do(ctx)
}

// ranges are the stretches that were asked for. A range by time is of the redrive topic too.
func (d *desk) ranges(ctx context.Context, o replaying) ([]consumer.Range, error) {
	topics := []string{d.cfg.Kafka.Topic}
	if o.from.offsets == nil && o.to.offsets == nil {
		topics = append(topics, wiring.Topics(d.cfg).Redrive)
	}
	if !o.to.given {
		o.to.latest = true
	}
	var all []consumer.Range
	for _, topic := range topics {
		first, spans, err := o.from.resolve(ctx, d, topic)
		if err != nil {
			return nil, err
		}
		end, _, err := o.to.resolve(ctx, d, topic)
		if err != nil {
			return nil, err
		}
		for p := range len(spans) {
			from, ok := first[p]
			to, bounded := end[p]
			if !bounded {
				to = spans[p].End
			}
			if ok && from < to {
				all = append(all, consumer.Range{Topic: topic, Partition: p, First: from, End: to})
			}
		}
	}
	return all, nil
}

// A replayJob is one run of replay. It watches the events as the service's observer.
type replayJob struct {
	replaying
	in     *invocation
	desk   *desk
	id     string
	ranges []consumer.Range // that were asked for
	reads  []consumer.Range // that are read: the redrive topic as a whole, for the redrives of the ranges' events
	index  *dlq.Index       // nil: there are no dead letters
	known  bool             // its record is in the audit topic already

	mu    sync.Mutex
	tally map[string]int
	gone  int // expired redrives
	at    consumer.ReplayProgress
	bar   progress
}

func (j *replayJob) group() string { return j.desk.cfg.Kafka.Group + ".replay." + j.id }

// prepare finds out what is to be read, and which events have dead letters. It comes after the end
// of the ranges is fixed.
func (j *replayJob) prepare(ctx context.Context) error {
	redrives := wiring.Topics(j.desk.cfg).Redrive
	j.reads = slices.DeleteFunc(slices.Clone(j.ranges), func(r consumer.Range) bool { return r.Topic == redrives })
	spans, err := j.desk.spans(ctx, redrives)
	if _, missing := errors.AsType[*dlq.MissingTopicError](err); err != nil && !missing {
		return err
	}
	for p := range len(spans) {
		if span := spans[p]; span.First < span.End {
			j.reads = append(j.reads, consumer.Range{Topic: redrives, Partition: p, First: span.First, End: span.End})
		}
	}
	j.index, err = j.in.survey(ctx, j.desk, dlq.Query{}, nil)
	if _, missing := errors.AsType[*dlq.MissingTopicError](err); missing {
		return nil
	}
	return err
}

func (j *replayJob) total() (n int64) {
	for _, r := range j.reads {
		n += r.End - r.First
	}
	return n
}

var (
	errNoReplay   = errors.New("the audit topic has no replay of this id")
	errReplayOver = errors.New("this replay has come to its end")
)

// recall finds in the audit topic what a replay was asked for.
func (j *replayJob) recall(ctx context.Context) error {
	over := false
	err := j.desk.reader.Audit(ctx, func(a dlq.AuditRecord) {
		if a.Action != dlq.ActionReplay || a.Subject != j.group() {
			return
		}
		over = over || a.Result == dlq.ResultDone
		if a.Result != dlq.ResultRequested || j.known {
			return
		}
		j.known, j.employee, j.reapply = true, a.Detail.Employee, a.Detail.Reapply
		for _, o := range a.Detail.Offsets {
			j.ranges = append(j.ranges, consumer.Range{Topic: o.Topic, Partition: o.Partition, First: o.From, End: o.To})
		}
	})
	switch {
	case err != nil:
		return err
	case over:
		return errReplayOver
	case !j.known:
		return errNoReplay
	}
	return nil
}

func (j *replayJob) record(result string) dlq.AuditRecord {
	r := dlq.AuditRecord{
		Actor: j.in.who(j.order), Action: dlq.ActionReplay, Subject: j.group(), Note: j.note, Result: result,
		Detail: dlq.Detail{Employee: j.employee, Reapply: j.reapply, Records: j.total()},
	}
	for _, one := range j.ranges {
		r.Detail.Offsets = append(r.Detail.Offsets, dlq.OffsetChange{Topic: one.Topic, Partition: one.Partition, From: one.First, To: one.End})
	}
	return r
}

func (j *replayJob) do(ctx context.Context) int {
	if !j.known {
		if err := j.disbelieve(ctx); err != nil {
			return j.in.failed(ctx, err)
		}
		if err := j.prepare(ctx); err != nil {
			return j.in.failed(ctx, err)
		}
		if err := j.desk.audit.Write(ctx, j.record(dlq.ResultRequested)); err != nil {
			return j.in.failed(ctx, err)
		}
	}
	j.bar = j.in.newProgress(int(j.total()))
	err := consumer.New(j.config(), j.consumerParts()).Replay(ctx, j.reads, j.show)
	j.bar.clear()
	result := dlq.ResultDone
	if err != nil {
		result = "stopped"
	}
	if recordErr := j.desk.audit.Write(context.WithoutCancel(ctx), j.record(result)); recordErr != nil {
		j.in.complain("the audit topic has no record of the end: " + recordErr.Error())
	}
	status := j.print(result)
	if err != nil {
		j.in.complain("to go on: membersync replay --resume " + j.id)
		return max(status, j.in.failed(ctx, err))
	}
	j.desk.dropGroup(ctx, j.group()) // nothing will go on from its offsets
	return status
}

// disbelieve sees to it that no event is left out for what the CRM held before it was set back. What was left out before the instances
// have heard of the new generation of digests is in the range, since that ends only now; what comes later, they send.
func (j *replayJob) disbelieve(ctx context.Context) error {
	if !j.reapply {
		return nil
	}
	if err := j.desk.parts.Store.InvalidateDigests(ctx); err != nil {
		return err
	}
	wait := cmp.Or(j.in.belief, consumer.DigestTrust)
	j.in.say(fmt.Sprintf("%v until no instance leaves out what the CRM held before\n", wait))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	var err error
	j.ranges, err = j.desk.ranges(ctx, j.replaying)
	return err
}

func (j *replayJob) print(result string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.in.output == outputJSON {
		return j.in.printJSON(replayedJSON{j.id, result, j.at.Total, j.at.Done, j.tally, j.gone})
	}
	j.in.print(fmt.Sprintf("replay %s %s: %d of %d offsets\n", j.id, result, j.at.Done, j.at.Total))
	for _, o := range consumer.Outcomes() {
		if n := j.tally[string(o)]; n > 0 {
			j.in.print(fmt.Sprintf("  %-14s %d\n", o, n))
		}
	}
	if j.gone > 0 {
		j.in.print(fmt.Sprintf("  %-14s %d\n", "expired", j.gone))
	}
	return exitDone
}

// expired notes a redrive that was left out. It implements the field of [consumer.Parts].
func (j *replayJob) expired() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gone++
}

func (j *replayJob) show(at consumer.ReplayProgress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at = at
	j.bar.show(int(at.Done))
}

func (j *replayJob) config() consumer.Config {
	cfg := (&running{cfg: j.desk.cfg, version: buildOf(j.in.Version)}).consumerConfig()
	cfg.Group, cfg.Replay, cfg.Reapply, cfg.Employee, cfg.StormShare = j.group(), true, j.reapply, j.employee, 0
	cfg.LiveGroup = j.desk.cfg.Kafka.Group
	cfg.Covers = append([]consumer.Range{}, j.ranges...) // never nil: of an empty range, nothing is run
	return cfg
}

func (j *replayJob) consumerParts() consumer.Parts {
	p := j.desk.parts
	registry := prometheus.NewRegistry()
	parts := consumer.Parts{
		Kafka: p.Kafka, Dialer: p.Dialer, Mapper: p.Mapping, Store: p.Store, CRM: p.CRM, DeadLetters: p.Letters,
		Archive: p.Archive, Control: p.Store, Observer: j, Metrics: consumer.NewMetrics(registry, j.desk.cfg.CRM.ErrorCodes),
		Logger: slog.New(quiet{p.Logger.Handler()}), EditDigest: p.EditDigest, Expired: j.expired,
	}
	if p.Hashes != nil {
		parts.Lookups = p.Hashes
	}
	if j.index != nil {
		parts.Items = j.index
	}
	if limiter, ok := wiring.NewLimiter(j.desk.cfg, p.Store); ok {
		parts.Limiter = limiter.ForReplay()
	}
	if j.rate > 0 {
		var mu sync.Mutex
		pace := newPace(j.rate)
		parts.Pace = func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			return pace.wait(ctx)
		}
	}
	return parts
}

// Decoded implements [consumer.Observer].
func (*replayJob) Decoded(mapper.Record, []mapper.Result) {}

// Called implements [consumer.Observer].
func (*replayJob) Called(consumer.CallAttempt) {}

// Finished implements [consumer.Observer].
func (j *replayJob) Finished(end consumer.EventResult) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tally[string(end.Outcome)]++
}

// quiet lets only warnings through: the progress tells the rest.
type quiet struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}
