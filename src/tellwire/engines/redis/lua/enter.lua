#!lua flags=allow-oom
-- Register a connection, unless there are shut-outs of these kinds; if it is let in, in spite of them.
-- KEYS: conns, meta, shut.
-- ARGV: connection id, registration, most connections of the user (0: any), seconds to live, "1" if it is let in, and
-- the kinds of shut-outs.
-- Returns: 1, epoch, offset, version, newest state, and the shut-outs; or 2 and the shut-outs;
-- or 0 and the ids of all connections, if those are too many.
local shut = {}
if #ARGV > 5 then
  for _, each in ipairs(redis.call('HMGET', KEYS[3], unpack(ARGV, 6))) do
    if each then
      shut[#shut + 1] = each
    end
  end
end
if #shut > 0 and ARGV[5] ~= '1' then
  return {2, shut}
end
local most = tonumber(ARGV[3])
if most > 0 and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= most then
  return {0, redis.call('HKEYS', KEYS[1])}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local head = redis.call('HMGET', KEYS[2], 'e', 'o', 'v', 's')
return {1, head[1], head[2], head[3], head[4], shut}
