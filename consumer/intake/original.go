package intake

import (
	"context"
	"errors"
	"io"
	"time"

	"membersync/consumer/intake/source"
)

// Original reads one record of the source topic again. It reports false if the topic does not hold
// it now, holds another record in its place, or holds one that is still beyond the bounds. An error
// says that this is not known.
func (in *Intake) Original(ctx context.Context, partition int, offset int64, at time.Time) (rec source.Record, ok bool, err error) {
	c, err := in.logs.source.look.Open(ctx, in.cfg.Topic, partition, offset, minFetch)
	if _, gone := errors.AsType[*source.OutOfRangeError](err); gone {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, err
	}
	defer c.Close()
	defer c.Kept()
	rec, err = c.Next(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return rec, false, nil
	case err != nil:
		return rec, false, err
	}
	return rec, rec.Offset == offset && rec.Rejection == nil && rec.Time.UnixMilli() == at.UnixMilli(), nil
}
