-- Takes the lease of a member and says what of the events is still to be sent.
-- Everything is read before anything is written: an error leaves nothing half done.
--
-- KEYS: the lease, the fields, then the done mark of each event.
-- ARGV: token, lease in ms, reapply (0 or 1), digest TTL in ms,
--       the number of events E, the number of field names F, F names;
--       then for each event: redrive number, version, the number of its fields N,
--       and N times: place of the name (from 1), digest of the value ('' for none, or to have it sent).
-- Reply: {0, ms left} another token holds the lease; {2} the token has completed;
--        {1, E times: its done mark ('' when live),
--            F times: the winning event (0 for none), verdict (0 send, 1 superseded, 2 unchanged), stored version}.
local token, reapply = ARGV[1], ARGV[3] == '1'
local events, names = tonumber(ARGV[5]), tonumber(ARGV[6])

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= token then
  return {0, redis.call('PTTL', KEYS[1])}
end

-- In pieces, since Lua's stack bounds the arguments of a call.
local marks = {}
for from = 3, 2 + events, 1000 do
  for i, mark in ipairs(redis.call('MGET', unpack(KEYS, from, math.min(from + 999, 2 + events)))) do
    marks[from + i - 3] = mark
  end
end

local reply = {1}
local winner, version, digest = {}, {}, {} -- by place of the name
local at = 7 + names
for i = 1, events do
  local redrive, ver, stated = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local mark, done = marks[i], false
  if mark then
    local number, by = string.match(mark, '^(%d+):([^:]+):')
    if by == token then return {2} end -- an old request, overtaken by its own complete
    done = not reapply and tonumber(number) >= redrive
  end
  reply[1 + i] = done and mark or ''
  for _ = 1, stated do
    local f = tonumber(ARGV[at])
    -- Versions are digits of one width, so that < on strings is right in every locale.
    if not done and (not version[f] or version[f] <= ver) then
      winner[f], version[f], digest[f] = i, ver, ARGV[at + 1]
    end
    at = at + 2
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[4])

-- A digest proves a value only while it is young, and not if the clock went back.
local function proven(name, wanted)
  if wanted == '' then return false end
  local held = redis.call('HGET', KEYS[2], 'd:' .. name)
  if not held then return false end
  local written, mac = string.match(held, '^(%d+):(.+)$')
  local age = now - tonumber(written)
  return mac == wanted and age >= 0 and age < ttl
end

local handed = {}
for f = 1, names do
  local verdict, stored = 0, ''
  if winner[f] then
    local name = ARGV[6 + f]
    stored = redis.call('HGET', KEYS[2], 'v:' .. name) or ''
    if stored > version[f] then
      verdict = 1
    elseif proven(name, digest[f]) then
      verdict = 2
    else
      handed[#handed + 1] = 'd:' .. name
    end
  end
  local r = #reply
  reply[r + 1], reply[r + 2], reply[r + 3] = winner[f] or 0, verdict, stored
end

redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
-- From here on nobody knows what the CRM holds, until a complete says so.
for _, member in ipairs(handed) do
  redis.call('HDEL', KEYS[2], member)
end
return reply
