package dlq

import (
	"context"
	"errors"
	"fmt"

	"membersync/dlq/partlog"
)

// A redrive runs only on evidence: the dead letter and the audit record that it names. This file
// reads both.

var (
	// ErrNoDeadLetter is returned when the DLQ holds no dead letter at a place.
	ErrNoDeadLetter = errors.New("dlq: there is no dead letter at this place")
	// ErrNoAuditRecord is returned when the audit topic holds no audit record at a place.
	ErrNoAuditRecord = errors.New("dlq: there is no audit record at this place")
)

// An ExpiredError reports that a place is below the first offset that its topic still holds.
// Whether a record ever was there is not known any more.
type ExpiredError struct {
	What  string // "dead letter" or "audit record"
	Place Place
	First int64 // the first offset that the partition holds
}

// Error names the place.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("dlq: the %s at %s has expired: retention has removed all below offset %d of its partition", e.What, e.Place, e.First)
}

// errNotStable reports a record above the last stable offset.
var errNotStable = errors.New("dlq: a transaction in this partition is open, so the record cannot be read yet")

// DeadLetter reads the dead letter at a place, with its value. It fails with [ErrNoDeadLetter],
// with an [*ExpiredError], or with any other error while the DLQ cannot be read.
func (r *Reader) DeadLetter(ctx context.Context, at Place) (DeadLetter, error) {
	err := r.locate(ctx, r.topics.DLQ, at, "dead letter", ErrNoDeadLetter)
	if err != nil {
		return DeadLetter{}, err
	}
	b := newBuffer(r, []*entry{{at: at}}, true)
	d, err := b.get(ctx, at)
	_, foreign := errors.AsType[*FormatError](err)
	if foreign || errors.Is(err, errRemoved) {
		return DeadLetter{}, ErrNoDeadLetter
	}
	return d, err
}

// AuditRecord reads the audit record at a place. It fails with [ErrNoAuditRecord], with an
// [*ExpiredError], or with any other error while the audit topic cannot be read.
func (r *Reader) AuditRecord(ctx context.Context, at Place) (a AuditRecord, err error) {
	if err := r.locate(ctx, r.topics.Audit, at, "audit record", ErrNoAuditRecord); err != nil {
		return a, err
	}
	found := false
	_, err = r.tail.Page(ctx, r.topics.Audit, at.Partition, at.Offset, func(rec *partlog.Record) error {
		if rec.Offset != at.Offset {
			return nil
		}
		value, err := rec.Value()
		if err != nil {
			return err
		}
		a, err = ParseAudit(value)
		found = err == nil
		return nil
	})
	_, outOfRange := errors.AsType[*partlog.OutOfRangeError](err)
	switch {
	case outOfRange || err == nil && !found: // removed since, or another topic of the same name
		return AuditRecord{}, ErrNoAuditRecord
	case err != nil:
		return AuditRecord{}, fmt.Errorf("dlq: reading %s: %w", r.topics.Audit, err)
	}
	return a, nil
}

// locate reports whether a topic can hold a record at a place: nil if it can, missing if it does
// not, an [*ExpiredError] if it has removed it.
func (r *Reader) locate(ctx context.Context, topic string, at Place, what string, missing error) error {
	ranges, err := r.ranges(ctx, topic)
	if err != nil {
		return err
	}
	within, ok := ranges[at.Partition]
	switch {
	case !ok:
		return missing
	case at.Offset < within.First:
		return &ExpiredError{what, at, within.First}
	case at.Offset < within.End:
		return nil
	}
	// Above the last stable offset: a transaction of another producer can hide what is there.
	end, err := r.log.HighWatermark(ctx, topic, at.Partition)
	switch {
	case err != nil:
		return fmt.Errorf("dlq: %w", err)
	case at.Offset < end:
		return errNotStable
	}
	return missing
}
