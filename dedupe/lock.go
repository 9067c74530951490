package dedupe

import (
	"context"
	"time"
)

// A Lock is a short lock that all instances of the scope share, for operations that the vendor
// allows only one at a time. It is safe for concurrent use.
type Lock struct {
	store *Store
	key   string
}

const (
	lockPoll = 100 * time.Millisecond // between attempts
	lockTTL  = 30 * time.Second       // for an owner whose context has no deadline
)

// NewLock returns the lock with the given name.
func (s *Store) NewLock(name string) *Lock { return &Lock{store: s, key: s.scope + "lock:" + name} }

// Lock waits for the lock until the context ends. The context's deadline is also when the lock
// expires, so the lock of a crashed owner becomes free by then. Lock fails with the context's
// cause, or with the error of Redis.
func (l *Lock) Lock(ctx context.Context) (unlock func(), err error) {
	token := NewToken()
	ttl := lockTTL
	if deadline, ok := ctx.Deadline(); ok {
		ttl = max(time.Until(deadline), time.Millisecond)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		owned, err := l.try(ctx, token, ttl)
		if err != nil {
			return nil, failed("lock", err)
		}
		if owned {
			return func() { l.unlock(ctx, token) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lockLua takes the lock. It also succeeds if an earlier attempt of the same owner, whose reply was
// lost, has taken it.
const lockLua = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

// unlockLua releases the lock only for its owner: an expired lock may belong to another owner by
// now.
const unlockLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

func (l *Lock) try(ctx context.Context, t Token, ttl time.Duration) (bool, error) {
	n, err := l.store.scripts.lock.Run(ctx, l.store.client, []string{l.key}, string(t), ceilMillis(ttl)).Int()
	return n == 1, err
}

// unlock releases the lock, even if the owner's context has ended. If that fails, the lock expires.
func (l *Lock) unlock(ctx context.Context, t Token) {
	_ = l.store.scripts.unlock.Run(context.WithoutCancel(ctx), l.store.client, []string{l.key}, string(t)).Err()
}
