"""The way to Redis: its address, the connections to it, and the pipelines of calls that wait for each.

    store ─▶ one_lane, or cluster ─▶ lane ─▶ pipeline ─▶ Redis

`store` is what the rest of the engine uses. `address`, `fitness`, `scripts` and `words` are pure.
"""
