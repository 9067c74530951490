package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"membersync/dedupe"
)

// A second Ctrl-C does not end the program at once: what it has started is ended first, which is bounded in time.
func main() {
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // that Redis is away comes as an error too, where it matters
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(status)
}
