#!lua
-- Claim a request of a client, unless it has begun before.
--
-- KEYS  requests order
-- ARGV  now, id, the token of this claim, seconds that it is remembered, most of one user
-- Returns 1 if it is claimed with this token, 0 if with another one, or else the answer that it had.
-- include now
-- include requests
local ID, TOKEN, KEEP_SECONDS, MOST = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- Requests that one call removes at most.
local MOST_REMOVED = 100

local begun_at, kind, rest = read_request(redis.call("HGET", REQUESTS, ID))
if begun_at and begun_at >= now - KEEP_SECONDS then
  return kind == "a" and rest or rest == TOKEN and 1 or 0
end
if begun_at then
  redis.call("LREM", ORDER, 1, ID)
end
redis.call("HSET", REQUESTS, ID, seconds(now) .. " r " .. TOKEN)
local count = redis.call("RPUSH", ORDER, ID)
for _ = 1, MOST_REMOVED do
  local first = redis.call("LINDEX", ORDER, 0)
  local first_began_at = read_request(redis.call("HGET", REQUESTS, first))
  if count <= MOST and first_began_at and first_began_at >= now - KEEP_SECONDS then
    break
  end
  redis.call("LPOP", ORDER)
  redis.call("HDEL", REQUESTS, first)
  count = count - 1
end
for _, key in ipairs(KEYS) do
  redis.call("EXPIRE", key, math.ceil(KEEP_SECONDS))
end
return 1
