package cli

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
// process at once. Stop waits for the goroutine behind it.
func (a *app) withSignals(ctx context.Context) (_ context.Context, stop func()) {
	if a.Notify == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	a.Notify(signals)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					a.Exit(exitInterrupted)
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

// interrupted reports whether Ctrl-C ended the context.
func interrupted(ctx context.Context) bool {
	cause, ok := errors.AsType[*signalError](context.Cause(ctx))
	return ok && cause.signal == os.Interrupt
}
