-- The lists of row errors of one user, all in one slot. A list is called <upload>:<run>, by the SHA-1 of both ids.
--
--   lists                  sorted set: the user's lists, by the time of their last change
--   list-bytes             hash: list → its bytes, and "" → those of all
--   runs:…:<upload>        hash: <run> → JSON {run, name, number, at, kept, bytes, totals} of its list, and "" → the
--                          number of the list that began last
--   rows:…:<upload>:<run>  sorted set: the rows of a list by place, a number made of part and index
local LISTS, LIST_BYTES, RUNS, ROWS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
