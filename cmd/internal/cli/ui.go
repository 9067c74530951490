package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/cmd/internal/admin"
	"membersync/cmd/internal/config"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/web"
)

func uiCommand() command {
	return command{
		name: "ui", short: "serve the web pages for operators",
		long: `Serve the web pages for operators: whether the service works, dead letters, employees, replays,
a place to try the mapping, and the audit topic. The process never calls the CRM. One is enough;
several do no harm. At MEMBERSYNC_UI_ADDR it also serves /livez and /metrics, without a login.

Beyond loopback, MEMBERSYNC_UI_TOKEN or MEMBERSYNC_UI_VIEWER_TOKEN is required. The pages have no
TLS of their own: put a proxy before them, which sets X-Forwarded-Proto.`,
		example: `  membersync ui --config membersync.yaml

  # for other machines, with a login
  MEMBERSYNC_UI_TOKEN_FILE=/run/secrets/ui membersync ui --ui-addr :8081`,
		settings: config.Define, define: outputFlag,
		run: func(ctx context.Context, in *invocation) int {
			ctx, stop := interrupt.Context(ctx, in.Notify, in.Exit)
			defer stop()
			return in.ui(ctx)
		},
	}
}

// The JSON form of ui, once the pages are served.
type uiJSON struct {
	URL string `json:"url"` // as this machine reaches them
}

// ui serves the pages until the context ends.
func (in *invocation) ui(ctx context.Context) int {
	cfg, ok := in.configuration(config.Load)
	if !ok {
		return exitUsage
	}
	if fault := uiFault(cfg.UI); fault != "" {
		in.complain(fault)
		return exitUsage
	}
	parts, err := in.build(cfg, false)
	if err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	defer parts.Close()
	operator, viewer, err := parts.UITokens(cfg.UI)
	if err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(buildInfo(buildOf(in.Env)))
	registerProcess(registry)
	pages, err := web.New(web.Options{
		Live: ops.New(cfg, parts).NewLive(), OperatorToken: operator, ViewerToken: viewer, UserHeader: cfg.UI.UserHeader,
		Loopback: cfg.UI.IsLoopback(), Logger: parts.Logger, Metrics: registry,
	})
	if err != nil {
		in.complain(err.Error())
		return exitFailed
	}
	var server *admin.Server
	if in.AdminListener != nil {
		server = admin.Serve(in.AdminListener, pages.Handler(), parts.Logger)
	} else if server, err = admin.Start(ctx, cfg.UI.Addr, pages.Handler(), parts.Logger); err != nil {
		in.complain("MEMBERSYNC_UI_ADDR (or --ui-addr): " + err.Error())
		return exitUsage
	}
	printPlace(in, uiJSON{"http://" + reachable(server.Addr()) + "/"})
	var all sync.WaitGroup
	all.Go(func() { pages.Run(ctx) })
	all.Go(func() { parts.Mapping.Watch(ctx, parts.Logger) })
	all.Wait()
	if err := server.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		in.complain(err.Error())
		return exitFailed
	}
	if interrupt.Ended(ctx) {
		return exitInterrupted
	}
	return exitDone
}

func printPlace(in *invocation, place uiJSON) {
	if in.output == outputJSON {
		in.printJSON(place)
		return
	}
	in.print("web pages: " + place.URL + "\n")
}

// uiFault says what is wrong with the settings of the pages; empty: nothing is.
func uiFault(ui config.UI) string {
	switch {
	case ui.Addr == "":
		return "MEMBERSYNC_UI_ADDR is empty; should be host:port or :port"
	case ui.NeedsToken():
		return "MEMBERSYNC_UI_ADDR " + ui.Addr + " can be reached from other machines: set MEMBERSYNC_UI_TOKEN or " +
			"MEMBERSYNC_UI_VIEWER_TOKEN (or _FILE), or listen at 127.0.0.1"
	}
	return ""
}
