package dedupe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"membersync/dedupe"
)

func newLock(t *testing.T, name string) (*dedupe.Lock, func(time.Duration)) {
	t.Helper()
	mini, client := newMini(t)
	store, err := dedupe.New(client, dedupe.Options{Prefix: "lock", Scope: "s", DoneTTL: time.Hour, Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return store.NewLock(name), mini.FastForward
}

func TestLockHasOneOwnerAtATime(t *testing.T) {
	t.Parallel()
	lock, _ := newLock(t, "token")
	unlock, err := lock.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("test deadline")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 250*time.Millisecond, cause)
	defer cancel()
	if _, err := lock.Lock(ctx); !errors.Is(err, cause) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second owner: error %v, want %v", err, cause)
	}
	waiting := make(chan error, 1)
	go func() {
		unlock, err := lock.Lock(t.Context())
		if err == nil {
			unlock()
		}
		waiting <- err
	}()
	unlock()
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
}

func TestLockOfCrashedOwnerExpires(t *testing.T) {
	t.Parallel()
	lock, forward := newLock(t, "token")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stale, err := lock.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	forward(21 * time.Second)
	unlock, err := lock.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale() // too late: another owner has the lock now
	short, stop := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer stop()
	if _, err := lock.Lock(short); err == nil {
		t.Error("a former owner released the lock")
	}
	unlock()
}
