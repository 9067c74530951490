// Package wait waits in a way that a context can end.
package wait

import (
	"context"
	"time"
)

// For waits for the duration, and returns the context's cause if that ends first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
