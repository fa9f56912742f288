#!lua
-- Keep publications, and publish each on the channel of its stream. Calls that wait together are one run of the script,
-- one after the other; each is for one stream, and one step.
--
-- KEYS  for each call: meta life log ids heads states running ended leases conns; for a message with an escalation then
--       the same of the stream of its user's escalations
-- ARGV  now, rules, then for each call: channel, stream, the epoch if one begins, "1" if the others depend on the first,
--       or "e" if it is one message with an escalation, the number of publications, and for each of them: its packed fields, its payload
-- Returns for each call an error, or now, epoch, the ids of the user's connections (of a topic: the nodes that have
--       subscribers, each followed by their number), then for each publication:
--       {"kept", number}               {"changed", number, head}   it was given the runs before it
--       {"duplicate"}  {"no room"}     {"late", head}              the known state, or an empty text
--       {"conflict", head, payload}    another state is known than the one it was made for
--       {"unlinked"}                   the first was not kept
-- include now
-- include life
-- include meta
-- Of the call that is run.
local META, LIFE, LOG, IDS, HEADS, STATES, RUNNING, ENDED, LEASES, CONNS, CHANNEL, STREAM, m, generation, highest
local KEYS_OF_A_CALL, ARGUMENTS_BEFORE = 10, 5
local RULES = cmsgpack.unpack(ARGV[2])
local TRUST, MAX_MESSAGES, MAX_BYTES, MAX_STATES, MAX_AGE, RUNNING_MAX_AGE, HEAD_SECONDS, MAX_RUNNING, MAX_LEASE, IS_OF_TOPIC =
  unpack(RULES)
-- Entries that one call removes at most, so that smaller bounds do not hold up everybody.
local MOST_REMOVED = 100
-- Keys outlive their entries by up to this part of their time, so that their expiry is set anew seldom.
local SLACK = math.ceil(MAX_AGE / 8)

local stored_at = seconds(now)

local function expire_log()
  redis.call("EXPIRE", LOG, math.ceil(MAX_AGE) + SLACK)
  redis.call("EXPIRE", IDS, math.ceil(MAX_AGE) + SLACK)
end

local function expire_states()
  for _, key in ipairs({ HEADS, STATES, RUNNING, ENDED }) do
    redis.call("EXPIRE", key, math.ceil(RUNNING_MAX_AGE) + SLACK)
  end
end

-- --- the log ---------------------------------------------------------------------------------------------------------


local function trim_log()
  for _ = 1, MOST_REMOVED do
    local is_above = m.c > MAX_MESSAGES or (m.b > MAX_BYTES and m.c > 1)
    if not is_above and m.a >= now - MAX_AGE then
      return
    end
    local element = redis.call("LINDEX", LOG, 0)
    if not element then
      m.c, m.b, m.a = 0, 0, now
      return
    end
    local kept_at, id_length, id_begins = string.match(element, "^%S+ (%S+) %S+ (%d+) ()")
    m.a = tonumber(kept_at)
    if is_above or m.a < now - MAX_AGE then
      local payload_begins = id_begins + tonumber(id_length)
      redis.call("LPOP", LOG)
      redis.call("HDEL", IDS, string.sub(element, id_begins, payload_begins - 1))
      m.c = m.c - 1
      m.b = m.b - (#element - payload_begins + 1)
    end
  end
end

local function keep_message(id, ttl_seconds, payload)
  -- The id of a message that is too old may come again.
  if m.a < now - MAX_AGE then
    trim_log()
  end
  local offset = whole(m.o + 1)
  if redis.call("HSETNX", IDS, id, offset) == 0 then
    return { "duplicate" }
  end
  m.o = m.o + 1
  local expires_at = ttl_seconds and seconds(now + ttl_seconds) or "-"
  -- An element of the log: offset, time, expiry or `-`, length of the id, the id and, at once, the payload.
  redis.call("RPUSH", LOG, offset .. " " .. stored_at .. " " .. expires_at .. " " .. #id .. " " .. id .. payload)
  m.c = m.c + 1
  m.b = m.b + #payload
  if m.c == 1 then
    m.a = now
    expire_log()
  end
  trim_log()
  redis.call(
    "SPUBLISH", CHANNEL,
    '["m","' .. m.e .. '",' .. offset .. "]\n"
      .. string.sub(payload, 1, -2) .. ',"cursor":"' .. m.e .. ":" .. offset .. '"}'
  )
  return { "kept", m.o }
end

-- --- states ----------------------------------------------------------------------------------------------------------

-- Return the function that keeps a state. Most calls need none, and making all these takes time.
local function state_keeper()
-- include heads
-- include lateness
  -- Return the index of a state; nil: it is no upload, of which there are few, and nothing counts them.
  local function index_of(head)
    return head[IS_FINAL] and ENDED or head[STATUS] and RUNNING or nil
  end

  local function note_bytes(index, bytes)
    if index == ENDED then
      m.eb = m.eb + bytes
    elseif index == RUNNING then
      m.rb = m.rb + bytes
    end
  end

  local function remove_state(key, head, index)
    redis.call("ZREM", index, key)
    redis.call("HDEL", HEADS, key)
    redis.call("HDEL", STATES, key)
    redis.call("ZREM", LEASES, STREAM .. "\255" .. key)
    if head then
      note_bytes(index, -head[SIZE])
    end
  end

  -- Remove the states of an index that are too old or too much, but never the newest one.
  local function trim_states(index, most)
    local count = redis.call("ZCARD", index)
    for _ = 1, MOST_REMOVED do
      local key = redis.call("ZRANGE", index, 0, 0)[1]
      local packed = key and redis.call("HGET", HEADS, key)
      local head = packed and cmsgpack.unpack(packed)
      local is_above = count > most or (index == ENDED and m.eb > MAX_BYTES)
      if count <= 1 or (head and not is_above and is_kept(head, now, MAX_AGE, RUNNING_MAX_AGE)) then
        return
      end
      remove_state(key, head, index)
      count = count - 1
    end
  end

  local function has_room(p)
    return p[IS_FINAL]
      or not p[STATUS]
      or (redis.call("ZCARD", RUNNING) < MAX_RUNNING and m.rb + p[SIZE] <= MAX_BYTES)
  end

  local function index_lease(p)
    local member = STREAM .. "\255" .. p.key
    if p[STATUS] and not p[IS_FINAL] then
      redis.call("ZADD", LEASES, p.lease_expires_at or now + (p[LEASE_SECONDS] or MAX_LEASE), member)
    else
      redis.call("ZREM", LEASES, member)
    end
  end

  local function keep(p, payload)
    p.key, p.key_json, p.begins_run, p.replaces, p.lease_expires_at, p.expected = unpack(p, HEAD_FIELDS + 1)
    local packed = redis.call("HGET", HEADS, p.key)
    local old = packed and cmsgpack.unpack(packed)
    local known = old and is_kept(old, now, MAX_AGE, RUNNING_MAX_AGE) and old or nil
    if known and known[ID] == p[ID] then
      return { "duplicate" }
    end
    if p.expected then
      if p.expected ~= (known and known[VERSION] or 0) then
        return { "conflict", known and packed or "", known and redis.call("HGET", STATES, p.key) or "" }
      end
    elseif not follows(p, known, now) then
      return { "late", known and packed or "" }
    end
    if not known and not has_room(p) then
      return { "no room" }
    end
    m.v = m.v + 1
    m.s = m.v
    p[VERSION], p[STORED_AT] = m.v, now
    local head = cmsgpack.pack({ unpack(p, 1, HEAD_FIELDS) })
    local index, old_index = index_of(p), old and index_of(old)
    if old_index then
      note_bytes(old_index, -old[SIZE])
      if old_index ~= index then
        redis.call("ZREM", old_index, p.key)
      end
    end
    redis.call("HSET", HEADS, p.key, head)
    redis.call("HSET", STATES, p.key, payload)
    if index then
      redis.call("ZADD", index, m.v, p.key)
      note_bytes(index, p[SIZE])
    end
    index_lease(p)
    if index == ENDED then
      trim_states(ENDED, MAX_STATES)
    end
    if not old or old_index ~= index then
      expire_states()
      trim_states(RUNNING, math.huge)
    end
    local version = whole(m.v)
    redis.call(
      "SPUBLISH", CHANNEL,
      '["s","' .. m.e .. '",' .. version .. "," .. tostring(p[IS_FINAL]) .. "," .. p.key_json .. "]\n"
        .. string.sub(payload, 1, -2) .. ',"key":' .. p.key_json .. ',"version":' .. version .. "}"
    )
    return p.is_changed and { "changed", m.v, head } or { "kept", m.v }
  end

  return keep, has_room
end

-- --- all of them -----------------------------------------------------------------------------------------------------

local keep_state, has_room

local function use_keys(first_key)
  META, LIFE, LOG, IDS, HEADS, STATES, RUNNING, ENDED, LEASES, CONNS = unpack(KEYS, first_key, first_key + 9)
end

local function use_rules(rules)
  TRUST, MAX_MESSAGES, MAX_BYTES, MAX_STATES, MAX_AGE, RUNNING_MAX_AGE, HEAD_SECONDS, MAX_RUNNING, MAX_LEASE, IS_OF_TOPIC =
    unpack(rules)
end

-- Keep a message and the first state of its escalation, in another stream of the same bucket: both, or none. In the
-- arguments are the rules, channel, name and epoch of that stream.
local function keep_escalated(first_key, p, payload)
  local id, ttl_seconds, state, state_payload, rules, channel, stream, epoch = unpack(p)
  local of_user = { m, CHANNEL, STREAM }
  if not keep_state then
    keep_state, has_room = state_keeper()
  end

  local function use_escalations()
    use_keys(first_key + KEYS_OF_A_CALL)
    use_rules(rules)
    CHANNEL, STREAM = channel, stream
  end

  local function use_user()
    use_keys(first_key)
    use_rules(RULES)
    m, CHANNEL, STREAM = unpack(of_user)
  end

  use_escalations()
  local escalations = open_meta(META, { LOG, IDS, HEADS, STATES, RUNNING, ENDED }, generation, highest, epoch, now)
  m = escalations
  local is_full = not has_room(state)
  use_user()
  if is_full and redis.call("HEXISTS", IDS, id) == 0 then
    return { "no room" }
  end
  local outcome = keep_message(id, ttl_seconds, payload)
  if outcome[1] == "kept" then
    local cursor = ',"cursor":"' .. m.e .. ":" .. whole(m.o) .. '"}'
    use_escalations()
    m = escalations
    keep_state(state, string.sub(state_payload, 1, -2) .. cursor)
    save_meta(META, m)
    redis.call("EXPIRE", META, HEAD_SECONDS + SLACK)
    use_user()
  end
  return outcome
end

local function run(first_key, first, count)
  use_keys(first_key)
  CHANNEL, STREAM = ARGV[first], ARGV[first + 1]
  local is_linked = ARGV[first + 3] == "1"
  generation, highest = generation_of(LIFE, TRUST, now)
  local is_all_new
  m, is_all_new =
    open_meta(META, { LOG, IDS, HEADS, STATES, RUNNING, ENDED }, generation, highest, ARGV[first + 2], now)
  local oldest = m.a
  local outcomes = {}
  local is_kept_any, has_messages, has_states = false, false, false
  for i = first + ARGUMENTS_BEFORE, first + ARGUMENTS_BEFORE + 2 * count - 1, 2 do
    local p = cmsgpack.unpack(ARGV[i])
    local outcome
    if is_linked and #outcomes > 0 and not is_kept_any then
      outcome = { "unlinked" }
    elseif #p == 2 then
      has_messages = true
      outcome = keep_message(p[1], p[2], ARGV[i + 1])
    elseif #p == 8 then
      has_messages = true
      outcome = keep_escalated(first_key, p, ARGV[i + 1])
    else
      has_states = true
      if not keep_state then
        keep_state, has_room = state_keeper()
      end
      outcome = keep_state(p, ARGV[i + 1])
    end
    is_kept_any = is_kept_any or outcome[1] == "kept" or outcome[1] == "changed"
    outcomes[#outcomes + 1] = outcome
  end
  if is_all_new or now >= m.x then
    m.x = now + SLACK
    save_meta(META, m)
    redis.call("EXPIRE", META, HEAD_SECONDS + SLACK)
    expire_log()
    expire_states()
  elseif is_kept_any then
    if has_messages then
      redis.call("HSET", META, "o", whole(m.o), "c", m.c, "b", m.b)
      if m.a ~= oldest then
        redis.call("HSET", META, "a", m.a)
      end
    end
    if has_states then
      redis.call("HSET", META, "v", whole(m.v), "s", whole(m.s), "rb", m.rb, "eb", m.eb)
    end
  end
  return { stored_at, m.e, is_kept_any and redis.call(IS_OF_TOPIC and "HGETALL" or "HKEYS", CONNS) or {}, unpack(outcomes) }
end

local answers = {}
local first = 3
local first_key = 1
while first_key <= #KEYS do
  local count = tonumber(ARGV[first + 4])
  -- A key that somebody else has written must not fail the publications of others.
  local is_run, answer = pcall(run, first_key, first, count)
  if not is_run then
    use_rules(RULES) -- it may have ended among those of escalations
  end
  if not is_run and type(answer) ~= "table" then
    answer = { err = "ERR " .. tostring(answer) }
  end
  answers[#answers + 1] = is_run and answer or { err = answer.err }
  first_key = first_key + KEYS_OF_A_CALL * (ARGV[first + 3] == "e" and 2 or 1)
  first = first + ARGUMENTS_BEFORE + 2 * count
end
return answers
