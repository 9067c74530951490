package intake

import (
	"context"

	"golang.org/x/sync/semaphore"

	"membersync/dlq/partlog"
)

// A buffer bounds the memory for the records of one topic. It is safe for concurrent use.
//
// Most of its bytes are for records. A quarter is for what fetches return, reserved before each
// fetch, and for the codecs that inflate it, and a sixteenth for looks at single records. What
// waits for a record or a look holds a fetch, and never the other way around, so they cannot wait
// for each other.
type buffer struct {
	records room
	waiting *partlog.Memory // of records that have given their place back, and are not finished
	fetches partlog.Budget
	looks   partlog.Budget
	full    func() // called before a record has to wait
}

// A room is for so many records, and for so many bytes of them.
type room struct {
	records, bytes *semaphore.Weighted
	maxBytes       int64
}

func newRoom(records int, bytes int64) room {
	return room{
		records: semaphore.NewWeighted(int64(max(records, 1))), bytes: semaphore.NewWeighted(max(bytes, 1)),
		maxBytes: max(bytes, 1),
	}
}

// fetchShare and lookShare are the parts of a buffer's bytes that fetches and looks use, as
// divisors.
const (
	fetchShare = 4
	lookShare  = 16
)

func newBuffer(records int, bytes int64, full func()) *buffer {
	forRecords := bytes - bytes/fetchShare - bytes/lookShare
	return &buffer{
		records: newRoom(records, forRecords),
		waiting: partlog.NewMemory(asideFactor * bytes),
		fetches: partlog.NewBudget(bytes / fetchShare),
		looks:   partlog.NewBudget(bytes / lookShare),
		full:    full,
	}
}

// redriveShare is the part of the memory that the redrive topic keeps, as a divisor: a backlog of
// the source topic does not delay redrives.
const redriveShare = 20

// buffers are those of the topics.
type buffers struct {
	source   *buffer
	redrives *buffer // nil: no redrive topic
	topic    string  // the source topic
}

func (b buffers) of(topic string) *buffer {
	if topic == b.topic || b.redrives == nil {
		return b.source
	}
	return b.redrives
}

func newBuffers(cfg *Config, full func()) buffers {
	if cfg.Redrives == "" {
		return buffers{source: newBuffer(cfg.BufferRecords, cfg.BufferBytes, full), topic: cfg.Topic}
	}
	records, bytes := cfg.BufferRecords/redriveShare, cfg.BufferBytes/redriveShare
	return buffers{
		source:   newBuffer(cfg.BufferRecords-records, cfg.BufferBytes-bytes, full),
		redrives: newBuffer(records, bytes, full),
		topic:    cfg.Topic,
	}
}

// admit waits until a record of the size, in bytes, fits. One that is larger than the bound is
// admitted alone: it takes all there is.
func (b *buffer) admit(ctx context.Context, size int64) error {
	if err := b.acquire(ctx, b.records.records, 1); err != nil {
		return err
	}
	if err := b.acquire(ctx, b.records.bytes, b.records.clip(size)); err != nil {
		b.records.records.Release(1)
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

// What was unfinished once had its place in some process's buffer. After a rebalance to fewer
// processes, a lane can wait for an event that is further on than one buffer reaches, so more is
// set aside than the buffer holds: asideFactor times its bytes, where each record costs asideBytes
// more than its own. Beyond that, reading stops until what is waited for expires.
const (
	asideFactor = 2
	asideBytes  = 2 << 10
)

// setAside gives a record's place to another record, and reports whether there was room for that.
func (b *buffer) setAside(size int64) bool {
	if !b.waiting.TryReserve(size + asideBytes) {
		return false
	}
	b.records.release(size)
	return true
}

// returnAside is the counterpart of setAside for a record that is finished.
func (b *buffer) returnAside(size int64) { b.waiting.Release(size + asideBytes) }

func (r *room) release(size int64) {
	r.bytes.Release(r.clip(size))
	r.records.Release(1)
}

func (r *room) clip(size int64) int64 { return min(size, r.maxBytes) }

const (
	maxFetch = 256 << 10 // more does not make reading faster
	minFetch = 1 << 10
)

// fetchBytes is what a fetch requests while so many partitions share the buffer.
func (b *buffer) fetchBytes(partitions int) int64 {
	share := b.fetches.Responses.Bytes() / int64(max(partitions, 1))
	return min(max(share, minFetch), maxFetch)
}
