package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/cmd/internal/admin"
	"membersync/cmd/internal/config"
	"membersync/cmd/internal/dryrun"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/otlp"
	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/dedupe"
)

var errServed = errors.New("the service has ended")

func runService(ctx context.Context, in *invocation) int {
	checkDryRun(in)
	cfg, ok := in.configuration(config.Load)
	if !ok {
		return exitUsage
	}
	if in.dryRun.on {
		cfg.Kafka.Group = dryGroup(cfg.Kafka.Group)
	}
	parts, err := in.build(cfg, !in.dryRun.on)
	if err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	defer parts.Close()
	boundMemory(in, cfg.Kafka, parts.Traces != nil)
	run := &running{
		cfg: cfg, parts: parts, board: &board{}, registry: prometheus.NewRegistry(),
		version: buildOf(in.Env), observer: in.Observer, listener: in.AdminListener,
		logLevel: func() (slog.Level, error) { return config.LogLevel(in.settings, in.Environ, in.ReadFile) },
	}
	if in.dryRun.on {
		return runDry(ctx, in, run)
	}
	defer parts.Traces.CloseWithin(ctx, cfg.ShutdownTimeout)()
	return run.status(ctx, run.all(ctx, in.serve))
}

// build makes the parts, and tames the Redis library where the process is ours.
func (in *invocation) build(cfg config.Config, service bool) (*wiring.Parts, error) {
	env := wiring.Env{Log: in.Stderr, ReadFile: in.ReadFile, Service: service}
	if service {
		env.Traces = in.openTraces
	}
	parts, err := wiring.Build(cfg, env)
	if err == nil && in.Notify != nil {
		dedupe.SetClientLog(parts.Logger)
	}
	return parts, err
}

func (in *invocation) openTraces(log *slog.Logger) *otlp.Traces {
	return otlp.Open(context.Background(), otlp.Config{
		Environ: in.Environ, ReadFile: in.ReadFile, Version: buildOf(in.Env).Version, Log: log, OwnsProcess: in.Notify != nil,
	})
}

// A running is the service while it runs.
type running struct {
	cfg      config.Config
	parts    *wiring.Parts
	board    *board
	registry *prometheus.Registry
	metrics  *consumer.Metrics
	version  build
	observer consumer.Observer
	listener net.Listener               // nil: the admin server opens its own
	dry      *dryrun.Report             // not nil: nothing is done, only told
	logLevel func() (slog.Level, error) // as the configuration says now
}

// all runs the admin server, and with it the start and then the service.
func (r *running) all(ctx context.Context, serve service) (err error) {
	// What waits for Redis or Kafka can be watched too, and is not taken for an instance that is gone.
	r.registry.MustRegister(buildInfo(r.version))
	registerProcess(r.registry)
	r.metrics = consumer.NewMetrics(r.registry, r.cfg.CRM.ErrorCodes)
	if addr := r.cfg.Admin.Addr; addr != "" {
		server, err := r.serveAdmin(ctx, addr)
		if err != nil {
			return &refusedError{err}
		}
		defer func() { err = errors.Join(err, server.Stop(ctx)) }()
		r.parts.Logger.LogAttrs(ctx, slog.LevelInfo, "admin server listens", slog.String("addr", server.Addr()))
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	watch, stop := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { r.parts.Mapping.Watch(watch, r.parts.Logger) })
	watcher.Go(func() { wiring.FollowLevel(watch, r.parts.Level, r.logLevel, r.parts.Logger) })
	defer watcher.Wait()
	defer stop(errServed)
	return serve(ctx, r)
}

func (r *running) serveAdmin(ctx context.Context, addr string) (*admin.Server, error) {
	handler := admin.Handler(r.board, r.registry)
	if r.listener != nil {
		return admin.Serve(r.listener, handler, r.parts.Logger), nil
	}
	server, err := admin.Start(ctx, addr, handler, r.parts.Logger)
	if err != nil {
		return nil, fmt.Errorf("MEMBERSYNC_ADMIN_ADDR (or --admin-addr): %w", err)
	}
	return server, nil
}

// showStatus turns how the service ended into an exit status.
func (r *running) status(ctx context.Context, err error) int {
	stopped := ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)))
	refused, isRefused := errors.AsType[*refusedError](err)
	switch {
	case stopped && interrupt.Ended(ctx):
		return exitInterrupted
	case stopped || err == nil:
		return exitDone
	case isRefused:
		r.parts.Logger.LogAttrs(ctx, slog.LevelError, "cannot start", slog.String("error", refused.Error()))
		return exitUsage
	default:
		r.parts.Logger.LogAttrs(ctx, slog.LevelError, "service failed", slog.String("error", err.Error()))
		return exitFailed
	}
}

func buildInfo(b build) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "membersync_build_info", Help: "The binary: always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	g.Set(1)
	return g
}
