-- Functions for pending values, prepended to the scripts acquire, complete, release and view.
--
-- The field p of the member's hash holds the values that were handed out and whose outcome is
-- unknown: the CRM may or may not hold them. Its format is event:version:token:until:name,name with
-- entries separated by semicolons; until is in ms. The token is '-' where two tokens handed out the
-- same value.

-- event_id joins the event's name, which ends the key of its mark, and its order value.
local function event_id(key, order) return string.sub(key, -32) .. order end

-- millis is Redis' clock in ms.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- read_pending lists the entries of the text that have not expired. For each name of an entry it
-- asks keep whether to keep that name.
local function read_pending(text, now, keep)
  local list = {}
  for event, version, token, expires, names in string.gmatch(text or '', '(%x+):(%d+):([^:]+):(%d+):([^;]+)') do
    local p = {event = event, version = version, token = token, expires = expires, names = {}}
    if tonumber(expires) > now then
      for name in string.gmatch(names, '[^,]+') do
        if keep(p, name) then table.insert(p.names, name) end
      end
    end
    if #p.names > 0 then list[#list + 1] = p end
  end
  return list
end

local function pending_text(list)
  local entries = {}
  for i, p in ipairs(list) do
    entries[i] = table.concat({p.event, p.version, p.token, p.expires, table.concat(p.names, ',')}, ':')
  end
  return table.concat(entries, ';')
end

-- write_pending replaces the stored text if it changes.
local function write_pending(key, text, list)
  local new = pending_text(list)
  if new == (text or '') then return end
  if new == '' then
    redis.call('HDEL', key, 'p')
  else
    redis.call('HSET', key, 'p', new)
  end
end

