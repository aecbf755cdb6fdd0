--[[
  The seq up to which this epoch's entries are in Postgres; 0 if none is known to be.

  KEYS    {sN}:applied
]]
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
