package dedupetest

import (
	"context"
	"errors"
	"time"
)

var errLockTimeout = errors.New("dedupetest: no lock in time")

func lockTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"unlock gives it back at once":                 lockGivenBack,
		"unlock gives it back after its context's end": lockGivenBackAfterwards,
		"one who has lost it does not give it back":    lockOfAnother,
		"another name is another lock":                 lockOfAnotherName,
	}
}

// lock takes the lock within a time that a lock which has to run out exceeds, for as long.
func (f *fixture) lock(name string) (unlock func()) {
	f.Helper()
	ctx, cancel := context.WithTimeoutCause(f.Context(), 10*time.Second, errLockTimeout)
	f.Cleanup(cancel)
	began := time.Now()
	unlock, err := f.store.NewLock(name).Lock(ctx)
	f.must(err)
	if took := time.Since(began); took > 5*time.Second {
		f.Fatalf("the lock was got after %v", took)
	}
	return unlock
}

func (f *fixture) wantLocks(want int) {
	f.Helper()
	f.equal("locks", len(f.keys(f.Context())), want)
}

func lockGivenBack(f *fixture) {
	for range 2 {
		unlock := f.lock("token")
		f.wantLocks(1)
		unlock()
		f.wantLocks(0)
	}
}

func lockGivenBackAfterwards(f *fixture) {
	ctx, cancel := context.WithTimeoutCause(f.Context(), 10*time.Second, errLockTimeout)
	unlock, err := f.store.NewLock("token").Lock(ctx)
	f.must(err)
	cancel()
	unlock()
	f.wantLocks(0)
}

func lockOfAnother(f *fixture) {
	stale := f.lock("token")
	f.deleteKeys() // it ran out
	unlock := f.lock("token")
	stale()
	f.wantLocks(1)
	unlock()
	f.wantLocks(0)
}

func lockOfAnotherName(f *fixture) {
	f.lock("token")
	f.lock("other")
	f.wantLocks(2)
}
