package main

import (
	"context"
	"errors"
	"os"
)

// A signalError is the cause of a context that a signal ended.
type signalError struct{ signal os.Signal }

// Error names the signal.
func (e *signalError) Error() string { return "signal: " + e.signal.String() }

// withSignals returns a context that the first signal ends. A second one ends the
// process at once.
func (e env) withSignals(ctx context.Context) (_ context.Context, stop func()) {
	if e.notify == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	signals, quit, done := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	e.notify(signals)
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					e.exit(exitInterrupted)
				}
				cancel(&signalError{s})
			case <-quit:
				return
			}
		}
	}()
	return ctx, func() {
		close(quit)
		<-done
		cancel(context.Canceled)
	}
}

// ended is the exit status after the context has ended.
func ended(ctx context.Context) int {
	if cause, ok := errors.AsType[*signalError](context.Cause(ctx)); ok && cause.signal == os.Interrupt {
		return exitInterrupted
	}
	return exitDone
}
