package intake

import (
	"context"
	"errors"
	"hash/crc32"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// A topic can be deleted and created again between two fetches. As long as it is shorter than
// before, the broker refuses the offset. If it has grown beyond that by then, its first records
// would be stepped over. So records count as those of the topic that was read before only if the
// last record read is still in its place. Topic ids (KIP-516) would be simpler, but kafka-go's
// metadata and fetch requests are older than these.

// errRecreated: the last record read has another one in its place.
var errRecreated = errors.New("intake: the topic was recreated")

// lastRead identifies the last record that was read from a partition.
type lastRead struct {
	stamp  watermark.Stamp // Stamp.Offset is -1 if no record is known
	sum    uint32          // of key and value
	hasSum bool            // false for a record that is known from the commit only
}

func lastOf(rec source.Record) lastRead {
	return lastRead{
		stamp: watermark.Stamp{Offset: rec.Offset, Time: rec.Time}, sum: sumOf(rec), hasSum: true,
	}
}

func sumOf(rec source.Record) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(rec.Key), crc32.IEEETable, rec.Value)
}

// isReplacedBy reports whether a record at the same offset is a different one.
func (l lastRead) isReplacedBy(rec source.Record) bool {
	return !hasStamp(rec, l.stamp) || l.hasSum && sumOf(rec) != l.sum
}

// fetch returns the records from an offset on. It returns errRecreated if the topic was recreated
// since the last record was read.
func (r *reader) fetch(ctx context.Context, offset int64) (source.Batch, error) {
	batch, err := r.log.Fetch(ctx, r.part.topic, r.part.id, offset)
	if err != nil || len(batch.Records) == 0 {
		return batch, err
	}
	// After that fetch: a topic that is recreated in between is noticed at the next one.
	if err := r.verifyLast(ctx); err != nil {
		return source.Batch{}, err
	}
	r.part.last = lastOf(batch.Records[len(batch.Records)-1])
	return batch, nil
}

// verifyLast reads the last record again. If it is gone (retention, compaction), nothing is known.
func (r *reader) verifyLast(ctx context.Context) error {
	last := r.part.last
	if last.stamp.Offset < 0 {
		return nil
	}
	batch, err := r.look.Fetch(ctx, r.part.topic, r.part.id, last.stamp.Offset)
	if _, gone := errors.AsType[*source.OutOfRangeError](err); gone {
		return nil
	}
	if err != nil || len(batch.Records) == 0 || batch.Records[0].Offset != last.stamp.Offset {
		return err
	}
	if last.isReplacedBy(batch.Records[0]) {
		return errRecreated
	}
	return nil
}

// restart continues at the start of a topic that was recreated.
func (r *reader) restart(ctx context.Context, from int64) (int64, error) {
	first, _, err := r.offsets.Bounds(ctx, r.part.topic, r.part.id)
	if err != nil {
		return from, err
	}
	r.gap(ctx, "the last record read is a different one: the topic was recreated", from, first, 1)
	r.reopen(first)
	return first, nil
}

// reopen begins the account again, since offsets are used again.
func (r *reader) reopen(first int64) {
	r.accounts.reopen(r.part, first)
	r.part.last = lastRead{stamp: watermark.Stamp{Offset: -1}}
}
