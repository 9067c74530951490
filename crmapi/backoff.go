package crmapi

import (
	"cmp"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// A BackoffConfig sets how long to wait between attempts.
type BackoffConfig struct {
	// Initial is the upper limit of the first wait; 0 means 500 ms. It doubles with each attempt.
	Initial time.Duration
	// Max is the longest wait that the server did not ask for; 0 means 1 minute.
	Max time.Duration
}

// A Backoff computes how long one update waits before its next attempt. The waits grow
// exponentially, with full jitter. A Backoff never sleeps. It is not safe for concurrent use.
type Backoff struct {
	policy *backoff.ExponentialBackOff
	max    time.Duration
}

// NewBackoff returns a Backoff that starts with the first wait.
func NewBackoff(cfg BackoffConfig) *Backoff {
	longest := cmp.Or(cfg.Max, time.Minute)
	initial := min(cmp.Or(cfg.Initial, 500*time.Millisecond), longest)
	// With a factor of 1, the library draws from 0 to twice its interval. So it gets half of each
	// limit.
	return &Backoff{max: longest, policy: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial/2),
		backoff.WithMaxInterval(longest/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0), // the retry budget is the caller's
	)}
}

// Next returns the wait before the next attempt. The argument is the error of the last attempt: if
// the server asked for a wait (Error.RetryAfter), the result is at least that long.
func (b *Backoff) Next(err error) time.Duration {
	wait := min(b.policy.NextBackOff(), b.max)
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}

// Reset starts over with the first wait.
func (b *Backoff) Reset() { b.policy.Reset() }
