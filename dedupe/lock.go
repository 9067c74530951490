package dedupe

import (
	"context"
	"time"
)

// A Lock is a short lock that all instances of the scope share, for operations that the vendor
// allows only one at a time. It is safe for concurrent use.
type Lock struct {
	store  *LimitStore
	key    string
	limit  int // 0: none
	window time.Duration
}

const (
	lockPoll = 100 * time.Millisecond // between attempts
	lockTTL  = 30 * time.Second       // for an owner whose context has no deadline
)

// NewLock returns the lock with the given name.
func (s *LimitStore) NewLock(name string) *Lock {
	return &Lock{store: s, key: s.scope + "lock:" + name}
}

// WithLimit returns the lock with a limit on its uses: Lock also waits while it had so many owners
// within any window. A use counts from when the lock is taken until a window after it is unlocked,
// or would have expired.
func (l *Lock) WithLimit(uses int, window time.Duration) *Lock {
	limited := *l
	limited.limit, limited.window = uses, window
	return &limited
}

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
// lost, has taken it. The log has an entry for each use, whose score is its end, in ms.
//
// KEYS: the lock, the log. ARGV: the owner's token, ttl in ms, limit (0: none), window in ms.
const lockLua = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local limit, window, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[2])
if limit > 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', now - window))
  if not redis.call('ZSCORE', KEYS[2], ARGV[1]) and redis.call('ZCARD', KEYS[2]) >= limit then return 0 end
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), ARGV[1])
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', window + ttl + 1000))
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

// unlockLua releases the lock only for its owner: an expired lock may belong to another owner by
// now.
const unlockLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[1])
end
return redis.call('DEL', KEYS[1])`

func (l *Lock) try(ctx context.Context, t Token, ttl time.Duration) (bool, error) {
	n, err := l.store.scripts.lock.Run(ctx, l.store.client, l.keys(), string(t), ceilMillis(ttl), l.limit, ceilMillis(l.window)).Int()
	return n == 1, err
}

// unlock releases the lock, even if the owner's context has ended. If that fails, the lock expires.
func (l *Lock) unlock(ctx context.Context, t Token) {
	_ = l.store.scripts.unlock.Run(context.WithoutCancel(ctx), l.store.client, l.keys(), string(t)).Err()
}

func (l *Lock) keys() []string { return []string{l.key, l.key + ":log"} }
