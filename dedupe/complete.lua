-- Records what came of the events and gives the lease back, for its holder only.
-- Everything is read before anything is written: an error leaves nothing half done.
--
-- KEYS: the lease, the fields, then the done mark of each event.
-- ARGV: token, keep (0 or 1), done TTL in ms, the number of events E, the number of fields F;
--       E times: redrive number, outcome; F times: name, newest version, digest ('' for none).
-- Reply: 0 done, 1 too late and nothing written.
local token, events, fields = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local held = redis.call('GET', KEYS[1]) == token

-- In pieces, since Lua's stack bounds the arguments of a call.
local marks = {}
for from = 3, 2 + events, 1000 do
  for i, mark in ipairs(redis.call('MGET', unpack(KEYS, from, math.min(from + 999, 2 + events)))) do
    marks[from + i - 3] = mark
  end
end

local redrives = {}
for i = 1, events do
  local redrive, mark = tonumber(ARGV[4 + 2 * i]), marks[i]
  if mark then
    local number, by = string.match(mark, '^(%d+):([^:]+):')
    -- Our own mark: this ran before, and only its reply was lost.
    if not held and by == token then return 0 end
    redrive = math.max(redrive, tonumber(number)) -- reapplying the original must not let an old redrive run again
  end
  redrives[i] = redrive
end
if not held then return 1 end

local stored = {}
local first = 5 + 2 * events
for f = 1, fields do
  stored[f] = redis.call('HGET', KEYS[2], 'v:' .. ARGV[first + 3 * f - 2]) or ''
end

for i = 1, events do
  redis.call('SET', KEYS[2 + i], redrives[i] .. ':' .. token .. ':' .. ARGV[5 + 2 * i], 'PX', ARGV[3])
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for f = 1, fields do
  local name, version, digest = ARGV[first + 3 * f - 2], ARGV[first + 3 * f - 1], ARGV[first + 3 * f]
  if stored[f] <= version then -- versions never go back
    redis.call('HSET', KEYS[2], 'v:' .. name, version)
    if digest ~= '' then
      redis.call('HSET', KEYS[2], 'd:' .. name, now .. ':' .. digest)
    end
  end
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
end
return 0
