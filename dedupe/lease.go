package dedupe

import "context"

// renewLua renews the lease only for its owner: an expired lease may belong to another token by
// now.
const renewLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

// releaseLua releases the lease only for its owner. What the token handed out is no longer pending,
// whichever token owns the lease now.
const releaseLua = `
local text = redis.call('GET', KEYS[4])
if text then
  write_pending(KEYS[4], text, read_pending(text, millis(), function(p) return p.token == ARGV[1] end))
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

// Renew restarts the lease's full time, before exactly the same update is sent again. If owned is
// false, the lease has expired, and nothing more may be sent under this token.
func (s *MemberStore) Renew(ctx context.Context, m Member, t Token) (owned bool, err error) {
	keys := s.keys(s.hasher(), m)[:1]
	n, err := s.batch.run(ctx, s.scripts.renew, keys, string(t), s.opts.Lease.Milliseconds()).Int()
	if err != nil {
		return false, failed("renew", err)
	}
	return n == 1, nil
}

// Release releases the lease without recording anything, if the token still owns it. Use it after a
// failure with a response, or when nothing was sent. After an unacknowledged call the lease must
// expire by itself.
func (s *MemberStore) Release(ctx context.Context, m Member, t Token) error {
	keys := s.keys(s.hasher(), m)
	if err := s.batch.run(ctx, s.scripts.release, keys, string(t)).Err(); err != nil {
		return failed("release", err)
	}
	return nil
}
