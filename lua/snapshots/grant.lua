#!lua
--[[
  Takes in units that Postgres has recorded for this shard (DESIGN 7.3): raises `left` and appends a `granted` entry. Once per grant id.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:outbox
  KEYS[4] {sN}:sale:<id>
  KEYS[5] {sN}:grants:<id>
  ARGV[1] epoch the caller believes in
  ARGV[2] id of the sale
  ARGV[3] id of the grant
  ARGV[4] units, from 1
  RETURNS {ok, id of the entry} | {duplicate} (taken in before) | {recovering} | {foreign} (another epoch) | {unknown} (no such sale here)
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
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if #KEYS ~= 5 or #ARGV ~= 4 then return redis.error_reply('ERR grant: takes 5 keys and 4 arguments') end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return { 'recovering' } end
if epoch ~= ARGV[1] then return { 'foreign' } end
-- HINCRBY below would make the hash: a sale that is not here must not begin by side effect
local sale = redis.call('HMGET', KEYS[4], 'state', 'left', 'moves')
if not sale[1] then return { 'unknown' } end
if redis.call('SISMEMBER', KEYS[5], ARGV[3]) == 1 then return { 'duplicate' } end
if not string.match(ARGV[4], '^[1-9]%d*$') or #ARGV[4] > 10 then return redis.error_reply('ERR grant: units must be a number from 1') end

-- what HINCRBY below would refuse after the entry was appended, and what violates an invariant
if not string.match(sale[2] or '', '^%d+$') or not string.match(sale[3] or '', '^%d+$') then
  return redis.error_reply('INVARIANT stock: grant found it in the hash of the sale')
end

local atMs = nowMs()
-- NOMKSTREAM: on a missing outbox the numbers would begin at 0 again
local id = redis.call('XADD', KEYS[3], 'NOMKSTREAM', epoch .. '-*', 'k', 'g', 's', ARGV[2], 't', atMs, 'g', ARGV[3], 'u', ARGV[4])
if not id then return { 'recovering' } end
redis.call('HINCRBY', KEYS[4], 'left', ARGV[4])
redis.call('HINCRBY', KEYS[4], 'moves', 1)
redis.call('HSET', KEYS[4], 'moved_at', id)
redis.call('SADD', KEYS[5], ARGV[3])
return { 'ok', id }
