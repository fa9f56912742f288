#!lua flags=allow-oom
-- Publish a message that is not kept on the channel of a topic.
-- KEYS: the topic's conns, its channel. ARGV: payload. Returns the nodes with subscribers, each followed by their number.
redis.call("SPUBLISH", KEYS[2], '["u"]\n' .. ARGV[1])
return redis.call("HGETALL", KEYS[1])
