#!lua flags=allow-oom
--[[
  Tells the shard up to where Postgres has applied its entries: raises the copy and drops those entries.
  Never lowers; another epoch's position changes nothing. allow-oom: it frees memory.

  KEYS[1] {sN}:epoch
  KEYS[2] {sN}:applied
  KEYS[3] {sN}:outbox
  ARGV[1] epoch the position is of
  ARGV[2] seq of the last applied entry
  RETURNS ok | stale (not higher than what is there) | foreign (another epoch)
  COST    O(entries dropped)
  SLOT    {sN}
]]
-- <settled> whether an entry is in Postgres (DESIGN 4.8): positions are compared within one epoch only; the same text in every script that has it
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
local function isSettled(entryEpoch, entrySeq, epoch, upTo)
  return tonumber(entryEpoch) < tonumber(epoch) or (entryEpoch == epoch and tonumber(entrySeq) <= upTo)
end
-- </settled>
if #KEYS ~= 3 or #ARGV ~= 2 then return redis.error_reply('ERR settle: takes 3 keys and 2 arguments') end
local epoch, seq = ARGV[1], tonumber(ARGV[2])
if not seq or not string.match(epoch, '^%d+$') then return redis.error_reply('ERR settle: epoch and seq must be numbers') end

if redis.call('GET', KEYS[1]) ~= epoch then return 'foreign' end
if seq <= settledUpTo(KEYS[2], epoch) then return 'stale' end

redis.call('SET', KEYS[2], epoch .. '-' .. ARGV[2])
redis.call('XTRIM', KEYS[3], 'MINID', '=', epoch .. '-' .. string.format('%.0f', seq + 1))
return 'ok'
