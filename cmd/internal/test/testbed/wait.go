package testbed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	opLimit      = 60 * time.Second // of one thing that a server is asked for
	commandLimit = 3 * time.Minute  // of a script or a build
	closeLimit   = time.Minute      // of all that Close does
	poll         = 20 * time.Millisecond
)

var errLimit = errors.New("testbed: it took too long")

// Until asks again and again, until the answer is true, the context ends or asking fails for good. It waits
// between two questions, so that asking does not disturb what is measured.
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

// patiently is Until where an error may pass: the last one is told when time is up.
func patiently(ctx context.Context, what string, ask func(context.Context) (bool, error)) error {
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
