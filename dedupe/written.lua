-- Functions that write done marks and versions, prepended to the scripts complete and restore.

-- At most eight entries of a name are kept. An event whose entry was dropped is live when it is
-- delivered again, and so are its redrives. The versions decide then, so no field goes back.
local kept = 8

local function mark_entry(id, now, by, redrive, outcome)
  local kind, number = string.byte(outcome), ''
  if redrive > 0 then
    kind, number = kind + 8, string.char(math.floor(redrive / 256), redrive % 256)
  end
  local text = string.sub(outcome, 2)
  if text ~= '' then text = string.char(#text) .. text end
  return id .. string.char(math.floor(now / 256), now % 256) .. by .. string.char(kind) .. number .. text
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
    local text = ''
    for i = math.max(1, #entries - kept + 1), #entries do text = text .. entries[i].text end
    all[#all + 1] = name
    all[#all + 1] = text
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

local function time_text(ms)
  local bytes = {}
  for i = 6, 1, -1 do
    bytes[i] = ms % 256
    ms = math.floor(ms / 256)
  end
  return string.char(unpack(bytes))
end
