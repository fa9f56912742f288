-- The requests of a user that are remembered: a hash `requests`, id -> state, and a list `order` of ids, in the order in
-- which they began. A state is the time at which it began, `r` and the token of its claim while it runs, and `a` and its
-- answer when it has ended.
local REQUESTS, ORDER = KEYS[1], KEYS[2]

-- Return begin, `r` or `a`, and token or answer of a state. Nothing: there is none.
local function read_request(state)
  if state then
    local begun_at, kind, rest = string.match(state, "^(%S+) (%S) (.*)$")
    return tonumber(begun_at), kind, rest
  end
end
