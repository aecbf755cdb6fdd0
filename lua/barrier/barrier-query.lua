#!lua
--[[
  Answers a query-back: did the local step happen? If not, it is barred from happening later, dtm-compatible (RedisQueryPrepared).

  KEYS[1] barrier `<gid>-00-msg-01`
  ARGV[1] how long a barrier that is set here lives, s
  RETURNS 'OK' (it happened) | 'FAILURE' (it did not and will not)
  COST    O(1)
  SLOT    the user's
]]
if #KEYS ~= 1 or #ARGV ~= 1 then return redis.error_reply('ERR barrier-query: takes 1 key and 1 argument') end
local done = redis.call('GET', KEYS[1])
if not done then redis.call('SET', KEYS[1], 'rollback', 'EX', ARGV[1]) end
return (done and done ~= 'rollback') and 'OK' or 'FAILURE'
