package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], settingsFrom(os.Getenv))
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "alternatives:", err)
		os.Exit(1) //nolint:forbidigo // of main
	}
}

// run runs the system that args name until the context ends.
func run(ctx context.Context, args []string, s settings) error {
	if len(args) == 1 {
		switch args[0] {
		case "loop":
			return loop(ctx, s)
		case "watermill":
			return router(ctx, s)
		}
	}
	return fmt.Errorf("invalid arguments %q: want loop or watermill", args)
}

// settings are those of membersync that both systems need.
type settings struct {
	brokers, topic, group, deadLetters string
	redisURL, redisPrefix              string
	crmURL, corpID, token              string
}

func settingsFrom(getenv func(string) string) settings {
	of := func(name string) string { return getenv("MEMBERSYNC_" + name) }
	return settings{
		brokers: of("KAFKA_BROKERS"), topic: of("KAFKA_TOPIC"), group: of("KAFKA_GROUP"), deadLetters: of("KAFKA_TOPIC") + ".dlq",
		redisURL: of("REDIS_URL"), redisPrefix: of("REDIS_PREFIX"),
		crmURL: of("CRM_BASE_URL"), corpID: of("CRM_CORP_ID"), token: of("CRM_TOKEN"),
	}
}
