"""The engine `redis`: several nodes, with their streams in one Redis (or a Redis Cluster)."""

from tellwire.extras import needs_extra

with needs_extra("the engine redis", "redis"):
    import hiredis as _hiredis
    import redis as _redis

__all__: list[str] = []
_ = _hiredis, _redis
