-- Before acquire, complete, release and view. What the field p of the member's hash holds: the values that were handed out
-- and of which nobody knows yet whether the CRM has them, as event:version:token:until:name,name between semicolons; until in
-- ms. The token is '-' where two handed out the same.

-- event_id is the name of an event in its mark's key, and its order value.
local function event_id(key, order) return string.sub(key, -32) .. order end

-- millis is Redis' clock.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- read_pending lists what of the text has not run out, and for each name of it what keep says: whether to keep it.
local function read_pending(text, now, keep)
  local list = {}
  for event, version, token, till, names in string.gmatch(text or '', '(%x+):(%d+):([^:]+):(%d+):([^;]+)') do
    local p = {event = event, version = version, token = token, till = till, names = {}}
    if tonumber(till) > now then
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
    entries[i] = table.concat({p.event, p.version, p.token, p.till, table.concat(p.names, ',')}, ':')
  end
  return table.concat(entries, ';')
end

-- write_pending replaces the text, if it changes.
local function write_pending(key, text, list)
  local new = pending_text(list)
  if new == (text or '') then return end
  if new == '' then
    redis.call('HDEL', key, 'p')
  else
    redis.call('HSET', key, 'p', new)
  end
end

