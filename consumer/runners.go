package consumer

import (
	"context"
	"sync"

	"membersync/consumer/event"
)

// runners are the goroutines that run batches. One whose batch has ended runs the next one, since
// its stack is large enough for a call already. As many stay as have run at a time.
type runners struct {
	running sync.WaitGroup
	next    chan *event.Batch // to one that waits
}

// start runs a batch in a goroutine, which ends with the context and not before its batch.
func (r *runners) start(ctx context.Context, b *event.Batch, run func(context.Context, *event.Batch)) {
	select {
	case r.next <- b:
	default:
		r.running.Go(func() {
			for b := b; b != nil; b = r.another(ctx) {
				run(ctx, b)
			}
		})
	}
}

// another waits for the next batch. Nil: no other one is started.
func (r *runners) another(ctx context.Context) *event.Batch {
	select {
	case b := <-r.next:
		return b
	case <-ctx.Done():
		return nil
	}
}
