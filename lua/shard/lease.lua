#!lua flags=allow-oom
--[[
  Takes or prolongs the lease of a shard's coordinator. For liveness only: no safety rests on it.
  allow-oom: refused at maxmemory nobody could look after the shard, and only settling frees memory.

  KEYS[1] {sN}:lease
  ARGV[1] token of the coordinator
  ARGV[2] ms the lease lasts
  RETURNS ok | not_holder
  COST    O(1)
  SLOT    {sN}
]]
if #KEYS ~= 1 or #ARGV ~= 2 then return redis.error_reply('ERR lease: takes 1 key and 2 arguments') end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 'not_holder' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'ok'
