package ops

import (
	"context"
	"errors"
	"fmt"

	"membersync/dlq"
)

// PreviewDiscard reports what Discard would do with each selected dead letter. An error means that
// not all were looked at.
func (s *DeadLetters) PreviewDiscard(ctx context.Context, x *dlq.Index, report func(ItemResult)) error {
	defer missing(x, report)
	return s.eachItem(ctx, x, func(item dlq.Item, err error) {
		result, ok := refusedDiscard(item, err)
		if !ok {
			result = ItemResult{ID: item.ID, Result: "would discard"}
		}
		report(result)
	})
}

// Discard closes the selected dead letters that are still as the selection has them, and reports a
// result for each. An error means that not all were looked at.
func (s *DeadLetters) Discard(ctx context.Context, x *dlq.Index, who Who, report func(ItemResult)) error {
	defer missing(x, report)
	return s.discardPlanned(ctx, x.JobItems(), who, report)
}

// discardPlanned discards those items that are as they were planned.
func (s *DeadLetters) discardPlanned(ctx context.Context, items []dlq.JobItem, who Who, report func(ItemResult)) error {
	if len(items) == 0 { // a query without ids would be one of all items
		return nil
	}
	now, err := s.Index(ctx, dlq.Query{IDs: idsOf(items)}, nil)
	if err != nil {
		return err
	}
	defer missing(now, report)
	planned := byID(items)
	return s.eachItem(ctx, now, func(item dlq.Item, err error) {
		result, ok := ItemResult{}, false
		if err == nil {
			result, ok = settled(planned[item.ID], item)
		}
		if !ok {
			result = s.discard(ctx, item, err, who)
		}
		report(result)
	})
}

func (s *DeadLetters) eachItem(ctx context.Context, x *dlq.Index, visit func(dlq.Item, error)) error {
	for item, err := range s.reader.Items(ctx, x, 0, false) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return errors.Join(err, ctx.Err())
		}
		visit(item, err)
	}
	return nil
}

// refusedDiscard returns the result for an item that cannot be discarded. Not ok: it can.
func refusedDiscard(i dlq.Item, err error) (result ItemResult, ok bool) {
	switch {
	case err != nil:
		return failedItem(i.ID, err.Error()), true
	case i.State == dlq.StateDiscarded:
		return ItemResult{ID: i.ID, Result: "discarded before"}, true
	case i.State != dlq.StateOpen:
		return failedItem(i.ID, fmt.Sprintf("its state is %s, not open", i.State)), true
	}
	return ItemResult{}, false
}

func (s *DeadLetters) discard(ctx context.Context, i dlq.Item, err error, who Who) ItemResult {
	if result, ok := refusedDiscard(i, err); ok {
		return result
	}
	err = s.audit.Write(ctx, dlq.AuditRecord{
		Actor: who.Actor, Action: dlq.ActionDiscard, Subject: i.ID, Note: who.Note, Result: dlq.ResultDone,
		Detail: dlq.Detail{Number: i.Number},
	})
	if err != nil {
		return failedItem(i.ID, err.Error())
	}
	return ItemResult{ID: i.ID, Result: "discarded"}
}
