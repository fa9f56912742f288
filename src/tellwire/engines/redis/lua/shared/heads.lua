-- A state without its payload, packed as an array, with false for what it has not got. `state_rows` has the same.
local VERSION, STORED_AT, ID, TYPE, PUBLISHED_AT, STATUS, RUN = 1, 2, 3, 4, 5, 6, 7
local IS_FINAL, LEASE_SECONDS, TTL_SECONDS, PAST_RUNS, PARTS, SIZE = 8, 9, 10, 11, 12, 13
local HEAD_FIELDS = 13

-- True if a state is not too old. A running upload is ended by its lease, long before.
local function is_kept(head, now, max_age, running_max_age)
  local is_running = head[STATUS] and not head[IS_FINAL]
  return head[STORED_AT] >= now - (is_running and running_max_age or max_age)
end
