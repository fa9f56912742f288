#!lua flags=no-writes
-- The end of a stream, and the connections of a node that its hash lacks.
-- KEYS: conns, meta, shut. ARGV: connection ids. Returns: epoch, offset, version and newest state,
-- the missing ids, and 1 if somebody is shut out.
local missing = {}
for number = 1, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[number]) == 0 then
    missing[#missing + 1] = ARGV[number]
  end
end
local head = redis.call('HMGET', KEYS[2], 'e', 'o', 'v', 's')
return {head[1], head[2], head[3], head[4], missing, redis.call('EXISTS', KEYS[3])}
