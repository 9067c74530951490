package consumer

import (
	"context"
	"errors"
	"time"

	"membersync/consumer/gate"
	"membersync/crmapi"
	"membersync/dlq"
)

// A kind is what to do about an error of a call.
type kind uint8

const (
	kindAbandon   kind = iota // we are stopping: nothing is known and nothing is to be done
	kindNotSent               // the lease was too short for a call: acquire again
	kindPoison                // dead letter
	kindTransient             // backoff in the lane, on the event's budget
	kindOperator              // like transient, and everybody pauses unless a probe succeeds
	kindPause                 // everybody pauses; nothing is counted
)

// A judgement is the one place where an error becomes a course of action.
type judgement struct {
	kind  kind
	cause gate.Cause    // for kindOperator and kindPause
	floor time.Duration // of the pause
	final dlq.Reason    // for kindPoison, and what becomes of the event when its budget is used up
	quick bool          // an error code that is in no table: few attempts, whatever the others do
	lost  bool          // the CRM may still apply the call
	err   *crmapi.Error // nil only for kindAbandon and kindNotSent
}

// judge decides what to do about an error of [CRM.Modify]; ctx is the context
// of the call. See the table in DESIGN.md.
func judge(ctx context.Context, err error, now time.Time, reset func(time.Time) time.Time) judgement {
	var e *crmapi.Error
	switch {
	case errors.Is(err, crmapi.ErrTooLate):
		return judgement{kind: kindNotSent}
	case ctx.Err() != nil:
		return judgement{kind: kindAbandon}
	case !errors.As(err, &e): // the client promises typed errors; whatever this is, it must not lose an event
		e = &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}
	}
	j := judgement{err: e, lost: e.OutcomeUnknown, floor: e.RetryAfter, final: dlq.ReasonRetriesExhausted}
	switch e.Class {
	case crmapi.ClassPoison:
		j.kind, j.final = kindPoison, reasonOf(e.Reason)
	case crmapi.ClassThrottled:
		j.kind, j.cause = kindPause, gate.Throttled
	case crmapi.ClassQuota:
		j.kind, j.cause = kindPause, gate.Quota
		j.floor = max(j.floor, untilQuota(now, reset))
	case crmapi.ClassRefused:
		j.kind, j.cause, j.final = kindOperator, gate.Operator, dlq.ReasonCRMRejected
	case crmapi.ClassTransient, crmapi.ClassUnacknowledged, crmapi.ClassToken, crmapi.ClassSuccess: // the token could not be renewed just now
		j.kind = kindTransient
		if e.HasCode && !e.Known && !e.OutcomeUnknown { // of 408 and 5xx the status decides, whatever the code
			j.quick, j.final = true, dlq.ReasonCRMRejected
		}
	}
	return j
}

func reasonOf(r crmapi.Reason) dlq.Reason {
	switch r {
	case crmapi.ReasonNotFound:
		return dlq.ReasonCRMNotFound
	case crmapi.ReasonInvalid:
		return dlq.ReasonCRMInvalid
	case crmapi.ReasonRejected:
		return dlq.ReasonCRMRejected
	}
	return dlq.ReasonCRMRejected
}

// untilQuota waits for the reset but probes hourly, since the vendor may have sold more meanwhile.
func untilQuota(now time.Time, reset func(time.Time) time.Time) time.Duration {
	return min(reset(now).Sub(now), time.Hour)
}
