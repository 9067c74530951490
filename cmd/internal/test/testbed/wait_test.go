package testbed

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// eventually waits for a condition outside of this process.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), opLimit)
	defer cancel()
	if err := Until(ctx, poll, func(context.Context) (bool, error) { return ok(), nil }); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func TestUntilAsksAtOnceAndThenNowAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		err := Until(t.Context(), time.Second, func(context.Context) (bool, error) {
			asked++
			return asked == 4, nil
		})
		if took := time.Since(began); err != nil || asked != 4 || took != 3*time.Second {
			t.Errorf("asked %d times in %v: %v", asked, took, err)
		}
	})
}

func TestUntilEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		if err := Until(t.Context(), time.Second, func(context.Context) (bool, error) { return false, broken }); !errors.Is(err, broken) {
			t.Errorf("the question failed: %v", err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errLimit)
		defer cancel()
		if err := Until(ctx, time.Second, func(context.Context) (bool, error) { return false, nil }); !errors.Is(err, errLimit) {
			t.Errorf("time is up: %v", err)
		}
	})
}

func TestPatientlyTellsTheLastError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errLimit)
		defer cancel()
		away, tries := errors.New("away"), 0
		err := retryUntil(ctx, "it", func(context.Context) (bool, error) { return false, away })
		if !errors.Is(err, errLimit) || !errors.Is(err, away) || !strings.Contains(err.Error(), "waiting for it") {
			t.Errorf("%v", err)
		}
		err = retryUntil(t.Context(), "it", func(context.Context) (bool, error) {
			tries++
			if tries < 3 {
				return false, away
			}
			return true, nil
		})
		if err != nil || tries != 3 {
			t.Errorf("after %d tries: %v", tries, err)
		}
	})
}
