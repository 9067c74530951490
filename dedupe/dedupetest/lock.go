package dedupetest

import (
	"context"
	"errors"
	"time"
)

var errLockTimeout = errors.New("dedupetest: lock not available in time")

func lockTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"unlock releases it at once":                 lockReleased,
		"unlock releases it after its context's end": lockReleasedAfterContext,
		"a former owner does not release it":         lockOfAnother,
		"another name is another lock":               lockOfAnotherName,
		"a limit bounds the uses within a window":    lockLimited,
	}
}

// takeLock takes the lock, with a context of 10 s. It fails if that takes more than 5 s: then a
// lock was not released but expired.
func takeLock(f *fixture, name string) (unlock func()) {
	f.Helper()
	ctx, cancel := context.WithTimeoutCause(f.Context(), 10*time.Second, errLockTimeout)
	f.Cleanup(cancel)
	began := time.Now()
	unlock, err := f.store.NewLock(name).Lock(ctx)
	f.must(err)
	if took := time.Since(began); took > 5*time.Second {
		f.Fatalf("taking the lock took %v", took)
	}
	return unlock
}

func lockReleased(f *fixture) {
	for range 2 {
		unlock := takeLock(f, "token")
		f.equal("locks", len(f.redis.keys()), 1)
		unlock()
		f.equal("locks", len(f.redis.keys()), 0)
	}
}

func lockReleasedAfterContext(f *fixture) {
	ctx, cancel := context.WithTimeoutCause(f.Context(), 10*time.Second, errLockTimeout)
	unlock, err := f.store.NewLock("token").Lock(ctx)
	f.must(err)
	cancel()
	unlock()
	f.equal("locks", len(f.redis.keys()), 0)
}

func lockOfAnother(f *fixture) {
	stale := takeLock(f, "token")
	f.redis.clear() // the lock expired
	unlock := takeLock(f, "token")
	stale()
	f.equal("locks", len(f.redis.keys()), 1)
	unlock()
	f.equal("locks", len(f.redis.keys()), 0)
}

// A use counts until a window after its unlock, whether or not it was of any use to its owner.
func lockLimited(f *fixture) {
	const limit, window = 2, 600 * time.Millisecond
	lock := f.store.NewLock("token").WithLimit(limit, window)
	var ends []time.Time
	for range 3 * limit {
		unlock, err := lock.Lock(f.Context())
		f.must(err)
		taken := time.Now()
		if n := len(ends); n >= limit && taken.Sub(ends[n-limit]) < window-10*time.Millisecond {
			f.Errorf("use %d began %v after the end of the one %d before", n, taken.Sub(ends[n-limit]), limit)
		}
		ends = append(ends, time.Now())
		unlock()
	}
	if other, err := f.store.NewLock("other").WithLimit(limit, window).Lock(f.Context()); err == nil {
		other()
	} else {
		f.Error(err)
	}
}

func lockOfAnotherName(f *fixture) {
	takeLock(f, "token")
	takeLock(f, "other")
	f.equal("locks", len(f.redis.keys()), 2)
}
