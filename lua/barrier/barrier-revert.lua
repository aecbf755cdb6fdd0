#!lua
--[[
  Takes back a local step whose message has failed in the meantime (a rival call with the same gid aborted it): the stock is put back
  and the barrier declares that the step never happened. Once.

  KEYS[1] the stock: an integer
  KEYS[2] barrier of the step
  ARGV[1] amount that the step added; the opposite is added
  ARGV[2] how long the barrier lives, s
  RETURNS 'OK' | 'DUPLICATE' (there is no such step, or it was taken back)
  COST    O(1)
  SLOT    the user's
]]
if #KEYS ~= 2 or #ARGV ~= 2 then return redis.error_reply('ERR barrier-revert: takes 2 keys and 2 arguments') end
local done = redis.call('GET', KEYS[2])
if not done or done == 'rollback' then return 'DUPLICATE' end
-- what DECRBY below would refuse, after the barrier was written
local stock = redis.call('GET', KEYS[1]) or '0'
if #stock > 15 or not string.match(stock, '^-?[1-9]%d*$') and stock ~= '0' then
  return redis.error_reply('ERR barrier-revert: the stock is not a whole number')
end

redis.call('SET', KEYS[2], 'rollback', 'EX', ARGV[2])
redis.call('DECRBY', KEYS[1], ARGV[1])
return 'OK'
