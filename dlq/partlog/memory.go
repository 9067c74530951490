package partlog

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// A Memory bounds bytes that several readers use at the same time. It is safe for concurrent use.
type Memory struct {
	bytes *semaphore.Weighted
	max   int64
}

// NewMemory returns a memory of so many bytes, one at least.
func NewMemory(bytes int64) *Memory {
	bytes = max(bytes, 1)
	return &Memory{semaphore.NewWeighted(bytes), bytes}
}

// Bytes is the size of the memory.
func (m *Memory) Bytes() int64 { return m.max }

// Reserve waits until so many bytes are free, or all of them if it is more than there are. The
// error is the context's cause.
func (m *Memory) Reserve(ctx context.Context, bytes int64) error {
	if err := m.bytes.Acquire(ctx, min(bytes, m.max)); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// TryReserve is [Memory.Reserve] without a wait. It reports whether so many bytes are free.
func (m *Memory) TryReserve(bytes int64) bool { return m.bytes.TryAcquire(min(bytes, m.max)) }

// Shrink gives back all but the rest of what one call has reserved.
func (m *Memory) Shrink(bytes, rest int64) {
	m.bytes.Release(min(bytes, m.max) - min(rest, bytes, m.max))
}

// Release gives back what one call has reserved.
func (m *Memory) Release(bytes int64) { m.Shrink(bytes, 0) }

// buffers are those of responses that were read: a full one has half a megabyte, which would be
// cleared and collected for each fetch. They are kept until the next collection. The zero value is
// ready for use, and safe for concurrent use.
type buffers struct{ pool sync.Pool }

// get returns so many bytes, with any content. A buffer that is much larger is not used: the bytes
// are what a budget has counted.
func (b *buffers) get(n int64) []byte {
	if kept, ok := b.pool.Get().(*[]byte); ok && int64(cap(*kept)) >= n && int64(cap(*kept)) <= n+n/4 {
		return (*kept)[:n]
	}
	return make([]byte, n)
}

// minKept is the least size that is worth to be kept.
const minKept = 16 << 10

func (b *buffers) put(buffer []byte) {
	if cap(buffer) >= minKept {
		b.pool.Put(&buffer)
	}
}

// A Budget is the memory that the fetches of several partitions share. What waits for a decoder
// holds a response, what waits for room for a large record holds both, and never the other way
// around. So they cannot wait for each other.
type Budget struct {
	Responses *Memory // what fetches have returned, before it is inflated
	Decoders  *Memory // what their codecs need
	Records   *Memory // large records that were read, until the reader accounts for them itself
}

// NewBudget divides so many bytes.
func NewBudget(bytes int64) Budget {
	return Budget{Responses: NewMemory(bytes * 2 / 5), Decoders: NewMemory(bytes * 2 / 5), Records: NewMemory(bytes / 5)}
}
