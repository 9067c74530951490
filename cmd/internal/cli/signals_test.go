package cli

import (
	"context"
	"os"
	"syscall"
	"testing"
)

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		signal os.Signal
		want   bool
	}{{syscall.SIGTERM, false}, {os.Interrupt, true}} {
		var signals chan<- os.Signal
		exits := make(chan int)
		a := &app{Env: Env{Notify: func(c chan<- os.Signal) { signals = c }, Exit: func(code int) { exits <- code }}}
		ctx, stop := a.withSignals(t.Context())
		if ctx.Err() != nil || interrupted(ctx) {
			t.Error("ended before a signal")
		}
		signals <- tc.signal
		<-ctx.Done()
		if got := interrupted(ctx); got != tc.want {
			t.Errorf("%v: interrupted %t", context.Cause(ctx), got)
		}
		signals <- syscall.SIGTERM
		if code := <-exits; code != exitInterrupted {
			t.Errorf("a second signal exits with %d", code)
		}
		stop()
	}
}

func TestSignalsEnd(t *testing.T) {
	t.Parallel()
	a := &app{Env: Env{Notify: func(chan<- os.Signal) {}}}
	ctx, stop := a.withSignals(t.Context())
	stop()
	if ctx.Err() == nil || interrupted(ctx) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
}
