#!lua
-- Give a stream a new epoch, if this Redis has less of it than a node has seen: it has lost acknowledged entries.
--
-- KEYS  meta life log ids heads states running ended
-- ARGV  now, the trust in a restart (see life), the epoch if one begins, the seconds to keep the head,
--       the epoch, offset and version that were seen
-- Returns epoch, offset and last version as they are now.
-- include now
-- include life
-- include meta
local seen_offset, seen_version = tonumber(ARGV[6]), tonumber(ARGV[7])
local generation, highest = generation_of(KEYS[2], ARGV[2], now)
local m, is_new = open_meta(KEYS[1], { unpack(KEYS, 3) }, generation, highest, ARGV[3], now)
if m.e == ARGV[5] and (m.o < seen_offset or m.v < seen_version) then
  m.e = ARGV[3]
  is_new = true
end
if is_new then
  m.o = math.max(m.o, seen_offset)
  m.v = math.max(m.v, seen_version + VERSION_STEP)
  save_meta(KEYS[1], m)
  redis.call("EXPIRE", KEYS[1], ARGV[4])
end
return { m.e, m.o, m.v }
