#!lua flags=allow-oom
--[[
  Takes finished messages whose records have expired out of the list of messages. The records went by themselves.

  KEYS[1] {sN}:messages:finished
  KEYS[2] {sN}:messages
  ARGV[1] how many at most, 1 to 1000
  RETURNS how many went
  COST    O(log messages) each
  SLOT    {sN}
]]
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if #KEYS ~= 2 or #ARGV ~= 1 then return redis.error_reply('ERR message-purge: takes 2 keys and 1 argument') end
local limit = tonumber(ARGV[1])
if not limit or limit < 1 or limit > 1000 then return redis.error_reply('ERR message-purge: limit must be 1 to 1000') end
local now = nowMs()
local gids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
if #gids == 0 then return 0 end
redis.call('ZREM', KEYS[2], unpack(gids))
redis.call('ZREM', KEYS[1], unpack(gids))
return #gids
