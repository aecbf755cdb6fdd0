#!lua flags=allow-oom
--[[
  Takes a sale that is archived out of Redis (DESIGN 7.6): definition, buyers and grants; Postgres answers for it. Only a closed one, and only
  when none of its entries is in the outbox. Its id stays until the shard's next epoch, so that no definition that was on its way for long
  makes it anew. allow-oom: it frees memory.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:outbox
  KEYS[4] {sN}:sales
  KEYS[5] {sN}:archived
  KEYS[6] {sN}:sale:<id>
  KEYS[7] {sN}:buyers:<id>
  KEYS[8] {sN}:grants:<id>
  ARGV[1] epoch the caller believes in
  ARGV[2] id of the sale
  RETURNS ok (it is not here any more) | pending (the outbox holds an entry of it, or too many to look through: ask again) | recovering
          | foreign (another epoch); nothing has changed unless ok
  COST    O(entries of the outbox), at most 64 of them; keys are unlinked, whatever their size
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
local MOST_ENTRIES = 64
if #KEYS ~= 8 or #ARGV ~= 2 then return redis.error_reply('ERR archive: takes 8 keys and 2 arguments') end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
if epoch ~= ARGV[1] then return 'foreign' end
local state = redis.call('HGET', KEYS[6], 'state')
if not state then return 'ok' end
if state ~= 'closed' then return redis.error_reply('INVARIANT sale_state: an archived sale is ' .. state) end
if redis.call('XLEN', KEYS[3]) > MOST_ENTRIES then return 'pending' end
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', '+')) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 's' and fields[i + 1] == ARGV[2] then return 'pending' end
  end
end

redis.call('UNLINK', KEYS[6], KEYS[7], KEYS[8])
redis.call('SREM', KEYS[4], ARGV[2])
redis.call('SADD', KEYS[5], ARGV[2])
return 'ok'
