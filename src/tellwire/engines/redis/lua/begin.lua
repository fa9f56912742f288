#!lua
-- Begin a stream that is not there, or renew its epoch if its generation is over.
--
-- KEYS  meta life log ids heads states running ended
-- ARGV  now, the trust in a restart (see life), the epoch if one begins, the seconds to keep the head
-- include now
-- include life
-- include meta
local generation, highest = generation_of(KEYS[2], ARGV[2], now)
local m, is_new = open_meta(KEYS[1], { unpack(KEYS, 3) }, generation, highest, ARGV[3], now)
if is_new then
  save_meta(KEYS[1], m)
  redis.call("EXPIRE", KEYS[1], ARGV[4])
end
return 1
