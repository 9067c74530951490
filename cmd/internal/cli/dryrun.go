package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/dryrun"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

// A dryRun is what was asked for of one.
type dryRun struct {
	order      // who wants to see values, and why
	on, values bool
}

// checkDryRun are flags that mean something in a dry run alone, or only together.
func checkDryRun(in *invocation) {
	o := in.dryRun
	if !o.on && o.values {
		in.fault("--show-values", "needs --dry-run")
	}
	if !o.on && in.output != outputTable {
		in.fault("-o", "needs --dry-run")
	}
	if o.values && strings.TrimSpace(o.note) == "" {
		in.fault("--note", "is required with --show-values: why")
	}
	if !o.values && o.note != "" {
		in.fault("--note", "needs --show-values")
	}
	if !o.values && o.actor != "" {
		in.fault("--actor", "needs --show-values")
	}
}

// dryGroup is a group that no other run has. Its offsets are of no use to any: what else a run
// remembers ends with it.
func dryGroup(group string) string {
	return group + ".dry-run." + strings.ToLower(rand.Text()[:8])
}

// runDry runs the service without letting it do anything, and prints the summary.
func runDry(ctx context.Context, in *invocation, r *running) int {
	object, err := wiring.Object(r.cfg.CRM, r.parts.Mapping)
	if err != nil { // the parts could not have been built
		in.complain(err.Error())
		return exitUsage
	}
	r.dry = dryrun.NewReport(in.Stdout, dryrun.Options{JSON: in.output == outputJSON, Values: in.dryRun.values, Object: object})
	if in.dryRun.values {
		// Before the start: what is not recorded is not shown, whatever happens later.
		if err := ops.RecordReveal(ctx, ops.Auditor(r.cfg, r.parts), r.cfg.Kafka.Topic, in.who(in.dryRun.order)); err != nil {
			return in.failed(ctx, err)
		}
		r.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "values of member fields are shown, as asked")
	}
	status := r.status(ctx, r.all(ctx, in.serve))
	if status != exitUsage {
		r.dry.Summary()
		r.dropGroup(ctx)
	}
	return status
}

// doNothing puts what does nothing in the places of what does.
func (r *running) doNothing(cfg *consumer.Config, parts *consumer.Parts) {
	cfg.Redrives = ""  // what is redriven is the service's: a result would go to the audit topic
	cfg.StormShare = 0 // all that would be dead-lettered is to be told
	cfg.Redrives = ""  // what was redriven belongs to the live service, and its results are written to the audit topic
	parts.Archive, parts.Audit = nil, nil
	parts.Store, parts.Marks = dryrun.NewMemory(r.cfg.State.Key.IsSet()), nil
	parts.CRM, parts.DeadLetters = r.dry, r.dry
	parts.Control, parts.Limiter, parts.EnsureTopics = nil, nil, nil
	parts.Observer = r.dry
	if r.observer != nil {
		parts.Observer = observers{r.dry, r.observer}
	}
}

// observers show the service to several.
type observers []consumer.Observer

// Decoded implements [consumer.Observer].
func (all observers) Decoded(rec mapper.Record, results []mapper.Result) {
	for _, o := range all {
		o.Decoded(rec, results)
	}
}

// Called implements [consumer.Observer].
func (all observers) Called(call consumer.CallAttempt) {
	for _, o := range all {
		o.Called(call)
	}
}

// Finished implements [consumer.Observer].
func (all observers) Finished(end consumer.EventResult) {
	for _, o := range all {
		o.Finished(end)
	}
}

var errNoSource = errors.New("unknown topic")

// startDry waits for the source topic, and for Redis where lookups are kept in it. It creates
// nothing.
func (r *running) startDry(ctx context.Context) error {
	if err := r.await(ctx, "redis", r.metrics.RedisPaused, r.startHashes); err != nil {
		return err
	}
	return r.await(ctx, "kafka", r.metrics.KafkaPaused, func(ctx context.Context) error {
		answer, err := r.parts.Kafka.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{r.cfg.Kafka.Topic}})
		switch {
		case dlq.IsUnavailable(err) || err != nil && ctx.Err() != nil:
			return fmt.Errorf("kafka: %w", err)
		case err != nil:
			return &refusedError{fmt.Errorf("kafka: %w", err)}
		case errors.Is(answer.Topics[0].Error, kafka.UnknownTopicOrPartition):
			return &refusedError{fmt.Errorf("kafka: topic %s: %w", r.cfg.Kafka.Topic, errNoSource)}
		case answer.Topics[0].Error != nil:
			return fmt.Errorf("kafka: topic %s: %w", r.cfg.Kafka.Topic,
				partlog.OnTopic("Describe", r.cfg.Kafka.Topic, answer.Topics[0].Error))
		}
		return nil
	})
}

const dropTimeout = 5 * time.Second

// dropGroup removes the run's own group, whose offsets are not needed any more. If that fails,
// Kafka forgets them in time.
func (r *running) dropGroup(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), dropTimeout, errStartTimeout)
	defer cancel()
	res, err := r.parts.Kafka.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{r.cfg.Kafka.Group}})
	if err == nil {
		err = partlog.OnGroup("Delete", r.cfg.Kafka.Group, res.Errors[r.cfg.Kafka.Group])
	}
	if err != nil {
		r.parts.Logger.LogAttrs(ctx, slog.LevelInfo, "own consumer group not removed", slog.String("error", err.Error()))
	}
}
