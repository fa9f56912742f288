#!lua flags=allow-oom
-- Drops a list of row errors. KEYS: see shared/row_lists.lua. ARGV: the list.
-- include row_lists
redis.call("UNLINK", ROWS)
redis.call("HDEL", RUNS, string.match(ARGV[1], "%x+$"))
if redis.call("HLEN", RUNS) <= 1 then
  -- The number of the last one is left.
  redis.call("UNLINK", RUNS)
end
redis.call("ZREM", LISTS, ARGV[1])
local bytes = redis.call("HGET", LIST_BYTES, ARGV[1])
if bytes then
  redis.call("HDEL", LIST_BYTES, ARGV[1])
  redis.call("HINCRBY", LIST_BYTES, "", -tonumber(bytes))
end
if redis.call("ZCARD", LISTS) == 0 then
  redis.call("UNLINK", LIST_BYTES)
end
