package intake

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"time"

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
	// fetched is when a fetch last succeeded. It is the zero time after an error, so that the next one
	// is verified.
	fetched time.Time
}

func (l *lastRead) set(rec source.Record) {
	l.stamp, l.sum, l.hasSum = watermark.Stamp{Offset: rec.Offset, Time: rec.Time}, sumOf(rec), true
}

func sumOf(rec source.Record) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(rec.Key), crc32.IEEETable, rec.Value)
}

// isReplacedBy reports whether a record at the same offset is a different one.
func (l lastRead) isReplacedBy(rec source.Record) bool {
	return !hasStamp(rec, l.stamp) || l.hasSum && sumOf(rec) != l.sum
}

// verifyAfter is how long after a fetch the last record is looked at again. With less, the topic
// would have to be deleted, created again and filled between two fetches of which none failed.
const verifyAfter = 250 * time.Millisecond

// verifyLast is called after a fetch, before its records are taken in, so that a topic that is
// recreated in between is noticed at the next one. It returns errRecreated if the topic was
// recreated since the last record was read. If that record is gone (retention, compaction), nothing
// is known.
func (r *reader) verifyLast(ctx context.Context) error {
	before := r.part.last.fetched
	r.part.last.fetched = time.Now()
	if r.part.last.stamp.Offset < 0 || r.part.last.fetched.Sub(before) < verifyAfter {
		return nil
	}
	rec, err := r.lookAt(ctx, r.part.last.stamp.Offset)
	if _, gone := errors.AsType[*source.OutOfRangeError](err); gone || errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		r.part.last.fetched = before
		return err
	}
	if rec.Offset == r.part.last.stamp.Offset && r.part.last.isReplacedBy(rec) {
		return errRecreated
	}
	return nil
}

// lookAt reads the record at an offset, or the next one that there is; [io.EOF]: none.
func (r *reader) lookAt(ctx context.Context, at int64) (source.Record, error) {
	c, err := r.logs.of(r.part.topic).look.Open(ctx, r.part.topic, r.part.id, at, minFetch)
	if err != nil {
		return source.Record{}, err
	}
	defer c.Close()
	defer c.Kept()
	return c.Next(ctx)
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
