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
--[[
  Who this server is: its replication id, whether it is a primary, and all that INFO says of its replication.

  KEYS    none
]]
local function server()
  local info = redis.call('INFO', 'replication')
  local replid = string.match(info, '\nmaster_replid:(%x+)\r')
  local primary = string.find(info, '\nrole:master\r', 1, true) ~= nil
  return replid, primary, info
end
--[[
  The epoch if this shard may change here and now, else nil (DESIGN 4.3).

  KEYS    {sN}:open, {sN}:epoch
  NEEDS   server
]]
local function latch(openKey, epochKey)
  local held = redis.call('MGET', openKey, epochKey)
  local open, epoch = held[1], held[2]
  if not open or not epoch then return nil end
  local replid, primary = server()
  if not primary or open ~= epoch .. ' ' .. replid then return nil end
  return epoch
end
if #KEYS ~= 4 or #ARGV ~= 5 then return redis.error_reply('ERR renew: takes 4 keys and 5 arguments') end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'not_holder' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local epoch = latch(KEYS[2], KEYS[4])
if not epoch then return 'recovering' end
if epoch ~= ARGV[4] or redis.call('GET', KEYS[3]) ~= ARGV[5] then return 'foreign' end
redis.call('PEXPIREAT', KEYS[2], ARGV[3], 'GT')
return 'ok'
