#!lua
--[[
  The local step of a two-phase message on a counter in Redis: changes a stock once per barrier, dtm-compatible (RedisCheckAdjustAmount)
  but with the barrier looked at before the stock: dtm's order calls the repeat of the last unit's winner a failure, and that unit is lost.

  KEYS[1] the stock: an integer
  KEYS[2] barrier `<gid>-<branch id>-<op>-<barrier id>`
  KEYS[3] barrier of the step that this one compensates; KEYS[2] again if it compensates none
  ARGV[1] amount to add; below zero takes
  ARGV[2] how long the barriers live, s
  RETURNS 'OK' | 'DUPLICATE' (done before) | 'ROLLBACK' (was declared not to happen) | 'FAILURE' (stock missing or too low; nothing written)
          | 'SKIPPED' (the step to compensate never happened and now never will)
  COST    O(1)
  SLOT    the user's: in Redis Cluster gid and stock must carry one hash tag
]]
if #KEYS ~= 3 or #ARGV ~= 2 then return redis.error_reply('ERR barrier-adjust: takes 3 keys and 2 arguments') end
local done = redis.call('GET', KEYS[2])
if done == 'rollback' then return 'ROLLBACK' end
if done then return 'DUPLICATE' end
local compensates = KEYS[3] ~= KEYS[2]
if compensates and not redis.call('GET', KEYS[3]) then
  redis.call('SET', KEYS[3], 'rollback', 'EX', ARGV[2])
  redis.call('SET', KEYS[2], 'op', 'EX', ARGV[2])
  return 'SKIPPED'
end
local stock = redis.call('GET', KEYS[1])
if not stock then return 'FAILURE' end
if not tonumber(stock) then return redis.error_reply('ERR barrier-adjust: the stock is not a number') end
if stock + ARGV[1] < 0 then return 'FAILURE' end

redis.call('SET', KEYS[2], 'op', 'EX', ARGV[2])
redis.call('INCRBY', KEYS[1], ARGV[1])
return 'OK'
