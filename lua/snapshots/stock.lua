#!lua flags=no-writes
--[[
  A sale's stock and definition on this shard.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:applied
  KEYS[4] {sN}:sale:<id>
  KEYS[5] {sN}:buyers:<id>
  RETURNS {epoch, left, moves, last stock move is applied (1/0), state, version, limit, opens_at, closes_at, fields of the buyers' hash}
          | recovering | unknown (no such sale here)
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
  The seq up to which this epoch's entries are in Postgres; 0 if none is known to be.

  KEYS    {sN}:applied
]]
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
--[[
  Whether an entry is in Postgres (DESIGN 4.8): positions are compared within one epoch only, and all of an earlier epoch is.
  `upTo` is settledUpTo's answer for `epoch`.

  KEYS    none
]]
local function isSettled(entryEpoch, entrySeq, epoch, upTo)
  return tonumber(entryEpoch) < tonumber(epoch) or (entryEpoch == epoch and tonumber(entrySeq) <= upTo)
end
if #KEYS ~= 5 or #ARGV ~= 0 then return redis.error_reply('ERR stock: takes 5 keys and no argument') end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
local sale = redis.call('HMGET', KEYS[4], 'left', 'moves', 'moved_at', 'state', 'version', 'limit', 'opens_at', 'closes_at')
if not sale[4] then return 'unknown' end
local movedEpoch, movedSeq = string.match(sale[3] or '', '^(%d+)-(%d+)$')
if not movedEpoch or not string.match(sale[1] or '', '^%d+$') then return redis.error_reply('INVARIANT stock: stock found it in the hash of the sale') end
local movesApplied = isSettled(movedEpoch, movedSeq, epoch, settledUpTo(KEYS[3], epoch))
return {
  epoch, sale[1], sale[2], movesApplied and 1 or 0, sale[4], sale[5], sale[6], sale[7], sale[8], redis.call('HLEN', KEYS[5]),
}
