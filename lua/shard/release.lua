#!lua flags=allow-oom
--[[
  Gives the lease up, so that another coordinator need not wait for it to expire.

  KEYS[1] {sN}:lease
  ARGV[1] token of the coordinator
  RETURNS ok | not_holder
  COST    O(1)
  SLOT    {sN}
]]
if #KEYS ~= 1 or #ARGV ~= 1 then return redis.error_reply('ERR release: takes 1 key and 1 argument') end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'not_holder' end
redis.call('DEL', KEYS[1])
return 'ok'
