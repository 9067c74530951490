package partlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"membersync/dlq/partlog/batch"
)

// A Cursor yields the committed records of one fetch. One goroutine uses it; only [Cursor.Close]
// may be called by another one.
type Cursor struct {
	// HighWatermark and LogStart are those of the partition.
	HighWatermark, LogStart int64
	// Size is the number of bytes that the fetch has returned, or would have.
	Size int64

	log   *Log
	place string // topic/partition, for errors
	from  int64

	mu       sync.Mutex // of all below
	closed   bool
	response []byte // all batches
	data     []byte // those that were not opened yet, after that which is open
	aborted  aborted
	reader   batch.Reader
	open     batch.Header
	isOpen   bool
	next     int64
	reserved int64 // of the budget's responses
	decoder  int64 // of the budget's decoders
	record   int64 // of the budget's records, for the latest record
}

// largeRecord is the size from which on a record needs room in the budget. Each reader holds one
// record that is smaller without that.
const largeRecord = 32 << 10

// Next returns the next record. It waits until the budget allows to inflate the batch, and to hold
// the record. Its errors
// are [io.EOF] at the end of the response and after Close; a [*batch.CorruptError], before which
// all records were returned; and the context's cause.
func (c *Cursor) Next(ctx context.Context) (batch.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keptLocked()
	for !c.closed {
		if !c.isOpen {
			if err := c.openLocked(ctx); err != nil {
				return batch.Record{}, err
			}
			continue
		}
		if n := c.reader.Peek(); n > largeRecord {
			if err := c.log.budget.Records.Reserve(ctx, n); err != nil {
				return batch.Record{}, err
			}
			c.record = n
		}
		rec, err := c.reader.Next()
		if err != nil { // the end of the batch
			c.isOpen = false
			c.next = max(c.next, c.open.LastOffset+1)
			continue
		}
		if c.next = rec.Offset + 1; rec.Rejection != nil {
			c.next = rec.Rejection.Last + 1
		}
		return rec, nil
	}
	return batch.Record{}, io.EOF
}

// Position is the offset to fetch from next. It is further than one past the latest record, where
// the log holds transaction markers, aborted records or nothing.
func (c *Cursor) Position() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// Kept tells the cursor that its caller accounts for the latest record now, or has dropped it. Next
// does that, too.
func (c *Cursor) Kept() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keptLocked()
}

// Reuse lets the next record have the memory of the latest one: the caller keeps nothing of it.
func (c *Cursor) Reuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reader.Reuse()
}

func (c *Cursor) keptLocked() {
	c.log.budget.Records.Release(c.record)
	c.record = 0
}

// Close gives the memory of the response back, whether all of it was read or not, but not that of
// the latest record, see Kept. Closing again does nothing.
func (c *Cursor) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.reader.Close()
	c.log.buffers.put(c.response)
	c.closed, c.isOpen, c.data, c.response = true, false, nil, nil
	c.log.budget.Responses.Release(c.reserved)
	c.log.budget.Decoders.Release(c.decoder)
	c.reserved, c.decoder = 0, 0
}

// reject lets the cursor return one record for a batch that is too large to be held.
func (c *Cursor) reject(h batch.Header) {
	if c.aborted.covers(&h) {
		c.next = h.LastOffset + 1
		return
	}
	c.reader.OpenRejected(h, c.from, fmt.Sprintf("the batch has %d bytes; the bound is %d", h.Size, c.log.batchBytes))
	c.open, c.isOpen = h, true
}

// openLocked opens the next batch that holds records to return.
func (c *Cursor) openLocked(ctx context.Context) error {
	for {
		data := c.data
		h, err := batch.Parse(data)
		if err == nil {
			err = h.Verify(data)
		}
		switch {
		case errors.Is(err, batch.ErrIncomplete) && (c.next > c.from || c.Size == 0):
			return io.EOF // the broker cuts its response anywhere, but not within the first batch
		case errors.Is(err, batch.ErrIncomplete):
			return fmt.Errorf("%s: %w", c.place, &batch.CorruptError{
				Offset: c.from, What: fmt.Sprintf("%d bytes were fetched, without a whole batch that reaches this offset", c.Size),
			})
		case err != nil:
			return fmt.Errorf("%s: %w", c.place, err)
		}
		c.data = data[h.Size:]
		switch {
		case h.IsControl():
			c.aborted.end(&h, batch.ReadMarker(h, data))
		case c.aborted.covers(&h), h.LastOffset < c.from:
		default:
			if err := c.reserveLocked(ctx, h, data); err != nil {
				return err
			}
			c.reader.Open(h, data, c.from, c.log.limits)
			c.open, c.isOpen = h, true
			return nil
		}
		c.next = max(c.next, h.LastOffset+1)
	}
}

// reserveLocked makes sure of the memory for the batch's codec. It is kept for further batches.
func (c *Cursor) reserveLocked(ctx context.Context, h batch.Header, data []byte) error {
	need, err := h.InflaterBytes(data)
	if err != nil || need > c.log.limits.InflaterBytes || need <= c.decoder {
		return nil //nolint:nilerr // the reader returns a rejection
	}
	c.reader.Close()
	c.log.budget.Decoders.Release(c.decoder)
	c.decoder = 0
	if err := c.log.budget.Decoders.Reserve(ctx, need); err != nil {
		return err
	}
	c.decoder = need
	return nil
}
