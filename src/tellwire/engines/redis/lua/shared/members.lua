-- The members of a topic: users with a connection that is subscribed to it, on any node.
--
--   members   hash: user → the names of its nodes, four characters each, a space, and the user's info or nothing. One
--             without a node was on nodes that have stopped, and leaves at its time in `leaving` unless it is back
--   presence  hash: the epoch `e`, the number `n` of the last change in it, and `@<node>` → the number of the last report
--             of each node that has members
--   leaving   sorted set: user → the time at which it leaves
--
-- A script that changes the members publishes once: ["p", epoch, number before, number after, count], and what has changed,
-- in order: [["j", user, count, info], ["l", user, count], …]; nothing where there are or were too many to name them.
--
-- The first arguments: now, the epoch if one begins, the seconds to live, the most members that are named.
local MEMBERS, PRESENCE, LEAVING, CHANNEL = unpack(KEYS)
local MOST = tonumber(ARGV[4])

local count = redis.call("HLEN", MEMBERS)
local were_few, are_few = count <= MOST, count <= MOST
local changes, named = 0, {}

local function note(kind, user, info)
  changes = changes + 1
  are_few = are_few and count <= MOST
  if are_few then
    named[changes] = '["' .. kind .. '",' .. cjson.encode(user) .. "," .. count .. (info ~= "" and "," .. info or "") .. "]"
  end
end

-- Return the nodes and the info of a member; nothing: it is none.
local function read_member(user)
  return string.match(redis.call("HGET", MEMBERS, user) or "", "^(%S*) (.*)$")
end

local function without(nodes, gone)
  local left = {}
  for i = 1, #nodes, 4 do
    local node = string.sub(nodes, i, i + 3)
    if not gone[node] then
      left[#left + 1] = node
    end
  end
  return table.concat(left)
end

local function forget_member(user)
  redis.call("HDEL", MEMBERS, user)
  redis.call("ZREM", LEAVING, user)
  count = count - 1
  note("l", user, "")
end

-- Tell who is subscribed to the channel, and keep all for another while. Returns the epoch and the number.
local function publish()
  if changes > 0 then
    redis.call("HSETNX", PRESENCE, "e", ARGV[2])
    redis.call("HINCRBY", PRESENCE, "n", changes)
  end
  local head = redis.call("HMGET", PRESENCE, "e", "n")
  local epoch, number = head[1] or "", tonumber(head[2] or 0)
  if changes > 0 and (were_few or count <= MOST) then
    local header = cjson.encode({ "p", epoch, number - changes, number, count })
    local text = are_few and "[" .. table.concat(named, ",") .. "]" or ""
    redis.call("SPUBLISH", CHANNEL, header .. "\n" .. text)
  end
  for _, key in ipairs({ MEMBERS, PRESENCE, LEAVING }) do
    redis.call("EXPIRE", key, ARGV[3])
  end
  return epoch, number
end
