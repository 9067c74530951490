package crmapi_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"membersync/crmapi"
)

func TestBackoffGrowsWithFullJitter(t *testing.T) {
	t.Parallel()
	const rounds = 400
	var sum, longest [8]time.Duration
	for range rounds {
		b := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: time.Second, Max: 10 * time.Second})
		for i := range sum {
			wait := b.Next(nil)
			sum[i], longest[i] = sum[i]+wait, max(longest[i], wait)
		}
	}
	for i, seconds := range []int{1, 2, 4, 8, 10, 10, 10, 10} {
		limit := time.Duration(seconds) * time.Second
		// Uniform from 0 to the limit: the mean is about half of it, the maximum close to it, none
		// above.
		mean := sum[i] / rounds
		if longest[i] > limit || longest[i] < limit*9/10 || mean < limit*4/10 || mean > limit*6/10 {
			t.Errorf("wait %d: at most %v, on average %v, of %v", i+1, longest[i], mean, limit)
		}
	}
}

func TestBackoffRetryAfterIsAFloor(t *testing.T) {
	t.Parallel()
	b := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: time.Second, Max: 2 * time.Second})
	asked := fmt.Errorf("wrapped: %w", &crmapi.Error{RetryAfter: time.Minute})
	for range 20 {
		if got := b.Next(asked); got != time.Minute {
			t.Fatalf("Next = %v", got)
		}
		if got := b.Next(errors.New("other")); got > 2*time.Second {
			t.Fatalf("Next = %v", got)
		}
		if got := b.Next(&crmapi.Error{RetryAfter: time.Nanosecond}); got < time.Nanosecond || got > 2*time.Second {
			t.Fatalf("Next = %v", got)
		}
	}
}

func TestBackoffReset(t *testing.T) {
	t.Parallel()
	b := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: time.Millisecond, Max: time.Hour})
	for range 50 {
		for range 30 {
			b.Next(nil)
		}
		b.Reset()
		if got := b.Next(nil); got > time.Millisecond {
			t.Fatalf("after Reset Next = %v", got)
		}
	}
}

func TestBackoffDefaultsAndUnusualLimits(t *testing.T) {
	t.Parallel()
	for range 50 {
		if got := crmapi.NewBackoff(crmapi.BackoffConfig{}).Next(nil); got < 0 || got > 500*time.Millisecond {
			t.Fatalf("Next = %v", got)
		}
		small := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: time.Hour, Max: time.Second})
		if got := small.Next(nil); got > time.Second {
			t.Fatalf("Next = %v", got)
		}
	}
}
