#!lua
--[[
  Local steps of two-phase messages on counters in Redis: changes a stock once per barrier, dtm-compatible (RedisCheckAdjustAmount) but with
  the barrier looked at before the stock: dtm's order calls the repeat of the last unit's winner a failure, and that unit is lost. One call
  for what a turn of the event loop brings.

  For each step
  KEYS[+1] the stock: an integer
  KEYS[+2] barrier `<gid>-<branch id>-<op>-<barrier id>`
  KEYS[+3] barrier of the step that this one compensates; the barrier itself if it compensates none
  ARGV[+1] amount to add; below zero takes
  ARGV[+2] how long the barriers live, s
  ARGV[+3] above zero: a refusal is final: the barrier then says, for so long (s), that the step never happens, so that whoever heard FAILURE
           may abort the message while a rival call of the same gid meets stock that has just come back
  RETURNS for each step: 'OK' | 'DUPLICATE' (done before) | 'ROLLBACK' (was declared not to happen) | 'FAILURE' (stock missing or too low;
          nothing written but the barrier of a final one) | 'SKIPPED' (the step to compensate never happened and now never will)
          | 'NOT_A_NUMBER' (the stock; nothing written)
  COST    O(1) each, at most 256
  SLOT    the user's: in Redis Cluster gid and stock must carry one hash tag
]]
local count = #KEYS / 3
if count < 1 or count > 256 or count % 1 ~= 0 or #ARGV ~= #KEYS then return redis.error_reply('ERR barrier-adjust: takes 3 keys and 3 arguments a step') end

local function adjust(stock_key, barrier, compensated, amount, ttl, refusal_ttl)
  local done = redis.call('GET', barrier)
  if done == 'rollback' then return 'ROLLBACK' end
  if done then return 'DUPLICATE' end
  if compensated ~= barrier and not redis.call('GET', compensated) then
    redis.call('SET', compensated, 'rollback', 'EX', ttl)
    redis.call('SET', barrier, 'op', 'EX', ttl)
    return 'SKIPPED'
  end
  local stock = redis.call('GET', stock_key)
  -- what INCRBY below would refuse, after the barrier was written: 1.5, 1e3, 007
  if stock and (#stock > 15 or not string.match(stock, '^-?[1-9]%d*$') and stock ~= '0') then return 'NOT_A_NUMBER' end
  if not stock or stock + amount < 0 then
    if refusal_ttl ~= '0' then redis.call('SET', barrier, 'rollback', 'EX', refusal_ttl) end
    return 'FAILURE'
  end
  redis.call('SET', barrier, 'op', 'EX', ttl)
  redis.call('INCRBY', stock_key, amount)
  return 'OK'
end

local answer = {}
for i = 1, #KEYS, 3 do answer[#answer + 1] = adjust(KEYS[i], KEYS[i + 1], KEYS[i + 2], ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return answer
