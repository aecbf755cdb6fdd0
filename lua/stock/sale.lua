#!lua flags=allow-oom
--[[
  Creates or changes a sale's definition; never its stock. A sale begins with no unit and no stock move (`unstocked`).
  allow-oom: an operator must be able to pause a sale on a full server, and it takes a few bytes.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:sales
  KEYS[4] {sN}:archived
  KEYS[5] {sN}:sale:<id>
  ARGV[1] epoch the caller believes in
  ARGV[2] id of the sale
  ARGV[3] version of the definition
  ARGV[4] state: open, paused or closed
  ARGV[5] most units a buyer may hold; cannot change, because the buyers' fields depend on it
  ARGV[6] ms since 1970 when it opens
  ARGV[7] ms since 1970 when it closes
  RETURNS ok | stale (that version or a later one is there, or the sale is archived) | recovering | foreign (another epoch)
  COST    O(1)
  SLOT    {sN}
]]
-- @include server
-- @include latch
if #KEYS ~= 5 or #ARGV ~= 7 then return redis.error_reply('ERR sale: takes 5 keys and 7 arguments') end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
if epoch ~= ARGV[1] then return 'foreign' end
-- a definition from before: the hash that would make it stale is gone
if redis.call('SISMEMBER', KEYS[4], ARGV[2]) == 1 then return 'stale' end

local held = redis.call('HMGET', KEYS[5], 'version', 'limit', 'state')
local version, limit = tonumber(ARGV[3]), tonumber(ARGV[5])
if held[1] and version and tonumber(held[1]) >= version then return 'stale' end
if not version or not limit or limit < 1 or not tonumber(ARGV[6]) or not tonumber(ARGV[7]) then
  return redis.error_reply('ERR sale: version, limit and window must be numbers')
end
if ARGV[4] ~= 'open' and ARGV[4] ~= 'paused' and ARGV[4] ~= 'closed' then return redis.error_reply('ERR sale: no such state') end
if held[2] and tonumber(held[2]) ~= limit then return redis.error_reply('ERR sale: the limit of a sale cannot change') end
if held[3] == 'closed' and ARGV[4] ~= 'closed' then return redis.error_reply('INVARIANT sale_state: a closed sale would be ' .. ARGV[4]) end

redis.call('HSET', KEYS[5], 'version', ARGV[3], 'state', ARGV[4], 'limit', ARGV[5], 'opens_at', ARGV[6], 'closes_at', ARGV[7])
if not held[1] then
  redis.call('HSET', KEYS[5], 'left', 0, 'moves', 0, 'moved_at', '0-0')
  redis.call('SADD', KEYS[3], ARGV[2])
end
return 'ok'
