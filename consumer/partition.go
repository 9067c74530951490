package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"membersync/consumer/source"
	"membersync/consumer/watermark"
	"membersync/crmapi"
)

// errMovedBounds: the log holds the offset after all. Fetch again.
var errMovedBounds = errors.New("consumer: the log's bounds have moved")

// read brings one partition's records into the lanes until the context ends.
func (s *Service) read(ctx context.Context, p *partition, stored source.Committed, groupIsNew bool) {
	offset, err := s.begin(ctx, p, stored, groupIsNew)
	if err != nil {
		return // the generation is over
	}
	retry := newKafkaBackoff()
	for ctx.Err() == nil {
		batch, err := s.log.Fetch(ctx, p.topic, p.id, offset)
		var gone *source.OutOfRangeError
		switch {
		case errors.As(err, &gone):
			if offset, err = s.jump(ctx, p, offset); err == nil {
				continue
			}
			fallthrough
		case err != nil:
			s.fetchFailed(ctx, p, err)
			if sleep(ctx, retry.Next(err)) != nil {
				return
			}
			continue
		}
		retry.Reset()
		s.kafkaWorks(ctx, s.statusKey(p))
		s.engine.setEnd(p, batch.HighWatermark)
		for _, rec := range batch.Records {
			if s.take(ctx, p, rec) != nil {
				return // the generation is over; what was not taken in is fetched again by whoever comes next
			}
		}
		offset = batch.Next
		s.engine.skip(p, offset)
	}
}

// begin finds where to read from, and commits that at once if the group has nothing
// stored: what arrives before the first commit must not depend on a later choice.
func (s *Service) begin(ctx context.Context, p *partition, stored source.Committed, groupIsNew bool) (int64, error) {
	retry := newKafkaBackoff()
	for {
		offset, end, err := s.startOffset(ctx, p, stored, groupIsNew)
		if err == nil {
			s.engine.open(p, offset, end, stored)
			if stored.Offset < 0 {
				p.gen.commitSoon()
			}
			return offset, nil
		}
		s.fetchFailed(ctx, p, err)
		if err := sleep(ctx, retry.Next(err)); err != nil {
			return 0, err
		}
	}
}

// startOffset also returns the log's end.
func (s *Service) startOffset(
	ctx context.Context, p *partition, stored source.Committed, groupIsNew bool,
) (offset, end int64, err error) {
	first, end, err := s.offsets.Bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return 0, 0, err
	case stored.Offset < 0 && s.cfg.StartLatest && groupIsNew && p.topic == s.cfg.Topic:
		return end, end, nil
	case stored.Offset < 0:
		return first, end, nil
	case stored.Offset < first:
		s.gap(ctx, p, "records were deleted before they were read", stored.Offset, first, first-stored.Offset)
		return first, end, nil
	case stored.Offset > end:
		s.gap(ctx, p, "the log ends below the committed offset: it was recreated or lost its end", stored.Offset, first, 1)
		return first, end, nil
	}
	offset, err = s.sameTopic(ctx, p, stored, first)
	return offset, end, err
}

// sameTopic compares the record below the committed offset with what was stored
// with the commit: if it is another one, the topic was made again under its name.
func (s *Service) sameTopic(ctx context.Context, p *partition, stored source.Committed, first int64) (int64, error) {
	at := stored.Stamp.Offset
	if at < first || at >= stored.Offset { // it is gone, or none was stored
		return stored.Offset, nil
	}
	batch, err := s.log.Fetch(ctx, p.topic, p.id, at)
	if err != nil {
		return 0, err
	}
	if len(batch.Records) == 0 || batch.Records[0].Offset != at || sameStamp(batch.Records[0], stored.Stamp) {
		return stored.Offset, nil
	}
	s.gap(ctx, p, "the record below the committed offset is another one: the topic was recreated", stored.Offset, first, 1)
	return first, nil
}

func sameStamp(r source.Record, stamp watermark.Stamp) bool {
	return r.Time.UnixMilli() == stamp.Time.UnixMilli()
}

// jump goes on from the log's start when the log no longer holds the offset to fetch. The
// error's own bounds are not used: real brokers leave the log's start out of it.
func (s *Service) jump(ctx context.Context, p *partition, from int64) (int64, error) {
	first, end, err := s.offsets.Bounds(ctx, p.topic, p.id)
	switch {
	case err != nil:
		return from, err
	case from < first:
		s.gap(ctx, p, "records were deleted before they were read", from, first, first-from)
		s.engine.skip(p, first)
		return first, nil
	case from > end:
		// It was recreated, or lost its end. The account begins anew, since offsets are used again.
		s.gap(ctx, p, "the log ends below the offset to read: it was recreated or lost its end", from, first, 1)
		s.engine.reopen(p, first)
		return first, nil
	}
	return from, errMovedBounds
}

func (s *Service) gap(ctx context.Context, p *partition, what string, from, to, records int64) {
	s.parts.Metrics.gap(records)
	s.logger.LogAttrs(ctx, slog.LevelError, "gap in the source topic; reading on from the start of the log",
		slog.String("what", what), slog.String("topic", p.topic), slog.Int("partition", p.id),
		slog.Int64("offset", from), slog.Int64("from", to), slog.Int64("records", records))
}

// open begins the account of a partition.
func (e *engine) open(p *partition, offset, end int64, stored source.Committed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.mark, p.committed, p.end, p.target = watermark.New(offset), stored.Offset, offset, end
	defer e.checkGathered()
	if offset == stored.Offset {
		p.mark.Restore(stored.Stamp)
	}
}

// reopen begins the account anew at a lower offset. Records of the old account
// finish without counting.
func (e *engine) reopen(p *partition, offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.epoch++
	p.mark, p.end, p.target = watermark.New(offset), offset, offset
}

func (e *engine) skip(p *partition, next int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.mark.Skip(next)
	e.checkGathered()
}

func (e *engine) setEnd(p *partition, end int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.end = end
}

func newKafkaBackoff() *crmapi.Backoff {
	return crmapi.NewBackoff(crmapi.BackoffConfig{Initial: 200 * time.Millisecond, Max: 5 * time.Second})
}

// sleep waits, and returns the context's cause if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
