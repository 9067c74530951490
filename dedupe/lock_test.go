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

func TestLockIsHeldByOneAtATime(t *testing.T) {
	t.Parallel()
	lock, _ := newLock(t, "token")
	unlock, err := lock.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("waited enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 250*time.Millisecond, cause)
	defer cancel()
	if _, err := lock.Lock(ctx); !errors.Is(err, cause) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second holder: error %v, want %v", err, cause)
	}
	waiting := make(chan error, 1)
	go func() {
		again, err := lock.Lock(t.Context())
		if err == nil {
			again()
		}
		waiting <- err
	}()
	unlock()
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
}

func TestLockOfADeadHolderRunsOut(t *testing.T) {
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
	stale() // too late: it is another's now
	held, stop := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer stop()
	if _, err := lock.Lock(held); err == nil {
		t.Error("the lock was given back by one who had lost it")
	}
	unlock()
}
