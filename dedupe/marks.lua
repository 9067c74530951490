-- Functions for done marks, prepended to the scripts acquire, complete and restore. Each call of a
-- script makes a new closure of each function, so those that only write are in a file of their own.
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

local function is_held(outcome) return string.sub(outcome, 2, 6) == 'held.' end

-- read_marks reads the marks of the names that ARGV has from an index on. In chunks of 1,000: Lua's
-- stack limits the number of arguments of a call.
local function read_marks(key, first, number)
  if number == 0 then return {} end
  if number <= 1000 then return redis.call('HMGET', key, unpack(ARGV, first, first + number - 1)) end
  local marks = {}
  for from = 0, number - 1, 1000 do
    local to = math.min(from + 1000, number)
    for i, mark in ipairs(redis.call('HMGET', key, unpack(ARGV, first + from, first + to - 1))) do
      marks[from + i] = mark
    end
  end
  return marks
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

-- time_of is the time in ms with which a digest begins, in six bytes.
local function time_of(digest)
  local ms = 0
  for _, byte in ipairs({string.byte(digest, 1, 6)}) do ms = ms * 256 + byte end
  return ms
end
