package intake

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
	"membersync/consumer/wait"
)

// errMovedBounds: the log holds the offset after all. Fetch again.
var errMovedBounds = errors.New("intake: the bounds of the log have moved")

// A reader reads one partition. It uses the parts of its intake.
type reader struct {
	*Intake
	part *partition
	want int64 // bytes that the next fetch requests; 0: the partition's share

	fetchedAt time.Time // when Kafka answered the latest fetch
}

// read hands one partition's records to the handler until the context ends.
func (r *reader) read(ctx context.Context, stored source.Committed, groupIsNew bool) {
	offset, err := r.begin(ctx, stored, groupIsNew)
	if err != nil {
		return // the generation is over
	}
	r.readUntil(ctx, offset, math.MaxInt64)
}

// readUntil hands the records below the end to the handler, from the offset on. It returns at the
// end, or when the context ends.
func (r *reader) readUntil(ctx context.Context, offset, end int64) {
	retry := newBackoff()
	for ctx.Err() == nil && offset < end {
		next, err := r.readFetch(ctx, offset, end)
		switch _, gone := errors.AsType[*source.OutOfRangeError](err); {
		case errors.Is(err, errRecreated):
			next, err = r.restart(ctx, offset)
			if err == nil && end < math.MaxInt64 {
				next = end // nothing is left of the range
			}
		case gone:
			next, err = r.jump(ctx, offset)
			if err == nil && next <= offset && end < math.MaxInt64 {
				next = end // the topic was recreated: nothing is left of the range
			}
		case err == nil:
			retry.Reset()
		}
		if next != offset {
			offset = next
			r.skip(min(offset, end))
		}
		if err != nil {
			r.part.last.fetched = time.Time{}
			r.status.failed(ctx, r.part.key(), err)
			if wait.For(ctx, retry.NextBackOff()) != nil {
				return
			}
		}
	}
}

// readFetch fetches once, hands the records below the end to the handler, and returns the offset to
// continue from. After an error that is the offset of what could not be read; if the context has
// ended, the next owner fetches what was not taken in.
func (r *reader) readFetch(ctx context.Context, offset, end int64) (int64, error) {
	share := r.part.buffer().fetchBytes(r.part.gen.partitionsOf(r.part.topic))
	c, err := r.logs.of(r.part.topic).read.Open(ctx, r.part.topic, r.part.id, offset, max(r.want, share))
	if err != nil {
		return offset, err
	}
	defer c.Close()
	defer c.Kept()
	r.fetchedAt = time.Now()
	if err := r.verifyLast(ctx); err != nil {
		return offset, err
	}
	r.want = min(c.Size, r.part.buffer().fetches.Responses.Bytes()) // saves large batches a second request each
	r.accounts.setEnd(r.part, c.HighWatermark)
	park := time.AfterFunc(holdLimit, c.Close)
	defer park.Stop()
	for isFirst := true; ; isFirst = false {
		park.Stop()
		rec, err := c.Next(ctx)
		if isFirst && (err == nil || errors.Is(err, io.EOF)) {
			r.status.worked(ctx, r.part.key())
		}
		switch {
		case errors.Is(err, io.EOF):
			return c.Position(), nil
		case err != nil:
			return c.Position(), err
		case rec.Offset >= end:
			return end, nil
		}
		park.Reset(holdLimit)
		if err := r.take(ctx, c, rec); err != nil {
			return offset, err
		}
	}
}

// holdLimit is how long a reader whose record has to wait keeps what it has fetched. Then it gives
// that up, so that it takes no memory from the other partitions, and fetches it again later.
const holdLimit = 250 * time.Millisecond

// begin finds where to read from. If the group has stored nothing, it commits that at once: which
// records are read must not depend on a later choice.
func (r *reader) begin(ctx context.Context, stored source.Committed, groupIsNew bool) (int64, error) {
	retry := newBackoff()
	for {
		offset, end, err := r.startOffset(ctx, stored, groupIsNew)
		if err == nil {
			r.open(offset, end, stored)
			if stored.Offset < 0 {
				r.part.gen.commitSoon()
			}
			return offset, nil
		}
		r.status.failed(ctx, r.part.key(), err)
		if err := wait.For(ctx, retry.NextBackOff()); err != nil {
			return 0, err
		}
	}
}

// startOffset also returns the end of the log.
func (r *reader) startOffset(
	ctx context.Context, stored source.Committed, groupIsNew bool,
) (offset, end int64, err error) {
	first, end, err := r.offsets.Bounds(ctx, r.part.topic, r.part.id)
	switch {
	case err != nil:
		return 0, 0, err
	case stored.Offset < 0 && r.cfg.StartLatest && groupIsNew && r.part.topic == r.cfg.Topic:
		return end, end, nil
	case stored.Offset < 0:
		return first, end, nil
	case stored.Offset < first:
		r.gap(ctx, gapDeleted, stored.Offset, first, first-stored.Offset)
		return first, end, nil
	case stored.Offset > end:
		r.gap(ctx, "the log ends below the committed offset: it was recreated or lost its end", stored.Offset, first, 1)
		return first, end, nil
	}
	offset, err = r.sameTopic(ctx, stored, first)
	return offset, end, err
}

// sameTopic compares the record below the committed offset with what was stored with the commit. If
// they differ, the topic was recreated under its name.
func (r *reader) sameTopic(ctx context.Context, stored source.Committed, first int64) (int64, error) {
	at := stored.Stamp.Offset
	if at < first || at >= stored.Offset { // the record is gone, or none was stored
		return stored.Offset, nil
	}
	rec, err := r.lookAt(ctx, at)
	switch isGone := errors.Is(err, io.EOF); {
	case isGone:
		return stored.Offset, nil
	case err != nil:
		return 0, err
	case rec.Offset != at || hasStamp(rec, stored.Stamp):
		return stored.Offset, nil
	}
	r.gap(ctx, "the record below the committed offset is a different one: the topic was recreated", stored.Offset, first, 1)
	return first, nil
}

func hasStamp(rec source.Record, stamp watermark.Stamp) bool {
	return rec.Time.UnixMilli() == stamp.Time.UnixMilli()
}

// jump continues from the start of the log when the log does not hold the offset to fetch. The
// bounds in the error are not used: real brokers leave the start of the log out of it.
func (r *reader) jump(ctx context.Context, from int64) (int64, error) {
	first, end, err := r.offsets.Bounds(ctx, r.part.topic, r.part.id)
	switch {
	case err != nil:
		return from, err
	case from < first:
		r.gap(ctx, gapDeleted, from, first, first-from)
		return first, nil
	case from > end:
		r.gap(ctx, "the log ends below the offset to read: it was recreated or lost its end", from, first, 1)
		r.reopen(first)
		return first, nil
	}
	return from, errMovedBounds
}

const gapDeleted = "records were deleted before they were read"

func (r *reader) gap(ctx context.Context, what string, from, to, records int64) {
	r.parts.Metrics.Gap(records)
	r.logger.LogAttrs(ctx, slog.LevelError, "gap in the source topic; continuing from the start of the log",
		slog.String("what", what), slog.String("topic", r.part.topic), slog.Int("partition", r.part.id),
		slog.Int64("offset", from), slog.Int64("from", to), slog.Int64("records", records))
}

// open begins the account of a partition.
func (r *reader) open(offset, end int64, stored source.Committed) {
	r.part.last = lastRead{stamp: watermark.Stamp{Offset: -1}}
	if offset == stored.Offset {
		r.part.last.stamp = stored.Stamp
	}
	if r.accounts.open(r.part, offset, end, stored) {
		r.parts.Backlog.Complete()
	}
}

// skip notes that everything below the offset was read.
func (r *reader) skip(next int64) {
	if r.accounts.skip(r.part, next) {
		r.parts.Backlog.Complete()
	}
}

// take brings one record of a fetch in: it waits for memory, begins the record in the watermark,
// and hands it to the handler.
func (r *reader) take(ctx context.Context, c *source.Cursor, src source.Record) error {
	if r.parts.Pace != nil {
		if err := r.parts.Pace(ctx); err != nil {
			return err
		}
	}
	if err := r.parts.Handler.Await(ctx, r.part.topic); err != nil {
		return err
	}
	size := int32(min(src.Size(), math.MaxInt32)) //nolint:gosec // see the bound
	if err := r.part.buffer().admit(ctx, int64(size)); err != nil {
		return err
	}
	c.Kept()
	r.part.last.set(src)
	d := r.accounts.begin(r.part, src, size)
	d.FetchedAt = r.fetchedAt
	err := r.parts.Handler.Handle(ctx, d)
	if err != nil {
		r.accounts.abandon(d)
	}
	if r.part.topic == r.cfg.Topic { // what a redrive says of itself is kept
		c.Reuse()
	}
	return err
}
