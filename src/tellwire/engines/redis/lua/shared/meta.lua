-- The head of a stream, in the hash `meta`: epoch `e`, last offset `o`, last version `v`, generation `g`, version of the
-- newest state `s` (0: none), count `c` and bytes `b` of the log, a time `a` at which its oldest message was not there
-- yet, bytes of running and of ended states `rb` and `eb`, and the time `x` to set the expiry of its keys anew.

-- Far above all versions that another Redis can have given out and lost.
local VERSION_STEP = 1000000

local function whole(number)
  return string.format("%.0f", number)
end

-- Return the head, and true if it must be saved as a whole: a stream that is not there begins, and one of another
-- generation goes on in this new epoch. `others` are the keys of what a lost head may have left.
local function open_meta(meta_key, others, generation, highest, epoch, now)
  local found = redis.call("HMGET", meta_key, "e", "o", "v", "g", "s", "c", "b", "a", "rb", "eb", "x")
  if not found[1] then
    redis.call("UNLINK", unpack(others))
    local version = math.max(math.floor(now * 1000), highest)
    return { e = epoch, o = 0, v = version, g = generation, s = 0, c = 0, b = 0, a = now, rb = 0, eb = 0, x = 0 }, true
  end
  local meta = {
    e = found[1], o = tonumber(found[2]), v = tonumber(found[3]), g = found[4], s = tonumber(found[5]),
    c = tonumber(found[6]), b = tonumber(found[7]), a = tonumber(found[8]), rb = tonumber(found[9]),
    eb = tonumber(found[10]), x = tonumber(found[11]),
  }
  if meta.g == generation then
    return meta, false
  end
  meta.e, meta.g, meta.v = epoch, generation, meta.v + VERSION_STEP
  return meta, true
end

local function save_meta(meta_key, m)
  redis.call(
    "HSET", meta_key, "e", m.e, "o", whole(m.o), "v", whole(m.v), "g", m.g, "s", whole(m.s), "c", whole(m.c),
    "b", whole(m.b), "a", m.a, "rb", whole(m.rb), "eb", whole(m.eb), "x", m.x
  )
end
