#!lua flags=allow-oom
-- Note how many subscribers to a topic a node has. KEYS: conns, meta. ARGV: node, their number, seconds to live.
-- Returns: epoch, offset, version and newest state of the topic's stream.
if ARGV[2] == "0" then
  redis.call("HDEL", KEYS[1], ARGV[1])
else
  redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
  redis.call("EXPIRE", KEYS[1], ARGV[3])
end
return redis.call("HMGET", KEYS[2], "e", "o", "v", "s")
