-- Restores what was known of events before the state was lost. No version goes back: what is stored
-- and newer stays. All reads come before all writes, so an error leaves nothing half done.
--
-- KEYS: the lease (not read), the fields, then the done mark of each event.
-- ARGV: done TTL in ms, the number of events E, the number of fields F;
--       E times: order, redrive number, outcome; F times: name, newest version.
local events, fields = tonumber(ARGV[2]), tonumber(ARGV[3])
local marks = {}
if events > 0 then marks = redis.call('MGET', unpack(KEYS, 3, 2 + events)) end
local first = 3 + 3 * events
local stored = {}
for f = 1, fields do stored[f] = 'v:' .. ARGV[first + 2 * f - 1] end
if fields > 0 then stored = redis.call('HMGET', KEYS[2], unpack(stored)) end

local kept = 8 -- as in complete.lua
local value = {} -- by key: two events of the request may share a mark
for i = 1, events do
  local at, key = 1 + 3 * i, KEYS[2 + i]
  local order, redrive = ARGV[at], tonumber(ARGV[at + 1])
  -- Restored entries go to the front, so that entries completed since then are dropped last.
  local entries, known = {order .. ':' .. ARGV[at + 1] .. ':restored:' .. ARGV[at + 2]}, false
  for entry, other, number in string.gmatch(value[key] or marks[i] or '', '((%x+):(%d+):[^;]+)') do
    if other ~= order then
      entries[#entries + 1] = entry
    else
      known = known or tonumber(number) >= redrive
    end
  end
  if not known then
    value[key] = table.concat(entries, ';', math.max(1, #entries - kept + 1))
  end
end

for key, mark in pairs(value) do redis.call('SET', key, mark, 'PX', ARGV[1]) end
for f = 1, fields do
  local name, version = ARGV[first + 2 * f - 1], ARGV[first + 2 * f]
  if (stored[f] or '') < version then redis.call('HSET', KEYS[2], 'v:' .. name, version) end
end
return 1
