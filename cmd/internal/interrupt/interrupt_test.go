package interrupt_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"membersync/cmd/internal/interrupt"
)

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		signal os.Signal
		want   bool
	}{{syscall.SIGTERM, false}, {os.Interrupt, true}} {
		var signals chan<- os.Signal
		exits := make(chan int)
		ctx, stop := interrupt.Context(t.Context(), func(c chan<- os.Signal) { signals = c }, func(status int) { exits <- status })
		if ctx.Err() != nil || interrupt.Ended(ctx) {
			t.Error("ended before a signal")
		}
		signals <- tc.signal
		<-ctx.Done()
		if got := interrupt.Ended(ctx); got != tc.want {
			t.Errorf("%v: ended by Ctrl-C: %t", context.Cause(ctx), got)
		}
		signals <- syscall.SIGTERM
		if status := <-exits; status != interrupt.Status {
			t.Errorf("a second signal exits with %d", status)
		}
		stop()
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	ctx, stop := interrupt.Context(t.Context(), func(chan<- os.Signal) {}, nil)
	stop()
	if ctx.Err() == nil || interrupt.Ended(ctx) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}

func TestWithoutSignals(t *testing.T) {
	t.Parallel()
	ctx, stop := interrupt.Context(t.Context(), nil, nil)
	stop()
	if ctx != t.Context() {
		t.Error("another context")
	}
}
