package deliver

import (
	"context"
	"errors"
	"time"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dlq"
)

// Classify is the one place where an error of [Deliverer.Send] becomes a decision; ctx is the
// context of the call. DESIGN.md of package consumer has the table.
func (d *Deliverer) Classify(ctx context.Context, err error, now time.Time) event.Decision {
	return classify(ctx, err, now, d.cfg.QuotaReset)
}

func classify(ctx context.Context, err error, now time.Time, reset func(time.Time) time.Time) event.Decision {
	var e *crmapi.Error
	switch {
	case errors.Is(err, crmapi.ErrTooLate):
		return event.Decision{Kind: event.KindNotSent}
	case ctx.Err() != nil:
		return event.Decision{Kind: event.KindAbandon}
	case !errors.As(err, &e): // the client promises typed errors; whatever this is, it must not lose an event
		e = &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}
	}
	decision := event.Decision{Err: e, OutcomeUnknown: e.OutcomeUnknown, Floor: e.RetryAfter, Final: dlq.ReasonRetriesExhausted}
	switch e.Class {
	case crmapi.ClassPoison:
		decision.Kind, decision.Final = event.KindPoison, reasonOf(e.Reason)
	case crmapi.ClassThrottled:
		decision.Kind, decision.Cause = event.KindPause, event.CauseThrottled
	case crmapi.ClassQuota:
		decision.Kind, decision.Cause = event.KindPause, event.CauseQuota
		decision.Floor = max(decision.Floor, untilReset(now, reset))
	case crmapi.ClassRefused:
		decision.Kind, decision.Cause, decision.Final = event.KindRefused, event.CauseRefused, dlq.ReasonCRMRejected
	case crmapi.ClassTransient, crmapi.ClassUnacknowledged,
		crmapi.ClassToken, // it could not be renewed just now
		crmapi.ClassSuccess:
		decision.Kind = event.KindTransient
		if e.HasCode && !e.Known && !e.OutcomeUnknown { // of 408 and 5xx the status decides, whatever the code
			decision.UnknownCode, decision.Final = true, dlq.ReasonCRMRejected
		}
	}
	return decision
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

// untilReset waits for the quota's reset, but an hour at most: the vendor may have sold more since.
func untilReset(now time.Time, reset func(time.Time) time.Time) time.Duration {
	return min(reset(now).Sub(now), time.Hour)
}

// The waits after a failed call or a failed write to the dead-letter topic.
const (
	backoffFirst      = 500 * time.Millisecond
	backoffMax        = 30 * time.Second
	deadLetterBackoff = 10 * time.Second
)

// Backoff returns how long the lane waits after an error: exponential with full jitter, 0.5 s to 30
// s. What the server asked for is the least.
func Backoff(s *event.LaneState, err error) time.Duration {
	if s.Backoff == nil {
		s.Backoff = crmapi.NewBackoff(crmapi.BackoffConfig{Initial: backoffFirst, Max: backoffMax})
	}
	return s.Backoff.Next(err)
}

// DeadLetterBackoff is Backoff after a failed write to the dead-letter topic: 10 s at most.
func DeadLetterBackoff(s *event.LaneState, err error) time.Duration {
	return min(Backoff(s, err), deadLetterBackoff)
}
