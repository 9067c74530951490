-- Grants a call a permit under the rate limit, or returns how long to wait.
--
-- A log holds an entry for each call. Its score is the time of the response, or the deadline while
-- the call is open. A call occupies the window until its score plus the window's length, both ends
-- included. All times are Redis' own, in ms.
--
-- KEYS: the log of all calls, the log of redrives, the log of replays, the waiting ranks, throttle.
-- ARGV: id, limit (0: none), window, hold, rank (0 live, 1 redrive, 2 replay), share.
-- Reply: {1 granted or 0, ms to wait, calls in the window}
local id, limit, window, hold = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local rank, share = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local used = {} -- calls in the window: all, redrives, replays
for i = 1, 3 do
  -- Strictly older: times are rounded down to ms, and an entry must not leave too early.
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. string.format('%.0f', now - window))
  used[i] = redis.call('ZCARD', KEYS[i])
end

local function waits(r)
  return tonumber(redis.call('HGET', KEYS[4], tostring(r)) or 0) > now
end

-- On a repetition after a lost reply, the id already has its entry.
if not redis.call('ZSCORE', KEYS[1], id) then
  local wait = math.max(redis.call('PTTL', KEYS[5]), 0)
  if wait == 0 and limit > 0 then
    -- Leave free what waiting lower ranks have left of their share.
    local keep = 0
    for r = rank + 1, 2 do
      if waits(r) then keep = keep + math.max(share - used[r + 1], 0) end
    end
    -- Beyond its own share, a rank yields to waiting higher ranks.
    local behind = false
    for r = 0, rank - 1 do
      behind = behind or waits(r)
    end
    if used[1] + keep >= limit then
      -- The earliest time at which enough calls can have left, if the open ones end now.
      local place = used[1] + keep - limit
      local entry = redis.call('ZRANGE', KEYS[1], place, place, 'WITHSCORES')
      wait = math.min(tonumber(entry[2]) + window - now + 1, window)
    elseif behind and used[rank + 1] >= share then
      wait = math.min(window, 1000)
    end
    if wait > 0 then
      redis.call('HSET', KEYS[4], tostring(rank), string.format('%.0f', now + wait + 1000))
    end
  end
  if wait > 0 then return {0, wait, used[1]} end
  used[1] = used[1] + 1
end

local deadline = string.format('%.0f', now + hold)
redis.call('ZADD', KEYS[1], deadline, id)
if rank > 0 then
  redis.call('ZADD', KEYS[rank + 1], deadline, id)
end
return {1, 0, used[1]}
