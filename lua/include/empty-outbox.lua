--[[
  Leaves the outbox empty with last id <epoch>-0, so that XADD <epoch>-* begins at seq 1.

  KEYS    {sN}:outbox
]]
local function emptyOutbox(outboxKey, epoch)
  -- XSETID does not create a stream and XADD <epoch>-* on a missing one begins at seq 0: hence an entry that is trimmed at once
  redis.call('UNLINK', outboxKey)
  redis.call('XADD', outboxKey, 'MAXLEN', '=', 0, epoch .. '-0', 'k', 'begin')
end
