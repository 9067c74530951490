-- Takes the lease of a member and returns which values of the events must still be sent.
-- All reads come before all writes, so an error leaves nothing half done.
--
-- KEYS: the lease, the fields, the done marks, the pending values.
-- ARGV: token, its hash, lease in ms, reapply (0 or 1), done TTL in hours, digest TTL in ms,
--       pending TTL in ms, the number of events E, the number of field names F;
--       F names; E times: name of the mark;
--       then for each event: its hash, redrive number, try it though it is held (0 or 1), version,
--       that version as it is stored, the number of its fields N,
--       and N times: index of the name (from 1), digest of the value ('': none, or always send it).
-- Reapply ignores done marks, except those of dead letters: a redrive tries these again.
-- Reply: {0, ms left}: another token owns the lease.
--        {2}: the token has already completed.
--        {3, ms left}: a newer value of a field is pending, and an older value must wait for its
--            outcome.
--        {1, E times: '' when live, redrive:outcome when done or held, with '+' in front when the
--            mark has the same name under another order value,
--            F times: winning event (0: none), decision (0 send, 1 superseded, 2 unchanged),
--            version as it is stored}.
local token, by, reapply, ttl = ARGV[1], ARGV[2], ARGV[4] == '1', tonumber(ARGV[5])
local events, names = tonumber(ARGV[8]), tonumber(ARGV[9])

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= token then
  return {0, redis.call('PTTL', KEYS[1])}
end

local marks = read_marks(KEYS[3], 10 + names, events)
local now = millis()
local hour = hour_of(now)

local reply = {1}
local winner, version, packed, digest, winner_id = {}, {}, {}, {}, {} -- by index of the name
local live = {} -- by id: requested and not done; the highest edit of its value
local at = 10 + names + events
for i = 1, events do
  local id, redrive, try_held = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2] == '1'
  local ver, packed_ver, stated = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  at = at + 6
  local reused, done = false, false
  if marks[i] then
    local entries = read_mark(marks[i], hour, ttl)
    if not entries then return redis.error_reply(bad_format) end
    for _, entry in ipairs(entries) do
      if entry.by == by then return {2} end -- a delayed request, overtaken by its own complete
      if entry.id ~= id then
        reused = true
      elseif is_held(entry.outcome) then
        if not try_held then done = entry.redrive .. ':' .. entry.outcome end
      elseif entry.redrive >= redrive and (not reapply or entry.outcome == dead_lettered) then
        done = entry.redrive .. ':' .. entry.outcome
      end
    end
  end
  if not done then live[id] = math.max(live[id] or 0, edited(ver)) end
  reply[1 + i] = (reused and '+' or '') .. (done or '')
  for _ = 1, stated do
    local f = tonumber(ARGV[at])
    -- Versions are digits of one width, so comparing strings with < is correct in every locale.
    if not done and (not version[f] or version[f] <= ver) then
      winner[f], version[f], packed[f], digest[f], winner_id[f] = i, ver, packed_ver, ARGV[at + 1], id
    end
    at = at + 2
  end
end

-- Each call into Redis costs more than the Lua code around it. So one call reads all versions and
-- then all digests.
local fields, digests = {}, {}
local pending, stored_of = false, {}
for f = 1, names do
  if winner[f] then
    fields[#fields + 1] = f
    stored_of[#stored_of + 1] = 'v:' .. ARGV[9 + f]
    digests[#digests + 1] = 'd:' .. ARGV[9 + f]
  end
end
if #fields > 0 then
  for i, name in ipairs(digests) do stored_of[#fields + i] = name end
  stored_of = redis.call('HMGET', KEYS[2], unpack(stored_of))
  pending = redis.call('GET', KEYS[4])
end

-- is_proven reports whether a stored digest proves that the CRM has the winner's value of a field.
-- It does only while it is young, and never if the clock went back.
local function is_proven(stored, f)
  if not stored or digest[f] == '' or string.sub(stored, 7) ~= digest[f] then return false end
  local age = now - time_of(stored)
  return age >= 0 and age < tonumber(ARGV[6])
end

local untrue, handed, granted = {}, {}, {}
for f = 1, names do
  local r = 1 + events + 3 * (f - 1)
  reply[r + 1], reply[r + 2], reply[r + 3] = 0, 0, ''
end
for i, f in ipairs(fields) do
  local r, name, stored, decision = 1 + events + 3 * (f - 1), ARGV[9 + f], stored_of[i] or '', 0
  local stored_digest = stored_of[#fields + i]
  if newer(stored, packed[f]) then
    decision = 1
  elseif is_proven(stored_digest, f) then
    decision = 2
  else
    untrue[#untrue + 1] = digests[i]
    handed[#handed + 1] = f
  end
  reply[r + 1], reply[r + 2], reply[r + 3] = winner[f], decision, stored
  granted[name] = {event = winner_id[f], version = version[f], stored = stored, decision = decision}
end

local wait, twice = 0, {}
local list = read_pending(pending, now, function(p, name)
  local g = granted[name]
  if p.token == token then return false end -- added again below
  if not g then return true end
  if p.version <= digits_of(g.stored) then return false end -- overtaken, so its outcome does not matter
  -- An event of the request itself never causes a wait: its position among the requested events is
  -- known, and another delivery of it may have another version. A later edit of its value does: the
  -- request does not contain that.
  if g.decision ~= 1 and p.version > g.version and (live[p.event] or -1) < edited(p.version) then
    wait = math.max(wait, p.expires - now)
  end
  if g.decision == 0 and p.event == g.event and edited(p.version) == edited(g.version) then
    twice[name] = true
    return false
  end
  return true
end)
if wait > 0 then return {3, wait} end

redis.call('SET', KEYS[1], token, 'PX', ARGV[3])
if #handed == 0 then return reply end
-- From here on it is unknown what the CRM holds, until a complete reports it.
local entry = {}
for _, f in ipairs(handed) do
  local name = ARGV[9 + f]
  local owner = twice[name] and '-' or token
  local key = winner_id[f] .. owner
  if not entry[key] then
    local expires = string.format('%.0f', now + ARGV[7])
    entry[key] = {event = winner_id[f], version = version[f], token = owner, expires = expires, names = {}}
    list[#list + 1] = entry[key]
  end
  table.insert(entry[key].names, name)
end
-- At most 64 entries. The newest stay, because an older value has to wait for those.
if #list > 64 then
  table.sort(list, function(a, b) return a.version > b.version end)
  for i = #list, 65, -1 do list[i] = nil end
end
write_pending(KEYS[4], pending, list)
redis.call('HDEL', KEYS[2], unpack(untrue))
return reply
