--[[
  What a purchase with this reservation (fields.ts) is answered; nil if the text is no reservation. `upTo` is settledUpTo's answer
  for `epoch`.

  KEYS    none
  NEEDS   decisions, is-settled
]]
local function repeatDecision(reservation, epoch, upTo)
  local rejected, atEpoch, atSeq = string.match(reservation, '^(x?)(%d+)-(%d+)-')
  if not atEpoch then return nil end
  if rejected == 'x' then return REJECTED end
  return isSettled(atEpoch, atSeq, epoch, upTo) and CONFIRMED or RESERVED
end
