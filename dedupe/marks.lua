-- Functions for done marks, prepended to the scripts acquire, complete and restore.
--
-- The marks of a member are one hash. Its fields are the first four bytes of the hash of an event's
-- name. A value has one entry after the other, one for each event of that name:
--   12 bytes: the event, a hash of its name and its order value
--    2 bytes: the hour in which it was completed, modulo 65536
--    5 bytes: of the hash of the token that completed it; zeros if it was restored
--    1 byte:  the code of its outcome, or 0 if a text follows; plus 8 if a redrive number follows
--   [2 bytes] the redrive number
--   [1 byte and as many bytes as that says] the outcome as text
-- Any other code is of a format that this program does not know. The first bytes of numbers are the
-- highest. mark.go has the codes and reads the same format.

local bad_format = 'MSFORMAT a done mark has a format that this program does not know'
local dead_lettered = string.char(4) -- as an outcome, which is its code and its text

-- At most eight entries of a name are kept. An event whose entry was dropped is live when it is
-- delivered again, and so are its redrives. The versions decide then, so no field goes back.
local kept = 8

-- hour_of is a time in ms as entries have it.
local function hour_of(now) return math.floor(now / 3600000) % 65536 end

-- has_expired looks at the entry that begins at a position. It is trusted for the TTL at least, and
-- for less than two hours longer. An hour in the future is that of a clock that has gone back.
local function has_expired(text, at, now, ttl)
  local high, low = string.byte(text, at + 12, at + 13)
  local age = (now - high * 256 - low) % 65536
  return age > ttl + 1 and age < 32768
end

-- read_mark lists the entries that have not expired; nil: bad format.
local function read_mark(text, now, ttl)
  local list, at, size = {}, 1, #text
  while at <= size do
    local kind, after, redrive = string.byte(text, at + 19) or 255, at + 20, 0
    local code = kind % 8
    if kind > 15 or code > 4 then return nil end
    if kind > 7 then
      local high, low = string.byte(text, after, after + 1)
      redrive, after = (high or 0) * 256 + (low or 0), after + 2
    end
    local outcome = string.char(code)
    if code == 0 then
      local length = string.byte(text, after) or 0
      outcome = outcome .. string.sub(text, after + 1, after + length)
      after = after + 1 + length
    end
    if after > size + 1 then return nil end
    if not has_expired(text, at, now, ttl) then
      list[#list + 1] = {
        id = string.sub(text, at, at + 11), by = string.sub(text, at + 14, at + 18),
        redrive = redrive, outcome = outcome, text = string.sub(text, at, after - 1),
      }
    end
    at = after
  end
  return list
end

local function mark_entry(id, now, by, redrive, outcome)
  local kind, number = string.byte(outcome), ''
  if redrive > 0 then
    kind, number = kind + 8, string.char(math.floor(redrive / 256), redrive % 256)
  end
  local text = string.sub(outcome, 2)
  if text ~= '' then text = string.char(#text) .. text end
  return id .. string.char(math.floor(now / 256), now % 256) .. by .. string.char(kind) .. number .. text
end

local function is_held(outcome) return string.sub(outcome, 2, 6) == 'held.' end

-- read_marks reads the marks of the names that ARGV has from an index on. In chunks of 1,000: Lua's
-- stack limits the number of arguments of a call.
local function read_marks(key, first, number)
  local marks = {}
  for from = 0, number - 1, 1000 do
    local to = math.min(from + 1000, number)
    for i, mark in ipairs(redis.call('HMGET', key, unpack(ARGV, first + from, first + to - 1))) do
      marks[from + i] = mark
    end
  end
  return marks
end

-- expired_marks lists names of which every entry has expired. It looks at a random part of the
-- marks, twice as many as the request adds and eight more. So a call never reads all marks of a
-- member that has many, and where marks are added steadily, at most as many expired ones as others
-- stay. Where few are added, one of four calls looks at four times as many, which costs less: the
-- first byte of the token's hash chooses.
local function expired_marks(key, by, added, now, ttl)
  local names, looks = {}, 2 * added + 8
  if added < 16 then
    if string.byte(by) >= 64 then return names end
    looks = 4 * looks
  end
  local sample = redis.call('HRANDFIELD', key, looks, 'WITHVALUES')
  for i = 1, #sample, 2 do
    local mark = sample[i + 1]
    if #mark > 13 and has_expired(mark, 1, now, ttl) then -- mostly it has not, which is seen at once
      local entries = read_mark(mark, now, ttl)
      if entries and #entries == 0 then names[#names + 1] = sample[i] end
    end
  end
  return names
end

-- expiry is the time, as PEXPIREAT takes it, at which a TTL in ms from now ends.
local function expiry(now, ttl) return string.format('%.0f', now + ttl) end

-- write_marks removes the expired names, then writes the entries of each name. The TTL is in ms.
local function write_marks(key, expired, value, now, ttl)
  for from = 1, #expired, 1000 do
    redis.call('HDEL', key, unpack(expired, from, math.min(from + 999, #expired)))
  end
  local all = {}
  for name, entries in pairs(value) do
    local texts = {}
    for i = math.max(1, #entries - kept + 1), #entries do texts[#texts + 1] = entries[i].text end
    all[#all + 1] = name
    all[#all + 1] = table.concat(texts)
  end
  for from = 1, #all, 1000 do
    redis.call('HSET', key, unpack(all, from, math.min(from + 999, #all)))
  end
  if #all > 0 then redis.call('PEXPIREAT', key, expiry(now, ttl)) end
end

-- expire_versions lets the fields expire in a TTL in ms; '0': never. It runs at each completion and
-- restore, also if no version moves: the dead letter of an older event can be redriven for as long
-- as its topic holds it. It runs before the marks are written, as versions are, and from the same
-- time: with PEXPIRE, which reads the clock, versions would expire before marks of the same TTL.
local function expire_versions(key, now, ttl)
  if ttl == '0' then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIREAT', key, expiry(now, ttl))
  end
end

-- Versions are stored with two digits in each byte. Lua's < follows the server's locale, so these
-- are compared byte by byte where they differ. Digits of one width are compared with <: every
-- locale orders them as bytes.
local function newer(a, b)
  if a == b then return false end
  for at = 1, #a, 8 do -- mostly they begin alike
    if string.sub(a, at, at + 7) ~= string.sub(b, at, at + 7) then
      for i = at, math.min(at + 7, #a) do
        local x, y = string.byte(a, i), string.byte(b, i) or -1
        if x ~= y then return x > y end
      end
      return false
    end
  end
  return false
end

local function digits_of(stored)
  if not stored then return '' end
  return string.format(string.rep('%02x', #stored), string.byte(stored, 1, -1))
end

-- time_of is the time in ms with which a digest begins, in six bytes, and time_text writes it.
local function time_of(digest)
  local ms = 0
  for _, byte in ipairs({string.byte(digest, 1, 6)}) do ms = ms * 256 + byte end
  return ms
end

local function time_text(ms)
  local bytes = {}
  for i = 6, 1, -1 do
    bytes[i] = ms % 256
    ms = math.floor(ms / 256)
  end
  return string.char(unpack(bytes))
end
