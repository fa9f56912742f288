#!lua flags=allow-oom
-- Publish a message to those connections of a node that are there.
-- KEYS: the node's conns, its channel. ARGV: the kind of the message, its payload, connection ids.
-- Returns how many are there, and how many processes have heard it.
local ids = {}
for at = 3, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 then
    ids[#ids + 1] = ARGV[at]
  end
end
if #ids == 0 then
  return {0, 0}
end
local header = cjson.encode({ARGV[1], ids})
return {#ids, redis.call('SPUBLISH', KEYS[2], header .. '\n' .. ARGV[2])}
