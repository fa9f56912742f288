#!lua flags=no-writes
-- Read the newest messages of the log below an offset, the newest first, without those that have expired.
--
-- KEYS  meta life log
-- ARGV  now, the offset or nothing for the end, the most messages, the most bytes of elements (but one message at least),
--       the messages that are kept, the seconds that they are kept
-- Returns epoch, 1 if there are older messages, and the elements of the log. Nothing: `begin` must run first.
-- include now
-- include life
local META, LIFE, LOG = unpack(KEYS)
local LIMIT, MAX_BYTES, MAX_MESSAGES, MAX_AGE = unpack(ARGV, 3)
-- Elements that are read at a time: at most 1.3 MB.
local STEP = 10

-- include current
local before = tonumber(ARGV[2]) or last + 1
local first_kept, oldest = last - tonumber(MAX_MESSAGES) + 1, now - tonumber(MAX_AGE)

local function head_of(element)
  local offset, stored_at, expires_at = string.match(element, "^(%S+) (%S+) (%S+) ")
  return tonumber(offset), tonumber(stored_at), tonumber(expires_at)
end

-- Return how many elements are below the offset. An epoch may begin above offsets that were lost, so there may be fewer
-- elements above it than offsets.
local function count_below()
  local count = redis.call("LLEN", LOG)
  local below = math.min(count, math.max(0, count - (last - before + 1)))
  while below < count and head_of(redis.call("LINDEX", LOG, below)) < before do
    below = below + 1
  end
  return below
end

local answer, size = { epoch, 0 }, 0
local below = count_below()
while below > 0 do
  local from = math.max(0, below - STEP)
  local elements = redis.call("LRANGE", LOG, from, below - 1)
  for i = #elements, 1, -1 do
    local offset, stored_at, expires_at = head_of(elements[i])
    if offset < first_kept or stored_at < oldest then
      return answer
    end
    if not expires_at or now < expires_at then
      size = size + #elements[i]
      if #answer - 2 == tonumber(LIMIT) or (#answer > 2 and size > tonumber(MAX_BYTES)) then
        answer[2] = 1
        return answer
      end
      answer[#answer + 1] = elements[i]
    end
  end
  below = from
end
return answer
