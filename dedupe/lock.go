package dedupe

import (
	"context"
	"time"
)

// A Lock is a short lock that all instances of the scope share, for what the vendor
// allows only one of at a time. It is safe for concurrent use.
type Lock struct {
	store *Store
	key   string
}

const (
	lockPoll = 100 * time.Millisecond // between tries
	lockLife = 30 * time.Second       // for a holder whose context has no deadline
)

// NewLock returns the lock of the given name.
func (s *Store) NewLock(name string) *Lock { return &Lock{store: s, key: s.scope + "lock:" + name} }

// Lock waits for the lock until the context ends, whose deadline is also how long
// it is held at most: a holder that dies gives it back by then. It fails with the context's
// cause, or when Redis does.
func (l *Lock) Lock(ctx context.Context) (unlock func(), err error) {
	token := NewToken()
	life := lockLife
	if deadline, ok := ctx.Deadline(); ok {
		life = max(time.Until(deadline), time.Millisecond)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		held, err := l.try(ctx, token, life)
		if err != nil {
			return nil, failed("lock", err)
		}
		if held {
			return func() { l.unlock(ctx, token) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lockLua takes the lock, or finds that an earlier try of the same holder, whose reply was lost, has it.
const lockLua = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

// unlockLua gives the lock back, if the holder still has it: one that ran out may be another's by now.
const unlockLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

func (l *Lock) try(ctx context.Context, t Token, life time.Duration) (bool, error) {
	n, err := l.store.scripts.lock.Run(ctx, l.store.client, []string{l.key}, string(t), ceilMillis(life)).Int()
	return n == 1, err
}

// unlock gives the lock back, also when the holder's context has ended. If that fails, it runs out.
func (l *Lock) unlock(ctx context.Context, t Token) {
	_ = l.store.scripts.unlock.Run(context.WithoutCancel(ctx), l.store.client, []string{l.key}, string(t)).Err()
}
