package intake

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// A buffer bounds the records in memory, by number and by bytes. It is safe for concurrent use.
type buffer struct {
	records, bytes *semaphore.Weighted
	maxBytes       int64
	full           func() // called before a record has to wait
}

func newBuffer(records int, bytes int64, full func()) *buffer {
	return &buffer{
		full:     full,
		records:  semaphore.NewWeighted(int64(records)),
		bytes:    semaphore.NewWeighted(bytes),
		maxBytes: bytes,
	}
}

// admit waits until a record of the size, in bytes, fits. One that is larger than the bound is
// admitted alone: it takes all there is.
func (b *buffer) admit(ctx context.Context, size int64) error {
	if err := b.acquire(ctx, b.records, 1); err != nil {
		return err
	}
	if err := b.acquire(ctx, b.bytes, b.clip(size)); err != nil {
		b.records.Release(1)
		return err
	}
	return nil
}

func (b *buffer) acquire(ctx context.Context, of *semaphore.Weighted, n int64) error {
	if of.TryAcquire(n) {
		return nil
	}
	b.full()
	if err := of.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (b *buffer) release(size int64) {
	b.bytes.Release(b.clip(size))
	b.records.Release(1)
}

func (b *buffer) clip(size int64) int64 { return min(size, b.maxBytes) }
