// Package interrupt ends contexts by signals.
package interrupt

import (
	"context"
	"errors"
	"os"
)

// Status is the exit status of a program that Ctrl-C ended: 128 + SIGINT, as in a POSIX shell.
const Status = 130

// An Error is the cause of a context that a signal ended.
type Error struct{ Signal os.Signal }

// Error names the signal.
func (e *Error) Error() string { return "signal: " + e.Signal.String() }

// Context returns a context that the first signal ends, with an [Error] as its cause. At the
// second, exit is called with [Status]: it ends the process at once. Notify has the signals sent to
// a channel, which has room for two; without it, ctx alone counts. Stop waits for the goroutine
// behind the context; it must be called once.
func Context(ctx context.Context, notify func(chan<- os.Signal), exit func(status int)) (_ context.Context, stop func()) {
	if notify == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	notify(signals)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n > 0 {
					exit(Status)
				}
				cancel(&Error{s})
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

// Ended reports whether Ctrl-C ended a context of [Context] or one derived from it.
func Ended(ctx context.Context) bool {
	cause, ok := errors.AsType[*Error](context.Cause(ctx))
	return ok && cause.Signal == os.Interrupt
}
