--[[
  Whether an entry is in Postgres (DESIGN 4.8): positions are compared within one epoch only, and all of an earlier epoch is.
  `upTo` is settledUpTo's answer for `epoch`.

  KEYS    none
]]
local function isSettled(entryEpoch, entrySeq, epoch, upTo)
  return tonumber(entryEpoch) < tonumber(epoch) or (entryEpoch == epoch and tonumber(entrySeq) <= upTo)
end
