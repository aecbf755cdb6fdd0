#!lua flags=allow-oom
--[[
  Prolongs the coordinator's lease and, if the shard is open in the caller's epoch and attempt on this very server, the permission to
  sell. allow-oom: refused at maxmemory the shard would close and nothing would settle.

  KEYS[1] {sN}:lease
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:epoch
  ARGV[1] token of the coordinator
  ARGV[2] ms the lease lasts
  ARGV[3] ms since 1970 by this server's clock at which the permission ends (open.lua says why)
  ARGV[4] epoch
  ARGV[5] nonce of the attempt
  RETURNS ok | not_holder (nothing prolonged) | recovering (only the lease prolonged) | foreign (another epoch or attempt; likewise)
  COST    O(1)
  SLOT    {sN}
]]
-- @include server
-- @include latch
if #KEYS ~= 4 or #ARGV ~= 5 then return redis.error_reply('ERR renew: takes 4 keys and 5 arguments') end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'not_holder' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local epoch = latch(KEYS[2], KEYS[4])
if not epoch then return 'recovering' end
if epoch ~= ARGV[4] or redis.call('GET', KEYS[3]) ~= ARGV[5] then return 'foreign' end
redis.call('PEXPIREAT', KEYS[2], ARGV[3], 'GT')
return 'ok'
