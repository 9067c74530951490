-- Functions for pending values, prepended to the scripts acquire, complete, release and view.
--
-- The member's pending key holds the values that were handed out and whose outcome is unknown: the
-- CRM may or may not hold them. An entry is the 12 bytes of the event's hash and then
-- version:token:until:name,name; with until in ms. The token is '-' where two tokens handed out the
-- same value. It is a key of its own because a long value would keep Redis from storing the fields
-- compactly, for good.

-- edited is the number of the redrive that edited the value of a version: its last four digits.
local function edited(version) return tonumber(string.sub(version, -4)) end

-- millis is Redis' clock in ms.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- read_pending lists the entries of the text that have not expired and are not over. It drops a
-- name of an entry unless keep, if it is given, keeps it, and an entry without names.
local function read_pending(text, now, is_over, keep)
  local list = {}
  local entry = '^(............)(%d+):([^:]+):(%d+):([^;]+);()'
  local event, version, token, expires, names, next = string.match(text or '', entry)
  while event do
    local p = {event = event, version = version, token = token, expires = expires, names = names}
    if tonumber(expires) > now and not is_over(p) then
      if keep then
        p.names = nil
        for name in string.gmatch(names, '[^,]+') do
          if keep(p, name) then p.names = p.names and p.names .. ',' .. name or name end
        end
      end
      if p.names then list[#list + 1] = p end
    end
    event, version, token, expires, names, next = string.match(text, entry, next)
  end
  return list
end

-- pending_text is the text of the entries, and when the last of them expires.
local function pending_text(list)
  local entries, last = {}, '0'
  for i, p in ipairs(list) do
    entries[i] = p.event .. p.version .. ':' .. p.token .. ':' .. p.expires .. ':' .. p.names .. ';'
    if tonumber(p.expires) > tonumber(last) then last = p.expires end
  end
  return table.concat(entries), last
end

-- write_pending replaces the stored text if it changes. The key expires with its last entry.
local function write_pending(key, text, list)
  local new, last = pending_text(list)
  if new == (text or '') then return end
  if new == '' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, new, 'PXAT', last)
  end
end
