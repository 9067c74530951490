-- Records the outcomes of events and releases the lease, only for the token that owns the lease.
-- All reads come before all writes, so bad data leaves nothing half done.
--
-- KEYS: the lease, the fields, then the done mark of each event, then the pending values.
-- ARGV: token, keep (0 or 1), done TTL in ms, the number of events E, the number of fields F;
--       E times: order, redrive number, outcome; F times: name, newest version, digest ('': none).
-- Reply: 0 done, 1 too late and nothing recorded.
local token, events, fields = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local owned = redis.call('GET', KEYS[1]) == token

-- In chunks of 1,000: Lua's stack limits the number of arguments of a call.
local marks = {}
for from = 3, 2 + events, 1000 do
  for i, mark in ipairs(redis.call('MGET', unpack(KEYS, from, math.min(from + 999, 2 + events)))) do
    marks[from + i - 3] = mark
  end
end

-- A mark has an entry for each order value: order:redrive:token:outcome, separated by semicolons.
if not owned then
  for i = 1, events do
    for by in string.gmatch(marks[i] or '', '%x+:%d+:([^:]+):[^;]+') do
      -- This token's own mark: the script ran before, and only its reply was lost.
      if by == token then return 0 end
    end
  end
  -- The call may have taken effect after that of the next owner, whose digests then name values
  -- that the CRM does not hold.
  local untrue = {}
  for f = 1, fields do
    local at = 5 + 3 * events + 3 * f
    if ARGV[at] ~= '' then untrue[#untrue + 1] = 'd:' .. ARGV[at - 2] end
  end
  if #untrue > 0 then redis.call('HDEL', KEYS[2], unpack(untrue)) end
  return 1
end

-- The entry completed last moves to the end, and the last eight are kept. An event whose entry was
-- dropped is live when it is delivered again, and so are its redrives. The versions decide then, so
-- no field goes back.
local kept = 8
local value = {} -- by key: two events of the request may share a mark
local ended = {} -- by id: the highest redrive number
for i = 1, events do
  local at, key = 3 + 3 * i, KEYS[2 + i]
  local order, redrive, entries = ARGV[at], tonumber(ARGV[at + 1]), {}
  if string.sub(ARGV[at + 2], 1, 5) ~= 'held.' then -- a held event has not ended
    ended[event_id(key, order)] = math.max(ended[event_id(key, order)] or 0, redrive)
  end
  local mark = value[key] or marks[i]
  if mark then
    for entry, other, number in string.gmatch(mark, '((%x+):(%d+):[^;]+)') do
      if other ~= order then
        entries[#entries + 1] = entry
      else
        -- Reapplying the original must not let an old redrive run again.
        redrive = math.max(redrive, tonumber(number))
      end
    end
  end
  entries[#entries + 1] = order .. ':' .. redrive .. ':' .. token .. ':' .. ARGV[at + 2]
  value[key] = table.concat(entries, ';', math.max(1, #entries - kept + 1))
end

local first = 5 + 3 * events
local stored = {}
for f = 1, fields do stored[f] = 'v:' .. ARGV[first + 3 * f - 2] end
if fields > 0 then stored = redis.call('HMGET', KEYS[2], unpack(stored)) end
local pending = redis.call('GET', KEYS[3 + events])
local now = millis()

local moved, newest = {}, {}
for f = 1, fields do
  local name, version, digest = ARGV[first + 3 * f - 2], ARGV[first + 3 * f - 1], ARGV[first + 3 * f]
  newest[name] = stored[f] or ''
  if newest[name] <= version then -- versions never go back
    newest[name] = version
    moved[#moved + 1] = 'v:' .. name
    moved[#moved + 1] = version
    if digest ~= '' then
      moved[#moved + 1] = 'd:' .. name
      moved[#moved + 1] = string.format('%.0f:', now) .. digest
    end
  end
end

-- A value is no longer pending when it was overtaken, or when its event has ended by any delivery.
-- A value that a redrive has edited ends only with that redrive or a later one. The same holds for
-- what the token handed out, if each of its calls got a response.
local list = read_pending(pending, now, function(p, name)
  local over = p.token == token and ARGV[2] == '0' or (ended[p.event] or -1) >= edited(p.version)
  return not (over or newest[name] and p.version <= newest[name])
end)

-- The marks come after the versions: if the ACL refuses a write, those before it stay. Without its
-- mark an event is run again, which its version allows. Without its version, a field could go back.
if #moved > 0 then redis.call('HSET', KEYS[2], unpack(moved)) end
write_pending(KEYS[3 + events], pending, list)
for i = 1, events do
  redis.call('SET', KEYS[2 + i], value[KEYS[2 + i]], 'PX', ARGV[3])
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
end
return 0
