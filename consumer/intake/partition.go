package intake

import (
	"context"
	"errors"
	"log/slog"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// errMovedBounds: the log holds the offset after all. Fetch again.
var errMovedBounds = errors.New("intake: the bounds of the log have moved")

// read hands one partition's records to the handler until the context ends.
func (in *Intake) read(ctx context.Context, p *partition, stored source.Committed, groupIsNew bool) {
	offset, err := in.begin(ctx, p, stored, groupIsNew)
	if err != nil {
		return // the generation is over
	}
	retry := newBackoff()
	for ctx.Err() == nil {
		batch, err := in.log.Fetch(ctx, p.topic, p.id, offset)
		if _, gone := errors.AsType[*source.OutOfRangeError](err); gone {
			if offset, err = in.jump(ctx, p, offset); err == nil {
				continue
			}
		}
		if err != nil {
			in.kafkaFailed(ctx, p.key(), err)
			if sleep(ctx, retry.NextBackOff()) != nil {
				return
			}
			continue
		}
		retry.Reset()
		in.kafkaWorked(ctx, p.key())
		in.accounts.setEnd(p, batch.HighWatermark)
		for _, rec := range batch.Records {
			if in.take(ctx, p, rec) != nil {
				return // the generation is over; the next owner fetches what was not taken in
			}
		}
		offset = batch.Next
		in.skip(p, offset)
	}
}

// begin finds where to read from. If the group has stored nothing, it commits that at once: which records
// are read must not depend on a later choice.
func (in *Intake) begin(ctx context.Context, p *partition, stored source.Committed, groupIsNew bool) (int64, error) {
	retry := newBackoff()
	for {
		offset, end, err := in.startOffset(ctx, p, stored, groupIsNew)
		if err == nil {
			in.open(p, offset, end, stored)
			if stored.Offset < 0 {
				p.gen.commitSoon()
			}
			return offset, nil
		}
		in.kafkaFailed(ctx, p.key(), err)
		if err := sleep(ctx, retry.NextBackOff()); err != nil {
			return 0, err
		}
	}
}

// startOffset also returns the end of the log.
func (in *Intake) startOffset(
	ctx context.Context, p *partition, stored source.Committed, groupIsNew bool,
) (offset, end int64, err error) {
	first, end, err := in.offsets.Bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return 0, 0, err
	case stored.Offset < 0 && in.cfg.StartLatest && groupIsNew && p.topic == in.cfg.Topic:
		return end, end, nil
	case stored.Offset < 0:
		return first, end, nil
	case stored.Offset < first:
		in.gap(ctx, p, gapDeleted, stored.Offset, first, first-stored.Offset)
		return first, end, nil
	case stored.Offset > end:
		in.gap(ctx, p, "the log ends below the committed offset: it was recreated or lost its end", stored.Offset, first, 1)
		return first, end, nil
	}
	offset, err = in.sameTopic(ctx, p, stored, first)
	return offset, end, err
}

// sameTopic compares the record below the committed offset with what was stored with the commit. If they
// differ, the topic was recreated under its name.
func (in *Intake) sameTopic(ctx context.Context, p *partition, stored source.Committed, first int64) (int64, error) {
	at := stored.Stamp.Offset
	if at < first || at >= stored.Offset { // the record is gone, or none was stored
		return stored.Offset, nil
	}
	batch, err := in.log.Fetch(ctx, p.topic, p.id, at)
	if err != nil {
		return 0, err
	}
	if len(batch.Records) == 0 || batch.Records[0].Offset != at || hasStamp(batch.Records[0], stored.Stamp) {
		return stored.Offset, nil
	}
	in.gap(ctx, p, "the record below the committed offset is a different one: the topic was recreated", stored.Offset, first, 1)
	return first, nil
}

func hasStamp(r source.Record, stamp watermark.Stamp) bool {
	return r.Time.UnixMilli() == stamp.Time.UnixMilli()
}

// jump continues from the start of the log when the log does not hold the offset to fetch. The bounds in
// the error are not used: real brokers leave the start of the log out of it.
func (in *Intake) jump(ctx context.Context, p *partition, from int64) (int64, error) {
	first, end, err := in.offsets.Bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return from, err
	case from < first:
		in.gap(ctx, p, gapDeleted, from, first, first-from)
		in.skip(p, first)
		return first, nil
	case from > end:
		// It was recreated, or lost its end. The account begins again, since offsets are used again.
		in.gap(ctx, p, "the log ends below the offset to read: it was recreated or lost its end", from, first, 1)
		in.accounts.reopen(p, first)
		return first, nil
	}
	return from, errMovedBounds
}

const gapDeleted = "records were deleted before they were read"

func (in *Intake) gap(ctx context.Context, p *partition, what string, from, to, records int64) {
	in.parts.Metrics.Gap(records)
	in.logger.LogAttrs(ctx, slog.LevelError, "gap in the source topic; continuing from the start of the log",
		slog.String("what", what), slog.String("topic", p.topic), slog.Int("partition", p.id),
		slog.Int64("offset", from), slog.Int64("from", to), slog.Int64("records", records))
}

// open begins the account of a partition.
func (in *Intake) open(p *partition, offset, end int64, stored source.Committed) {
	if in.accounts.open(p, offset, end, stored) {
		in.parts.Backlog.Complete()
	}
}

// skip notes that everything below the offset was read.
func (in *Intake) skip(p *partition, next int64) {
	if in.accounts.skip(p, next) {
		in.parts.Backlog.Complete()
	}
}
