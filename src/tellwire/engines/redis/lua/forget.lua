#!lua flags=allow-oom
-- Delete everything that is kept of a stream. Its highest version is noted, so that later ones are above it.
--
-- KEYS  meta life log ids heads states running ended leases
-- ARGV  stream
local META, LIFE, RUNNING, LEASES = KEYS[1], KEYS[2], KEYS[7], KEYS[9]
local version = tonumber(redis.call("HGET", META, "v") or 0)
if version > tonumber(redis.call("HGET", LIFE, "v") or 0) then
  redis.call("HSET", LIFE, "v", string.format("%.0f", version))
end
for _, key in ipairs(redis.call("ZRANGE", RUNNING, 0, -1)) do
  redis.call("ZREM", LEASES, ARGV[1] .. "\255" .. key)
end
redis.call("UNLINK", META, unpack(KEYS, 3, 8))
return 1
