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
-- @include server
-- @include latch
-- @include settled-up-to
-- @include is-settled
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
