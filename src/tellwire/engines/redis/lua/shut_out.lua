#!lua flags=allow-oom
-- Keeps a shut-out in place of an earlier one of its kind, tells every node, and returns the connections of the user:
-- ids and registrations. False: the user has too many that last.
--
-- KEYS: shut-outs of the user, connections of the user, channel of the stream.
-- ARGV: now, kind, the shut-out as JSON, its end, most of one user.
-- include now
local kind, text, ends_at, most = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local last = ends_at
local kept = redis.call("HGETALL", KEYS[1])
local count = 0
for i = 1, #kept, 2 do
  local other = cjson.decode(kept[i + 1])["until"]
  if other <= now then
    redis.call("HDEL", KEYS[1], kept[i])
  elseif kept[i] ~= kind then
    last = math.max(last, other)
    count = count + 1
  end
end
if count >= most then
  return false
end
redis.call("HSET", KEYS[1], kind, text)
redis.call("PEXPIRE", KEYS[1], string.format("%.0f", math.max(1, (last - now) * 1000)))
if ends_at <= now then
  return {}
end
redis.call("SPUBLISH", KEYS[3], '["x"]\n' .. text)
return redis.call("HGETALL", KEYS[2])
