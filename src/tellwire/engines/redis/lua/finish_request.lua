#!lua
-- Keep the answer of a request that has begun. KEYS: requests order. ARGV: id, answer.
local begun_at = string.match(redis.call("HGET", KEYS[1], ARGV[1]) or "", "^%S+")
if begun_at then
  redis.call("HSET", KEYS[1], ARGV[1], begun_at .. " a " .. ARGV[2])
end
return 1
