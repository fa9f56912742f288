#!lua flags=allow-oom
-- Renew the lease of a node, and tell who lives. Without a name: only tell.
-- KEYS: live, gone. ARGV: now, name, seconds of the lease.
-- Returns 1 if it had a lease, the living, the dead, and the seconds until the first lease of the living ends.
-- include now
local had_lease = 1
if ARGV[2] ~= '' then
  local until_ = redis.call('ZSCORE', KEYS[1], ARGV[2])
  had_lease = until_ and tonumber(until_) >= now and 1 or 0
  redis.call('ZADD', KEYS[1], seconds(now + tonumber(ARGV[3])), ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], seconds(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {
  had_lease,
  redis.call('ZRANGEBYSCORE', KEYS[1], seconds(now), '+inf'),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. seconds(now)),
  seconds((first[2] or now) - now),
}
