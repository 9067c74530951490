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
local winner, digest = {}, {} -- by index of the name: an event, and where ARGV has the digest
local start = {} -- by event: where ARGV has its hash, and then the rest of it
local at = 10 + names + events
for i = 1, events do
  local id, reused, done = ARGV[at], false, false
  if marks[i] then
    local redrive, try_held = tonumber(ARGV[at + 1]), ARGV[at + 2] == '1'
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
  reply[1 + i] = (reused and '+' or '') .. (done or '')
  start[i] = at
  local version, stated = ARGV[at + 3], tonumber(ARGV[at + 5])
  at = at + 6
  if not done then
    for field = at, at + 2 * stated - 1, 2 do
      local f = tonumber(ARGV[field])
      -- Versions are digits of one width, so comparing strings with < is correct in every locale.
      if not winner[f] or ARGV[start[winner[f]] + 3] <= version then
        winner[f], digest[f] = i, field + 1
      end
    end
  end
  at = at + 2 * stated
end

-- Each call into Redis costs more than the Lua code around it. So one call reads all versions and
-- then all digests.
local fields, stored_of, number = {}, {}, 0
for f = 1, names do
  if winner[f] then
    number = number + 1
    fields[number] = f
    stored_of[number] = 'v:' .. ARGV[9 + f]
  end
end
local pending = false
if number > 0 then
  for i = 1, number do stored_of[number + i] = 'd:' .. ARGV[9 + fields[i]] end
  stored_of = redis.call('HMGET', KEYS[2], unpack(stored_of))
  pending = redis.call('GET', KEYS[4])
end

-- is_proven reports whether a stored digest proves that the CRM has the winner's value of a field.
-- It does only while it is young, and never if the clock went back.
local function is_proven(stored, of_winner)
  if of_winner == '' or string.sub(stored, 7) ~= of_winner then return false end
  local age = now - time_of(stored)
  return age >= 0 and age < tonumber(ARGV[6])
end

local untrue, handed = {}, {}
for r = 2 + events, 1 + events + 3 * names, 3 do
  reply[r], reply[r + 1], reply[r + 2] = 0, 0, ''
end
for i, f in ipairs(fields) do
  local r, stored, stored_digest, decision = 1 + events + 3 * (f - 1), stored_of[i] or '', stored_of[number + i], 0
  if newer(stored, ARGV[start[winner[f]] + 4]) then
    decision = 1
  elseif stored_digest and is_proven(stored_digest, ARGV[digest[f]]) then
    decision = 2
  else
    untrue[#untrue + 1] = 'd:' .. ARGV[9 + f]
    handed[#handed + 1] = f
  end
  reply[r + 1], reply[r + 2], reply[r + 3] = winner[f], decision, stored
end

local list, twice = {}, {}
if pending then
  local granted, live = {}, {} -- live, by id: requested and not done; the highest edit of its value
  for i = 1, events do
    local id = ARGV[start[i]]
    if #reply[1 + i] < 2 then live[id] = math.max(live[id] or 0, edited(ARGV[start[i] + 3])) end
  end
  for _, f in ipairs(fields) do
    local from, r = start[winner[f]], 1 + events + 3 * (f - 1)
    granted[ARGV[9 + f]] = {event = ARGV[from], version = ARGV[from + 3], decision = reply[r + 2], stored = reply[r + 3]}
  end
  local wait = 0
  list = read_pending(pending, now, function(p)
    return p.token == token -- added again below
  end, function(p, name)
    local g = granted[name]
    if not g then return true end
    if p.version <= digits_of(g.stored) then return false end -- overtaken, so its outcome does not matter
    -- An event of the request itself never causes a wait: its position among the requested events
    -- is known, and another delivery of it may have another version. A later edit of its value
    -- does: the request does not contain that.
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
end

redis.call('SET', KEYS[1], token, 'PX', ARGV[3])
if #handed == 0 then return reply end
-- From here on it is unknown what the CRM holds, until a complete reports it.
local expires = string.format('%.0f', now + ARGV[7])
local entry, shared = {}, {} -- by winner
for _, f in ipairs(handed) do
  local name, from = ARGV[9 + f], start[winner[f]]
  local of = twice[name] and shared or entry
  local p = of[from]
  if p then
    p.names = p.names .. ',' .. name
  else
    p = {
      event = ARGV[from], version = ARGV[from + 3], token = twice[name] and '-' or token,
      expires = expires, names = name,
    }
    of[from] = p
    list[#list + 1] = p
  end
end
-- At most 64 entries. The newest stay, because an older value has to wait for those.
if #list > 64 then
  table.sort(list, function(a, b) return a.version > b.version end)
  for i = #list, 65, -1 do list[i] = nil end
end
write_pending(KEYS[4], pending, list)
redis.call('HDEL', KEYS[2], unpack(untrue))
return reply
