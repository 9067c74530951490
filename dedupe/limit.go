package dedupe

import (
	"context"
	"time"
)

// The answer has come: from now on only the window's length counts. An entry that the
// log gave up already, since the answer came after its deadline, is put back. Of the
// ranks' logs only the one that holds the entry changes.
// KEYS: the three logs. ARGV: id, sent (0 or 1).
const permitDoneLua = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 1, 3 do
  if ARGV[2] == '0' then
    redis.call('ZREM', KEYS[i], ARGV[1])
  elseif i == 1 then
    redis.call('ZADD', KEYS[i], now, ARGV[1])
  else
    redis.call('ZADD', KEYS[i], 'XX', now, ARGV[1])
  end
end
return 1`

// The longest wish counts.
const throttleLua = `
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1`

// The ranks of a call. A rank keeps 5 % of the limit, at least one call, against the
// ranks above it, as long as it waits; otherwise it stands back while one of them waits.
const (
	RankLive    = 0
	RankRedrive = 1
	RankReplay  = 2
)

// A PermitRequest asks for a place under the shared rate limit.
type PermitRequest struct {
	Limit  int           // calls in any window; 0 for no limit, so that only Throttle counts
	Window time.Duration // its length
	Rank   int           // RankLive, RankRedrive or RankReplay
	ID     string        // of this call: random, as NewToken makes it, and the same when asked again
	// Hold is the time within which the call ends, from before Permit is asked: the
	// wait for the lease and the call's time-out. A call must not be open longer.
	Hold time.Duration
}

func (r PermitRequest) check() error {
	switch {
	case r.ID == "":
		return &RequestError{What: "permit id: must not be empty"}
	case r.Limit < 0:
		return &RequestError{What: "limit: must not be negative"}
	case r.Limit > 0 && r.Window < time.Millisecond:
		return &RequestError{What: "window: must be at least 1 ms"}
	case r.Rank < RankLive || r.Rank > RankReplay:
		return &RequestError{What: "rank: must be 0, 1 or 2"}
	case r.Hold < 0:
		return &RequestError{What: "hold: must not be negative"}
	}
	return nil
}

// share is what a lower rank keeps: 5 %, at least one call, and nothing where the
// limit is so small that two such shares would leave little to live traffic.
func (r PermitRequest) share() int {
	if r.Limit < 4 {
		return 0
	}
	return max(1, r.Limit/20)
}

// Permit draws a place under the rate limit that all instances of the scope share: the
// CRM, counting in any window between a call's send and its answer, never sees more
// than Limit. Every place drawn is to be handed to PermitDone; one that is not counts
// as an open call until Hold is over. When not ok, wait is how long a place takes to
// become free at the soonest, if none is given back. Used counts the places taken.
func (s *Store) Permit(ctx context.Context, r PermitRequest) (ok bool, wait time.Duration, used int, err error) {
	if err := r.check(); err != nil {
		return false, 0, 0, err
	}
	keys := append(s.logs(), s.scope+"waiting", s.scope+"throttle")
	reply, err := s.batch.run(ctx, s.scripts.permit, keys, r.ID, r.Limit, ceilMillis(r.Window), ceilMillis(r.Hold),
		r.Rank, r.share()).Slice()
	if err != nil {
		return false, 0, 0, failed("permit", err)
	}
	p := replyReader{rest: reply}
	granted, millis, used := p.int(), p.int(), p.int()
	return granted == 1, time.Duration(millis) * time.Millisecond, used, p.failed("permit")
}

// PermitDone says that the call was answered, or given up at its deadline; or, if it
// was not sent, gives its place back.
func (s *Store) PermitDone(ctx context.Context, id string, sent bool) error {
	if err := s.batch.run(ctx, s.scripts.permitDone, s.logs(), id, sent).Err(); err != nil {
		return failed("permit done", err)
	}
	return nil
}

// Throttle lets no instance of the scope have a permit for this long, after the CRM
// said that the limit was exceeded.
func (s *Store) Throttle(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := s.batch.run(ctx, s.scripts.throttle, []string{s.scope + "throttle"}, ceilMillis(d)).Err(); err != nil {
		return failed("throttle", err)
	}
	return nil
}

func (s *Store) logs() []string {
	return []string{s.scope + "log", s.scope + "log:1", s.scope + "log:2"}
}

// ceilMillis rounds up: a limit may be kept too well, never too little.
func ceilMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
