#!lua flags=allow-oom
-- Note that a node holds a connection: a plain HSET is refused when the memory is full.
-- KEYS: the node's conns. ARGV: connection id, user.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
