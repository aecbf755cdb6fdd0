#!lua flags=allow-oom
--[[
  Last step of an epoch that keeps Redis's state (DESIGN 7.1 step 3): empties the outbox, whose entries are all applied, and takes the
  new epoch. Only for the attempt that closed the shard, on the server it closed, while nothing was appended since. Sales that are archived
  are taken out, whatever this server knows of them: it may have lost that they were closed.

  KEYS[1] {sN}:epoch
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:outbox
  KEYS[5] {sN}:applied
  KEYS[6] {sN}:sales
  KEYS[7] {sN}:archived
  then three an archived sale:
  KEYS[+1] {sN}:sale:<id>
  KEYS[+2] {sN}:buyers:<id>
  KEYS[+3] {sN}:grants:<id>
  ARGV[1] nonce of the attempt
  ARGV[2] replication id of the server that was closed
  ARGV[3] epoch that ends
  ARGV[4] last id of the outbox at the close
  ARGV[5] epoch that begins
  then one an archived sale:
  ARGV[+1] its id
  RETURNS ok | duplicate (done before by this attempt) | overtaken
  COST    O(archived sales)
  SLOT    {sN}
]]
-- @include server
-- @include last-id
-- @include empty-outbox
local SHARD_KEYS, SHARD_ARGS = 7, 5
local archived = #ARGV - SHARD_ARGS
if archived < 0 or #KEYS ~= SHARD_KEYS + 3 * archived then
  return redis.error_reply('ERR keep: takes 7 keys and 5 arguments, and three keys and one argument an archived sale')
end
local from, to = tonumber(ARGV[3]), tonumber(ARGV[5])
if not from or not to or to <= from then return redis.error_reply('ERR keep: an epoch must be followed by a higher one') end

local replid, primary = server()
if not primary or replid ~= ARGV[2] or redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'overtaken' end
local epoch = redis.call('GET', KEYS[1])
if epoch == ARGV[5] then return 'duplicate' end
if epoch ~= ARGV[3] or lastId(KEYS[4]) ~= ARGV[4] then return 'overtaken' end

redis.call('DEL', KEYS[2], KEYS[7])
for i = 1, 3 * archived do redis.call('UNLINK', KEYS[SHARD_KEYS + i]) end
for i = 1, archived do redis.call('SREM', KEYS[6], ARGV[SHARD_ARGS + i]) end
emptyOutbox(KEYS[4], ARGV[5])
redis.call('SET', KEYS[5], ARGV[5] .. '-0')
redis.call('SET', KEYS[1], ARGV[5])
return 'ok'
