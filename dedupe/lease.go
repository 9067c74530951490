package dedupe

import "context"

// Only the holder may prolong: a lease that ran out may be another's by now.
const renewLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

// Only the holder may give back. What the token handed out is pending no more, whoever holds the lease now.
const releaseLua = `
local text = redis.call('HGET', KEYS[2], 'p')
if text then
  write_pending(KEYS[2], text, read_pending(text, millis(), function(p) return p.token ~= ARGV[1] end))
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

// Renew lets the lease begin anew, before the very same update is sent again. Not held
// means that the lease ran out: nothing may be sent under this token any more.
func (s *Store) Renew(ctx context.Context, m Member, t Token) (held bool, err error) {
	keys := []string{s.memberKey(m) + "lease"}
	n, err := s.batch.run(ctx, s.scripts.renew, keys, string(t), s.opts.Lease.Milliseconds()).Int()
	if err != nil {
		return false, failed("renew", err)
	}
	return n == 1, nil
}

// Release gives the lease back with nothing done, if the token still holds it. It is
// for a failure that was answered, or when nothing was sent: after a call that went
// unanswered the lease must run out by itself.
func (s *Store) Release(ctx context.Context, m Member, t Token) error {
	keys := s.keys(m, 0, nil)
	if err := s.batch.run(ctx, s.scripts.release, keys, string(t)).Err(); err != nil {
		return failed("release", err)
	}
	return nil
}
