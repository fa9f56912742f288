#!lua flags=allow-oom
-- Claim a name for a node.
-- KEYS: live, gone. ARGV: now, seconds of the lease, name. Returns 1; 0: another node has it, or had it a short time ago.
-- include now
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', seconds(now - 86400))
if redis.call('ZSCORE', KEYS[1], ARGV[3]) or redis.call('ZSCORE', KEYS[2], ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], seconds(now + tonumber(ARGV[2])), ARGV[3])
return 1
