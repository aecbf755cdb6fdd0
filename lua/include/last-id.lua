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
