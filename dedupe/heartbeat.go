package dedupe

import (
	"context"
	"encoding/json"
	"time"
)

// A Heartbeat is what an instance of the service reports about itself every few seconds.
type Heartbeat struct {
	ID         string       `json:"id"` // random, of this run of the process
	Host       string       `json:"host"`
	Version    string       `json:"version"`
	Since      time.Time    `json:"since"`      // when it started
	Partitions int          `json:"partitions"` // that it owns, of all topics
	Causes     []PauseCause `json:"causes,omitempty"`
	InFlight   int          `json:"in_flight"` // calls
	Held       int          `json:"held"`      // events that the storm guard holds
	Storm      bool         `json:"storm"`     // most events would be dead-lettered
	Rates      Rates        `json:"rates"`
	Ended      bool         `json:"ended,omitempty"` // this was its last one: the instance has stopped
	// StuckFor is for how long batches have been running, or could have started, without one ending.
	StuckFor time.Duration `json:"stuck_for"` // in nanoseconds; 0: there is nothing to do
	Age      time.Duration `json:"-"`         // since it was written, on Redis' clock
}

// A PauseCause is why an instance does not call the CRM, or does not read on.
type PauseCause struct {
	Cause string    `json:"cause"`
	Since time.Time `json:"since"`
	Next  time.Time `json:"next,omitzero"` // of the next attempt to call, if one is planned
}

// Rates are what an instance has done lately.
type Rates struct {
	Window   time.Duration `json:"window"`   // in nanoseconds: a minute, or less after the start
	Events   int           `json:"events"`   // finished in the window, with any outcome
	Rejected int           `json:"rejected"` // that are to be dead-lettered, of records read for the first time
	Calls    int           `json:"calls"`
}

// HeartbeatTTL is how long the last heartbeat of an instance that has ended is kept.
const HeartbeatTTL = 5 * time.Minute

// The heartbeats of a group are the fields of one hash: the instance's id, and the time on Redis'
// clock in ms, a colon and the JSON. Writing one removes those that are too old, so the hash stays
// as small as the group.
const beatLua = `
local now = millis()
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at = string.match(all[i + 1], '^%d+')
  if not at or now - tonumber(at) > tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f:', now) .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`

// beatsLua returns the age in ms and the JSON of each heartbeat that is young enough.
const beatsLua = `
local now, reply = millis(), {}
local all = redis.call('HGETALL', KEYS[1])
for i = 2, #all, 2 do
  local at, text = string.match(all[i], '^(%d+):(.*)$')
  if at and now - tonumber(at) <= tonumber(ARGV[1]) then
    reply[#reply + 1] = math.max(0, now - tonumber(at))
    reply[#reply + 1] = text
  end
end
return reply`

// Beat replaces the instance's heartbeat.
func (s *ControlStore) Beat(ctx context.Context, group string, b Heartbeat) error {
	text, err := json.Marshal(b)
	if err != nil {
		return failed("beat", err)
	}
	args := []any{HeartbeatTTL.Milliseconds(), b.ID, text}
	if err := s.scripts.beat.Run(ctx, s.client, []string{s.heartbeatKey(group)}, args...).Err(); err != nil {
		return failed("beat", err)
	}
	return nil
}

// Heartbeats returns the latest heartbeat of each instance of the group that is at most
// [HeartbeatTTL] old, in no particular order.
func (s *ControlStore) Heartbeats(ctx context.Context, group string) ([]Heartbeat, error) {
	reply, err := s.scripts.beats.Run(ctx, s.client, []string{s.heartbeatKey(group)}, HeartbeatTTL.Milliseconds()).Slice()
	if err != nil {
		return nil, failed("heartbeats", err)
	}
	var all []Heartbeat
	for r := (replyReader{rest: reply}); len(r.rest) > 0; {
		age, text := r.int(), r.string()
		var b Heartbeat
		if r.bad || json.Unmarshal([]byte(text), &b) != nil {
			return nil, failed("heartbeats", errReply)
		}
		b.Age = time.Duration(age) * time.Millisecond
		all = append(all, b)
	}
	return all, nil
}

func (s *ControlStore) heartbeatKey(group string) string {
	return s.scope + "heartbeats:" + sumOf("heartbeats", group).String()
}

// EndBeat removes the heartbeat of an instance that has ended.
func (s *ControlStore) EndBeat(ctx context.Context, group, id string) error {
	if err := s.client.HDel(ctx, s.heartbeatKey(group), id).Err(); err != nil {
		return failed("end of beats", err)
	}
	return nil
}
