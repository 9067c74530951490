package ops

import (
	"context"
	"errors"
	"fmt"

	"membersync/dlq"
)

// Discard closes the selected dead letters, and reports a result for each. With dryRun it changes
// nothing. An error means that not all were looked at.
func (s *DeadLetters) Discard(ctx context.Context, x *dlq.Index, who Who, dryRun bool, report func(ItemResult)) error {
	return s.discardAll(ctx, x, report, func(item dlq.Item, err error) ItemResult { return s.discard(ctx, item, err, who, dryRun) })
}

// discardPlanned is Discard of those items that are as a job has planned them.
func (s *DeadLetters) discardPlanned(
	ctx context.Context, x *dlq.Index, who Who, planned map[string]dlq.JobItem, report func(ItemResult),
) error {
	return s.discardAll(ctx, x, report, func(item dlq.Item, err error) ItemResult {
		if err == nil {
			if result, ok := settled(planned[item.ID], item); ok {
				return result
			}
		}
		return s.discard(ctx, item, err, who, false)
	})
}

func (s *DeadLetters) discardAll(ctx context.Context, x *dlq.Index, report func(ItemResult), one func(dlq.Item, error) ItemResult) error {
	defer missing(x, report)
	for item, err := range s.reader.Items(ctx, x, 0, false) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return errors.Join(err, ctx.Err())
		}
		report(one(item, err))
	}
	return nil
}

func (s *DeadLetters) discard(ctx context.Context, i dlq.Item, err error, who Who, dryRun bool) ItemResult {
	switch {
	case err != nil:
		return failedItem(i.ID, err.Error())
	case i.State == dlq.StateDiscarded:
		return ItemResult{ID: i.ID, Result: "discarded before"}
	case i.State != dlq.StateOpen:
		return failedItem(i.ID, fmt.Sprintf("its state is %s, not open", i.State))
	case dryRun:
		return ItemResult{ID: i.ID, Result: "would discard"}
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
