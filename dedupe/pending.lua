-- Before acquire, complete and release. What the field p of the member's hash holds: the values that were handed out and
-- of which nobody knows yet whether the CRM has them, as version:token:until:name,name between semicolons; until in ms. The
-- token is '-' where two handed out the same.

-- millis is Redis' clock.
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- read_pending lists what of the text has not run out, and for each name of it what keep says: whether to keep it.
local function read_pending(text, now, keep)
  local list = {}
  for version, token, till, names in string.gmatch(text or '', '(%d+):([^:]+):(%d+):([^;]+)') do
    if tonumber(till) > now then
      local kept = {}
      for name in string.gmatch(names, '[^,]+') do
        if keep(name, version, token, tonumber(till)) then kept[#kept + 1] = name end
      end
      if #kept > 0 then list[#list + 1] = {version = version, token = token, till = till, names = kept} end
    end
  end
  return list
end

local function pending_text(list)
  local entries = {}
  for i, p in ipairs(list) do
    entries[i] = table.concat({p.version, p.token, p.till, table.concat(p.names, ',')}, ':')
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

