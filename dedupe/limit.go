package dedupe

import (
	"context"
	"time"
)

// permitDoneLua records that the response has arrived: from now on only the window's length counts.
// An entry that the log has already dropped, because the response came after its deadline, is put
// back. Of the ranks' logs, only the one that contains the entry changes.
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

// throttleLua extends the throttling and never shortens it: the longest request counts.
const throttleLua = `
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1`

// The ranks of a call. While a rank waits, it keeps 5 % of the limit, at least one call, against
// the ranks above it. Beyond that share it yields while one of them waits.
const (
	RankLive    = 0
	RankRedrive = 1
	RankReplay  = 2
)

// A PermitRequest asks for a permit under the shared rate limit.
type PermitRequest struct {
	Limit  int           // calls in any window; 0: no limit, only Throttle applies
	Window time.Duration // length of the window
	Rank   int           // RankLive, RankRedrive or RankReplay
	ID     string        // of this call: random, from NewToken, and the same in a repetition
	// Hold is the time within which the call ends, counted from before the call of Permit: the wait
	// for the lease plus the call's time-out. A call must not be open longer.
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

// share is the number of calls that a lower rank keeps: 5 %, at least one call. It is 0 when the
// limit is so small that two shares would leave little for live traffic.
func (r PermitRequest) share() int {
	if r.Limit < 4 {
		return 0
	}
	return max(1, r.Limit/20)
}

// Permit draws a permit under the rate limit that all instances of the scope share. If the CRM
// counts each call at any moment between its send and its response, it never sees more than Limit
// in any window.
//
// Every permit drawn must be passed to PermitDone. One that is not counts as an open call until
// Hold is over. If ok is false, wait is the earliest time after which a permit can become free, if
// none is returned unused. The result used is the number of permits taken.
func (s *LimitStore) Permit(ctx context.Context, r PermitRequest) (ok bool, wait time.Duration, used int, err error) {
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

// PermitDone reports that the call got a response, or was given up at its deadline. If the call was
// not sent, PermitDone returns the permit unused.
func (s *LimitStore) PermitDone(ctx context.Context, id string, sent bool) error {
	if err := s.batch.run(ctx, s.scripts.permitDone, s.logs(), id, sent).Err(); err != nil {
		return failed("permit done", err)
	}
	return nil
}

// Throttle denies permits to all instances of the scope for the duration, after the CRM reported
// that the limit was exceeded. The longest duration of several calls counts. It does nothing if d
// is not positive.
func (s *LimitStore) Throttle(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := s.batch.run(ctx, s.scripts.throttle, []string{s.scope + "throttle"}, ceilMillis(d)).Err(); err != nil {
		return failed("throttle", err)
	}
	return nil
}

func (s *LimitStore) logs() []string {
	return []string{s.scope + "log", s.scope + "log:1", s.scope + "log:2"}
}

// ceilMillis rounds up: the limit may be stricter than asked, never looser.
func ceilMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
