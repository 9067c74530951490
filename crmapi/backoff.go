package crmapi

import (
	"cmp"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A BackoffConfig says how long to wait between attempts.
type BackoffConfig struct {
	// Initial is the longest first wait; 0 is 500 ms. It doubles with each attempt.
	Initial time.Duration
	// Max is the longest wait ever that the server did not ask for; 0 is 1 minute.
	Max time.Duration
}

// A Backoff works out how long one update waits before its next attempt: exponential, with full jitter. It
// never sleeps. It is not safe for concurrent use.
type Backoff struct {
	policy *backoff.ExponentialBackOff
	max    time.Duration
}

// NewBackoff returns a Backoff before its first wait.
func NewBackoff(cfg BackoffConfig) *Backoff {
	longest := cmp.Or(cfg.Max, time.Minute)
	initial := min(cmp.Or(cfg.Initial, 500*time.Millisecond), longest)
	// With a factor of 1 the library draws from 0 to twice its interval, so it gets half of each.
	return &Backoff{max: longest, policy: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial/2),
		backoff.WithMaxInterval(longest/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0), // the budget is the caller's
	)}
}

// Next returns the wait before the next attempt, given the error of the last one. What the server asked
// for is the least it can be.
func (b *Backoff) Next(err error) time.Duration {
	wait := min(b.policy.NextBackOff(), b.max)
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}

// Reset begins anew with the first wait.
func (b *Backoff) Reset() { b.policy.Reset() }
