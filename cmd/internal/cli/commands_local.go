package cli

import (
	"context"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/interrupt"
)

func configCommand() command {
	return command{
		name: "config", short: "show the effective configuration and where each value came from",
		long: `Show the effective configuration: each setting with its value, and where that came from: default,
flag, environment, yaml or secret_file. Secrets are shown as ***. A wrong configuration is shown,
too, with all that is wrong on stderr and exit status 2. Nothing is reached.`,
		example: `  membersync config --config membersync.yaml

  # only what differs from the defaults
  membersync config -o json | jq 'select(.source != "default")'`,
		settings: config.Define, define: outputFlag,
		run: func(_ context.Context, in *invocation) int { return showConfig(in) },
	}
}

func healthcheckCommand() command {
	return command{
		name: "healthcheck", short: "exit 0 if the instance at the admin address is live",
		long: `Exit 0 if the instance at the admin address is live, and 1 if it is not or does not answer within
3 s. For health checks of containers: GET /livez. An address for all interfaces, such as :8080,
stands for loopback. Live does not mean ready: an instance that waits for Kafka is live.`,
		example:  "  membersync healthcheck",
		settings: config.DefineAdmin,
		define:   func(in *invocation, set *flags.Set) { outputFlag(in, set) },
		run: func(ctx context.Context, in *invocation) int {
			ctx, stop := interrupt.Context(ctx, in.Notify, in.Exit)
			defer stop()
			return askHealth(ctx, in)
		},
	}
}
