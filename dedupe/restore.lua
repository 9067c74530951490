-- Restores what was known of events before the state was lost. No version goes back: what is stored
-- and newer stays. All reads come before all writes, so an error leaves nothing half done.
--
-- KEYS: the lease (not read), the fields, the done marks.
-- ARGV: done TTL in ms, done TTL in hours, the number of events E, the number of fields F;
--       E times: name of the mark; E times: hash of the event, redrive number, outcome;
--       F times: name, newest version as it is stored;
--       member TTL in ms (0: versions never expire).
local ttl, events, fields = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local marks = read_marks(KEYS[3], 5, events)
local now = millis()
local hour = hour_of(now)
local first = 4 + 4 * events
local stored = {}
for f = 1, fields do stored[f] = 'v:' .. ARGV[first + 2 * f - 1] end
if fields > 0 then stored = redis.call('HMGET', KEYS[2], unpack(stored)) end

local value, changed = {}, {} -- by name: two events of the request may share a mark
for i = 1, events do
  local name, at = ARGV[4 + i], 2 + events + 3 * i
  local id, redrive = ARGV[at], tonumber(ARGV[at + 1])
  local known = value[name] or read_mark(marks[i] or '', hour, ttl)
  if not known then return redis.error_reply(bad_format) end
  -- Restored entries go to the front, so that entries completed since then are dropped last.
  local text = mark_entry(id, hour, string.rep('\0', 5), redrive, ARGV[at + 2])
  local entries, is_known = {{id = id, redrive = redrive, text = text}}, false
  for _, entry in ipairs(known) do
    if entry.id ~= id then
      entries[#entries + 1] = entry
    else
      is_known = is_known or entry.redrive >= redrive
    end
  end
  value[name] = is_known and known or entries
  changed[name] = changed[name] or not is_known
end

for name in pairs(value) do
  if not changed[name] then value[name] = nil end
end
for f = 1, fields do
  local at = first + 2 * f
  if newer(ARGV[at], stored[f] or '') then redis.call('HSET', KEYS[2], 'v:' .. ARGV[at - 1], ARGV[at]) end
end
expire_versions(KEYS[2], now, ARGV[#ARGV])
write_marks(KEYS[3], {}, value, now, ARGV[1])
return 1
