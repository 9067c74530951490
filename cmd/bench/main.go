package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"membersync/dedupe"
)

// A second Ctrl-C does not end the program at once: it first ends what it started, in bounded time.
func main() {
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // errors of Redis are reported where they matter
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(status)
}
