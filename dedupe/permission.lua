-- Returns those of the commands that the user may not run. It runs none of them.
-- https://redis.io/docs/latest/develop/interact/programmability/lua-api/#redis.acl_check_cmd
--
-- KEYS: any key that the user may access. ARGV: the commands.
local denied = {}
if not redis.acl_check_cmd then return denied end
for _, command in ipairs(ARGV) do
  local allowed
  if command == 'evalsha' then
    allowed = redis.acl_check_cmd(command, 'sha', '1', KEYS[1])
  else
    allowed = redis.acl_check_cmd(command, KEYS[1])
  end
  if not allowed then denied[#denied + 1] = command end
end
return denied
