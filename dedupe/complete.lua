-- Records the outcomes of events and releases the lease, only for the token that owns the lease.
-- All reads come before all writes, so bad data leaves nothing half done.
--
-- KEYS: the lease, the fields, the done marks, the pending values.
-- ARGV: token, its hash, keep (0 or 1), done TTL in ms, done TTL in hours, the number of events E,
--       the number of fields F;
--       E times: name of the mark; E times: hash of the event, redrive number, outcome;
--       F times: name, newest version, that version as it is stored, digest ('': none);
--       member TTL in ms (0: versions never expire).
-- Reply: 0 done, 1 too late and nothing recorded.
local token, by, ttl = ARGV[1], ARGV[2], tonumber(ARGV[5])
local events, fields = tonumber(ARGV[6]), tonumber(ARGV[7])
local owned = redis.call('GET', KEYS[1]) == token
local marks = read_marks(KEYS[3], 8, events)
local now = millis()
local hour = hour_of(now)
local first = 7 + 4 * events -- the fields begin after that

local value = {} -- by name: two events of the request may share a mark
for i = 1, events do
  local name = ARGV[7 + i]
  if not value[name] then
    value[name] = read_mark(marks[i] or '', hour, ttl)
    if not value[name] then return redis.error_reply(bad_format) end
  end
end

if not owned then
  for i = 1, events do
    for _, entry in ipairs(value[ARGV[7 + i]]) do
      -- This token's own mark: the script ran before, and only its reply was lost.
      if entry.by == by then return 0 end
    end
  end
  -- The call may have taken effect after that of the next owner, whose digests then name values
  -- that the CRM does not hold.
  local untrue = {}
  for f = 1, fields do
    local at = first + 4 * f
    if ARGV[at] ~= '' then untrue[#untrue + 1] = 'd:' .. ARGV[at - 3] end
  end
  if #untrue > 0 then redis.call('HDEL', KEYS[2], unpack(untrue)) end
  return 1
end

-- The entry completed last moves to the end, and the last eight are kept.
local ended = {} -- by id: the highest redrive number
for i = 1, events do
  local at, entries = 5 + events + 3 * i, value[ARGV[7 + i]]
  local id, redrive = ARGV[at], tonumber(ARGV[at + 1])
  if not is_held(ARGV[at + 2]) then -- a held event has not ended
    ended[id] = math.max(ended[id] or 0, redrive)
  end
  for n, entry in ipairs(entries) do
    if entry.id == id then
      -- Reapplying the original must not let an old redrive run again.
      redrive = math.max(redrive, entry.redrive)
      table.remove(entries, n)
      break
    end
  end
  entries[#entries + 1] = {id = id, redrive = redrive, text = mark_entry(id, hour, by, redrive, ARGV[at + 2])}
end
local expired = {}
if events > 0 then expired = expired_marks(KEYS[3], by, events, hour, ttl) end

local stored = {}
for f = 1, fields do stored[f] = 'v:' .. ARGV[first + 4 * f - 3] end
if fields > 0 then stored = redis.call('HMGET', KEYS[2], unpack(stored)) end
local pending = redis.call('GET', KEYS[4])

local moved, newest, n, written = {}, {}, 0, time_text(now)
for f = 1, fields do
  local at = first + 4 * f
  local name, digest = ARGV[at - 3], ARGV[at]
  if newer(stored[f] or '', ARGV[at - 1]) then -- versions never go back
    newest[name] = digits_of(stored[f])
  else
    newest[name] = ARGV[at - 2]
    moved[n + 1], moved[n + 2] = 'v:' .. name, ARGV[at - 1]
    n = n + 2
    if digest ~= '' then
      moved[n + 1], moved[n + 2] = 'd:' .. name, written .. digest
      n = n + 2
    end
  end
end

-- A value is no longer pending when it was overtaken, or when its event has ended by any delivery.
-- A value that a redrive has edited ends only with that redrive or a later one. The same holds for
-- what the token handed out, if each of its calls got a response.
local list = read_pending(pending, now, function(p)
  return p.token == token and ARGV[3] == '0' or (ended[p.event] or -1) >= edited(p.version)
end, function(p, name)
  return not newest[name] or p.version > newest[name]
end)

-- The marks come after the versions: if the ACL refuses a write, those before it stay. Without its
-- mark an event is run again, which its version allows. Without its version, a field could go back.
if n > 0 then redis.call('HSET', KEYS[2], unpack(moved, 1, n)) end
expire_versions(KEYS[2], now, ARGV[#ARGV])
write_pending(KEYS[4], pending, list)
write_marks(KEYS[3], expired, value, now, ARGV[4])
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
end
return 0
