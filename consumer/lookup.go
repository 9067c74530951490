package consumer

import (
	"context"
	"errors"

	"membersync/mapper"
)

// A Lookups finds what records refer to outside of their mapping.
type Lookups interface {
	// Find returns what is there of the references. An error means that it is not known.
	Find(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error)
}

var errNoLookups = errors.New("consumer: the mapping refers to lookups that nobody serves")

// translate maps a record, once all that it refers to has been looked up. Where that cannot be done, it waits until it
// can: a record must not die of an outage. Its error is the end of the context.
func (e *engine) translate(ctx context.Context, in mapper.Record) ([]mapper.Result, error) {
	retry := newKafkaBackoff()
	for {
		results, err := e.tryTranslate(ctx, in)
		if err == nil {
			return results, nil
		}
		if err := sleep(ctx, retry.Next(err)); err != nil {
			return nil, err
		}
	}
}

// tryTranslate does it once. Lookups that fail pause calling, since they are kept where the state is.
func (e *engine) tryTranslate(ctx context.Context, in mapper.Record) ([]mapper.Result, error) {
	refs := e.parts.Mapper.References(in)
	if len(refs) == 0 {
		return e.parts.Mapper.MapWith(in, nil), nil
	}
	if e.parts.Lookups == nil {
		return nil, errNoLookups
	}
	found, err := e.parts.Lookups.Find(ctx, refs)
	if err != nil {
		e.redisFailed(ctx, "lookup", err)
		return nil, err
	}
	e.redisWorks(ctx)
	return e.parts.Mapper.MapWith(in, found), nil
}
