#!lua flags=allow-oom
--[[
  Tells the shard up to where Postgres has applied its entries: raises the copy and drops those entries.
  Never lowers; another epoch's position changes nothing. allow-oom: it frees memory.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:applied
  KEYS[4] {sN}:outbox
  ARGV[1] epoch the position is of
  ARGV[2] seq of the last applied entry
  RETURNS ok | stale (not higher than what is there) | foreign (another epoch)
  COST    O(entries dropped)
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
  The seq up to which this epoch's entries are in Postgres; 0 if none is known to be.

  KEYS    {sN}:applied
]]
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
--[[
  The last id ever given in a stream, 0-0 if there is none.

  KEYS    {sN}:outbox
]]
local function lastId(streamKey)
  if redis.call('EXISTS', streamKey) == 0 then return '0-0' end
  local facts = redis.call('XINFO', 'STREAM', streamKey)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then return facts[i + 1] end
  end
end
if #KEYS ~= 4 or #ARGV ~= 2 then return redis.error_reply('ERR settle: takes 4 keys and 2 arguments') end
local epoch, seq = ARGV[1], tonumber(ARGV[2])
if not seq or not string.match(epoch, '^%d+$') then return redis.error_reply('ERR settle: epoch and seq must be numbers') end

if redis.call('GET', KEYS[2]) ~= epoch then return 'foreign' end
if seq <= settledUpTo(KEYS[3], epoch) then return 'stale' end
-- a server that came back with less is not open, and its next attempt compares it with Postgres
local lastEpoch, lastSeq = string.match(lastId(KEYS[4]), '^(%d+)-(%d+)$')
if (lastEpoch ~= epoch or tonumber(lastSeq) < seq) and latch(KEYS[1], KEYS[2]) then
  return redis.error_reply('INVARIANT settled: ' .. epoch .. '-' .. ARGV[2] .. ' is applied, and the open shard made no such entry')
end

redis.call('SET', KEYS[3], epoch .. '-' .. ARGV[2])
redis.call('XTRIM', KEYS[4], 'MINID', '=', epoch .. '-' .. string.format('%.0f', seq + 1))
return 'ok'
