package testbed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	opLimit      = 60 * time.Second // of one operation of a server
	commandLimit = 3 * time.Minute  // of a script or a build
	closeLimit   = time.Minute      // of everything that Close does
	poll         = 20 * time.Millisecond
)

var errLimit = errors.New("testbed: time limit exceeded")

// Until asks repeatedly until the result is true, the context ends, or asking fails. It waits
// between two calls, so that asking does not disturb what is measured.
func Until(ctx context.Context, every time.Duration, ask func(context.Context) (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ask(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// retryUntil is Until for a question whose errors may pass. The last error is reported when the
// time is up.
func retryUntil(ctx context.Context, what string, ask func(context.Context) (bool, error)) error {
	var last error
	err := Until(ctx, poll, func(ctx context.Context) (bool, error) {
		done, err := ask(ctx)
		last = err
		return done && err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, errors.Join(err, last))
	}
	return nil
}
